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

import csv
import json
import wave
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

    (folder / "clips").mkdir(parents=True)
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


def reference(folder: Path, epochs: int, bf16: bool, last: int) -> None:
    """The job with transformers' Trainer."""
    import torch
    import transformers

    base = transformers.ClapAudioModelWithProjection.from_pretrained(folder / "base")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder / "base")
    trained: list[Any] = list(base.audio_model.audio_encoder.layers[-last:]) if last else []
    base.requires_grad_(False)
    for module in trained:
        module.requires_grad_(True)

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

    trainer = transformers.Trainer(
        Classifier(), words, train_dataset=Clips("train"), eval_dataset=Clips("validation"), compute_metrics=accuracy
    )
    trainer.train()
