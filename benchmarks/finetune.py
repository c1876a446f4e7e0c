"""Tuning a pretrained sound model: triptych's whole process beside transformers' Trainer's, first and second time, and a search.

    python -m benchmarks.finetune                              the whole job: an hour and more on two cores
    python -m benchmarks.finetune --clips 40 --epochs 3        a small one

The job: clips of five seconds at 48 kHz in four classes; the sound half of CLAP at its default sizes (a tiny Swin transformer of
28 million weights, random here), frozen, with a head of two layers on it; batches of 16; judged on a fifth after every epoch.

The reference is what transformers' example for classifying sounds does, with its `Trainer`: a data set whose transform reads a
clip and calls the model's feature extractor, again in every epoch; the example's `set_transform` of a `datasets.Dataset` does
the same. It saves nothing, which is in its favour. Every run is a process of its own, and all of it counts: from the start of
Python to its exit. Seconds are told by the clock, and of the processor (`cpu`), which hold on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

RATE, SECONDS, BATCH, HIDDEN = 48_000, 5, 16, 256
LABELS = ("epic", "happy", "sad", "suspense")
VALIDATION = 5
"""One clip in so many is judged on."""


class Cost(NamedTuple):
    """What one process took."""

    clock: float
    cpu: float
    peak: int
    """Most bytes of memory."""


def make(folder: Path, clips: int) -> None:
    """Clips as files, with a table that says the class and the side of each; and the base."""
    import numpy as np

    (folder / "clips").mkdir(parents=True, exist_ok=True)
    time_N = np.arange(RATE * SECONDS) / RATE
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sound", "label", "side"])
        for clip in range(clips):
            rng, kind = np.random.default_rng(clip), clip // VALIDATION % len(LABELS)
            wave_N = sum(np.sin(2 * np.pi * rng.uniform(110, 440) * (kind + 1) * time_N) for _ in range(3))
            noisy_N = 6000 * wave_N + 800 * rng.standard_normal(len(time_N))
            with wave.open(str(folder / f"clips/{clip:04d}.wav"), "wb") as sound:
                sound.setparams((1, 2, RATE, 0, "NONE", ""))
                sound.writeframes(noisy_N.clip(-32768, 32767).astype("<i2").tobytes())
            writer.writerow([f"clips/{clip:04d}.wav", LABELS[kind], "train" if clip % VALIDATION else "validation"])
    base(folder / "base")


def base(folder: Path) -> None:
    """The sound half of CLAP at its default sizes, random, as a user would find it: config, weights, feature extractor."""
    import torch
    import transformers

    torch.manual_seed(0)
    transformers.ClapAudioModelWithProjection(transformers.ClapAudioConfig()).save_pretrained(folder)
    transformers.ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad").save_pretrained(folder)


def recipe(folder: Path, epochs: int, last: int, rate: float) -> str:
    """The same job in triptych's words; `last` blocks of the base learn too."""
    train = ["fusion", "label", *([f"sound.last({last})"] if last else [])]
    tree = {
        "data": {"source": str(folder / "clips.csv"), "split": {"column": "side"}},
        "inputs": {"sound": {"modality": "audio", "prepare": {"seconds": SECONDS}, "encoder": str(folder / "base")}},
        "tasks": {"label": {"kind": "classify", "target": "label", "hidden": [HIDDEN]}},
        "fusion": {"kind": "single"},
        "stages": [{"train": train, "epochs": epochs, "lr": rate}],
        "training": {"batch_size": BATCH},
    }
    return json.dumps(tree, indent=1)


def reference(folder: Path, epochs: int, bf16: bool) -> None:
    """The job with transformers' Trainer."""
    import torch
    import transformers

    base = transformers.ClapAudioModelWithProjection.from_pretrained(folder / "base")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder / "base")
    base.requires_grad_(False)

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = base
            self.head = torch.nn.Sequential(
                torch.nn.Linear(base.config.projection_dim, HIDDEN), torch.nn.GELU(), torch.nn.Linear(HIDDEN, len(LABELS))
            )

        def forward(self, input_features: Any, labels: Any = None) -> dict[str, Any]:
            logits_BC = self.head(self.base(input_features=input_features, is_longer=None).audio_embeds)
            return {"loss": torch.nn.functional.cross_entropy(logits_BC, labels), "logits": logits_BC}

    def transformed(row: dict[str, str]) -> dict[str, Any]:
        import soundfile

        samples_N, rate = soundfile.read(folder / row["sound"], dtype="float32")
        features = extractor(samples_N, sampling_rate=rate, return_tensors="pt")["input_features"][0]
        return {"input_features": features, "labels": LABELS.index(row["label"])}

    class Clips(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __init__(self, side: str) -> None:
            with (folder / "clips.csv").open(encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if row["side"] == side]

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, place: int) -> dict[str, Any]:
            return transformed(self.rows[place])

    words = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"),
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        learning_rate=1e-3,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=bf16,
        disable_tqdm=True,
        remove_unused_columns=False,
    )

    def accuracy(given: Any) -> dict[str, float]:
        return {"accuracy": float((given.predictions.argmax(1) == given.label_ids).mean())}

    sides = {"train_dataset": Clips("train"), "eval_dataset": Clips("validation")}
    transformers.Trainer(Classifier(), words, compute_metrics=accuracy, **sides).train()


def timed(name: str, words: Sequence[str], cache: Path | None = None) -> Cost:
    """What a process took, told at once.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    environment = {**os.environ, **({"TRIPTYCH_CACHE": str(cache)} if cache else {})}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is not compiled anew by every process
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read() if process.stderr else ""
    _, status, about = os.wait4(process.pid, 0)
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        raise SystemExit(f"{name} failed:\n{said[-3000:]}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    made = Cost(clock, cpu, about.ru_maxrss * 1024)
    print(f"  {name:<52} {clock:>8.1f} s {cpu:>8.1f} s cpu {made.peak / 2**20:>7,.0f} MB", flush=True)
    return made


def beside(what: str, theirs: Cost, ours: Cost) -> None:
    """Both ratios: above 1, ours took less."""
    print(f"    {what}: {theirs.clock / ours.clock:.1f} times by the clock, {theirs.cpu / ours.cpu:.1f} of the processor", flush=True)


def ours(name: str, folder: Path, cache: Path, recipe_: str, *changes: str, verb: Sequence[str] = ("train",)) -> Cost:
    """A whole `triptych` process."""
    path, out = folder / f"{len(list(folder.glob('*.yaml')))}.yaml", folder / "runs" / str(time.time_ns())
    path.write_text(recipe_, encoding="utf-8")
    sets = [word for change in changes for word in ("--set", change)]
    return timed(name, ["-m", "triptych", *verb, str(path), *sets, "--out", str(out)], cache)


def measure(folder: Path, args: argparse.Namespace) -> None:
    """All runs, one after the other, with the ratios as soon as they are known."""
    made = recipe(folder, args.epochs, 0, 1e-3)
    cache = folder / "cache"
    first = ours("triptych, first run", folder, cache, made)
    second = ours("triptych, second run (another rate)", folder, cache, made, "stages.0.lr=3e-3")
    if args.trials:
        search = ours(
            f"triptych tune, {args.trials} trials and the winner",
            folder,
            cache,
            made,
            verb=("tune", "--trials", str(args.trials), "--search", "stages.0.lr=log:1e-4:1e-2"),
        )
        print(f"    against one first run: {search.clock / first.clock:.2f} times its clock, {search.cpu / first.cpu:.2f} its processor")
    last = recipe(folder, args.epochs, 1, 1e-4)
    if args.last:
        plain = ours("triptych, last block trained, without memory", folder, folder / "none", last, "training.remember=false")
        beside("with memory, first run", plain, ours("triptych, last block trained", folder, folder / "new", last))
        beside("with memory, second run", plain, ours("triptych, last block trained, second run", folder, folder / "new", last))
    for bf16 in (False, True)[: 1 + args.bf16]:
        name = f"transformers' Trainer, {'bf16' if bf16 else 'float32'}"
        words = ["-m", "benchmarks.finetune", "--reference", str(folder), "--epochs", str(args.epochs), *(["--bf16"] if bf16 else [])]
        theirs = timed(name, words)
        beside("the first run against it", theirs, first)
        beside("the second run against it", theirs, second)
        print(f"    peak memory: {first.peak / theirs.peak:.2f} and {second.peak / theirs.peak:.2f} of its", flush=True)


def main() -> None:
    """Make the job and measure it; or, in a process of its own, be the reference."""
    import torch

    from triptych.base.runtime import Choices, choose_precision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--trials", type=int, default=50, help="of the search; 0 leaves it out")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True, help="measure the reference with bf16=True too")
    parser.add_argument("--last", action=argparse.BooleanOptionalAction, default=True, help="measure the tuning of the last block")
    parser.add_argument("--reference", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reference:
        reference(args.reference, args.epochs, args.bf16)
        return
    choices = Choices()
    choose_precision("auto", "cuda" if torch.cuda.is_available() else "cpu", 28_000_000, choices)
    chosen = choices.made[0]
    print(f"{args.clips} clips, {args.epochs} epochs; triptych computes in {chosen.value}: {chosen.reason}; load {os.getloadavg()[0]:.1f}")
    folder = Path(tempfile.mkdtemp())
    try:
        make(folder, args.clips)
        measure(folder, args)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
