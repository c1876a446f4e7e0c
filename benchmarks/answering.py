"""Tuning a language model that looks at pictures: triptych's training beside transformers' Trainer's, on the same rows and sizes.

    python -m benchmarks answering                             the whole job
    python -m benchmarks answering --rows 16 --reference-rows 8 --blocks 2     a small one

The job: a decoder of SmolLM2-135M's sizes (random weights) reads a picture of 64 tokens, which a small vision transformer makes of
it, and a question; it learns an answer of 10 to 300 tokens. LoRA of rank 16 beside every linear layer of the decoder, the vision
transformer and the layers between learn in full; batches of 8, one epoch, all answers of different lengths in random order.

The reference is how one would write it with transformers: `ViTModel` of the same sizes, two linear layers, `LlamaForCausalLM` with
peft's LoRA, `inputs_embeds` and `labels`, a collator that pads to the longest row, `Trainer` as it comes, in float32 and with
`bf16=True`. Each is a process of its own. What is timed is the training: from the first step to the end of the last, without start
and evaluation; peak memory is of the whole process. Tokens are those that are no padding. The reference may be given fewer rows, of
the same lengths on average: it is the speed that is compared. Speeds are by the clock and of the processor: the latter hold on a
machine that does other things too.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ENTRIES, WIDTH, INNER, HEADS, SHARED = 49_152, 576, 1536, 9, 3
"""SmolLM2-135M's: words, width, width within a block, heads, heads of keys and values."""
RANK, SHORTEST, LONGEST, QUESTION, BATCH = 16, 10, 300, 8, 8
SIDE, PATCH, SEES, DEEP = 64, 8, 192, 4
"""Of the pictures and what looks at them: 8 x 8 patches are 64 tokens."""
JUDGED = 8
"""Rows of the validation, without which a recipe has nothing to choose the best epoch by; measuring them is not timed."""


class Cost(NamedTuple):
    """What one training took."""

    tokens: int
    padded: int
    seconds: float
    cpu: float
    peak: float

    def told(self, name: str) -> str:
        """A line of the table."""
        speed = f"{self.tokens / self.seconds:>8,.1f} tokens/s {self.tokens / self.cpu:>8,.1f} a processor second"
        return f"  {name:<34} {speed} {self.padded / (self.padded + self.tokens):>6.1%} padding {self.peak:>7,.0f} MB"


def make(folder: Path, rows: int, blocks: int) -> None:
    """Pictures, a table of questions with answers of many lengths, and the base as a user would find it."""
    import numpy as np
    from PIL import Image

    chosen, drawn = random.Random(0), np.random.default_rng(0)

    def said(length: int) -> str:
        return " ".join(f"w{chosen.randrange(ENTRIES - 2)}" for _ in range(length))

    (folder / "pictures").mkdir()
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for row in range(rows + JUDGED):
            Image.fromarray(drawn.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(folder / f"pictures/{row:04d}.png")
            answer = said(chosen.randint(SHORTEST, LONGEST) - 1)  # what ends it is a token too
            told = {"image": f"pictures/{row:04d}.png", "question": said(QUESTION), "answer": answer}
            file.write(json.dumps({**told, "side": "train" if row < rows else "validation"}) + "\n")
    base(folder / "base", blocks)


def base(folder: Path, blocks: int) -> None:
    """A decoder of SmolLM2-135M's sizes but for the number of blocks, random, with a vocabulary of whole words."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=ENTRIES, hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=blocks, num_attention_heads=HEADS,
        num_key_value_heads=SHARED, tie_word_embeddings=True, max_position_embeddings=8192, rope_theta=100_000,
        bos_token_id=ENTRIES - 2, eos_token_id=ENTRIES - 2, pad_token_id=ENTRIES - 1,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words = {**{f"w{n}": n for n in range(ENTRIES - 2)}, "<end>": ENTRIES - 2, "<pad>": ENTRIES - 1}
    plain = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>", pad_token="<pad>").save_pretrained(folder)


def recipe(folder: Path, precision: str, threads: int) -> dict[str, Any]:
    """The job in triptych's words."""
    sees = {"kind": "vit", "patch": PATCH, "width": SEES, "depth": DEEP, "heads": 3, "dropout": 0}
    return {
        "data": {"source": str(folder / "rows.jsonl"), "split": {"column": "side"}},
        "inputs": {"image": {"prepare": {"size": SIDE}, "encoder": sees}},
        "fusion": {"kind": "prefix", "projector": "mlp"},
        "decoder": {"kind": "pretrained", "name": str(folder / "base"), "lora": {"rank": RANK}},
        "tasks": {"answer": {"kind": "generate", "target": "answer", "template": "{image} {question}", "written": 0}},
        "stages": [{"train": ["image", "fusion", "decoder.lora"], "epochs": 1, "lr": 1e-4}],
        "training": {"batch_size": BATCH, "precision": precision, "threads": threads or None},
    }


def ours(folder: Path, precision: str, threads: int = 0) -> tuple[int, int, float, float]:
    """The job with triptych: tokens, those of padding, seconds by the clock and of the processor."""
    from triptych.modalities.text.causal import Causal
    from triptych.run import callbacks, fit, lit
    from triptych.run import folder as folders
    from triptych.run import recipe as recipes
    from triptych.run.progress import Voice
    from triptych.run.shared import Shared

    seen = {"tokens": 0, "began": 0.0, "cpu": 0.0, "seconds": 0.0}
    step, through, ended = lit.Lit.training_step, Causal._through, callbacks.Keep.on_train_epoch_end

    def counted(self: Any, rows: Any) -> Any:
        seen["tokens"] += sum(map(len, rows)) if seen["began"] and not seen["seconds"] else 0
        return through(self, rows)

    def stepped(self: Any, batch: Any, index: int) -> Any:
        if not seen["began"]:
            seen["began"], seen["cpu"] = time.perf_counter(), time.process_time()
        return step(self, batch, index)

    def done(self: Any, trainer: Any, module: Any) -> None:
        seen["seconds"], seen["cpu"] = time.perf_counter() - seen["began"], time.process_time() - seen["cpu"]
        ended(self, trainer, module)

    lit.Lit.training_step, Causal._through, callbacks.Keep.on_train_epoch_end = stepped, counted, done  # type: ignore[method-assign]
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe(folder, precision, threads)), encoding="utf-8")
    made = recipes.read(path)
    fit.fit_only(made, folders.RunFolder.create(made, folder / "run"), Voice(False), Shared())
    return int(seen["tokens"]), 0, seen["seconds"], seen["cpu"]


def numbers_of(folder: Path, tokenizer: Any, row: dict[str, str]) -> dict[str, Any]:
    """A row as the reference wants it: pixels from -1 to 1 and ids, with a loss on the answer alone."""
    import numpy as np
    import torch
    from PIL import Image

    pixels_HWC = np.asarray(Image.open(folder / row["image"]), dtype=np.float32) / 127.5 - 1
    asked, said = tokenizer(row["question"]).input_ids, [*tokenizer(row["answer"]).input_ids, tokenizer.eos_token_id]
    return {"pixels": torch.from_numpy(pixels_HWC).permute(2, 0, 1), "ids": asked + said, "labels": [-100] * len(asked) + said}


def side_by_side(rows: list[dict[str, Any]], padding: int, seen: dict[str, int]) -> dict[str, Any]:
    """Rows of the reference, padded to the longest; what is real and what is padding is counted in `seen`."""
    import torch

    longest, sees = max(len(row["ids"]) for row in rows), (SIDE // PATCH) ** 2

    def filled(name: str, nothing: int, before: int | None = None) -> Any:
        padded = [row[name] + [nothing] * (longest - len(row[name])) for row in rows]
        return torch.tensor([[before] * sees + row for row in padded] if before is not None else padded)

    mask = filled("ids", -1, 0) != -1
    seen["tokens"] += int(mask.sum())
    seen["padded"] += int((~mask).sum())
    return {
        "pixel_values": torch.stack([row["pixels"] for row in rows]),
        "input_ids": filled("ids", padding),
        "attention_mask": mask.long(),
        "labels": filled("labels", -100, -100),
    }


def reference(folder: Path, rows: int, bf16: bool) -> tuple[int, int, float, float]:
    """The job with transformers' Trainer: the same."""
    import peft
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")
    seen = {"tokens": 0, "padded": 0}

    class Looks(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sees = transformers.ViTConfig(
                hidden_size=SEES, num_hidden_layers=DEEP, num_attention_heads=3, intermediate_size=4 * SEES, image_size=SIDE,
                patch_size=PATCH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            )  # fmt: skip
            self.eye = transformers.ViTModel(sees, add_pooling_layer=False)
            self.between = torch.nn.Sequential(torch.nn.Linear(SEES, WIDTH), torch.nn.GELU(), torch.nn.Linear(WIDTH, WIDTH))
            language = transformers.AutoModelForCausalLM.from_pretrained(folder / "base")
            lora = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
            self.language = peft.get_peft_model(language, lora)

        def forward(self, pixel_values: Any, input_ids: Any, attention_mask: Any, labels: Any) -> Any:
            seen_PTD = self.between(self.eye(pixel_values).last_hidden_state[:, 1:])
            words_PTD = self.language.get_input_embeddings()(input_ids)
            return self.language(
                inputs_embeds=torch.cat([seen_PTD, words_PTD], 1), attention_mask=attention_mask, labels=labels, use_cache=False
            )

    class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __init__(self) -> None:
            lines = map(json.loads, (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines())
            self.rows = [row for row in lines if row["side"] == "train"][:rows]

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, place: int) -> dict[str, Any]:
            return numbers_of(folder, tokenizer, self.rows[place])

    words = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"), num_train_epochs=1, per_device_train_batch_size=BATCH, learning_rate=1e-4, save_strategy="no",
        report_to="none", use_cpu=True, bf16=bf16, disable_tqdm=True, remove_unused_columns=False, dataloader_pin_memory=False,
    )  # fmt: skip
    together = functools.partial(side_by_side, padding=tokenizer.pad_token_id, seen=seen)
    trainer = transformers.Trainer(Looks(), words, train_dataset=Rows(), data_collator=together)
    began, cpu = time.perf_counter(), time.process_time()
    trainer.train()
    return seen["tokens"], seen["padded"], time.perf_counter() - began, time.process_time() - cpu


def measured(folder: Path, name: str, *words: str) -> Cost:
    """One training, in a process of its own, told at once.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    command = [sys.executable, "-m", "benchmarks.answering", "--in", str(folder), *words]
    environment = {**os.environ, "TRIPTYCH_CACHE": str(folder / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    cost = Cost(*json.loads(done.stdout.splitlines()[-1]))
    print(cost.told(name), flush=True)
    shutil.rmtree(folder / "run", ignore_errors=True)
    return cost


def beside(what: str, ours: Cost, theirs: Cost) -> None:
    """Ratios: above 1, ours is faster."""
    clock, cpu = (ours.tokens * getattr(theirs, by) / (theirs.tokens * getattr(ours, by)) for by in ("seconds", "cpu"))
    print(
        f"    {what}: {clock:.2f} times its tokens/s, {cpu:.2f} a processor second, {ours.peak / theirs.peak:.2f} of its memory", flush=True
    )


def main() -> None:
    """Make the job and measure it; or, in a process of its own, be one of the trainings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256, help="of triptych's training")
    parser.add_argument("--reference-rows", type=int, default=64, help="of each of the reference's; the first of the same")
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--threads", type=int, default=0, help="of each; by default as many as there are cores")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True, help="measure both in bf16 too")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--as", dest="role", choices=("triptych", "trainer"), help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role:
        import torch

        if args.threads:
            torch.set_num_threads(args.threads)
        bf16 = args.precision == "bf16"
        took = (
            ours(args.folder, args.precision, args.threads)
            if args.role == "triptych"
            else reference(args.folder, args.reference_rows, bf16)
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([*took, peak]))
        return
    folder = Path(tempfile.mkdtemp())
    try:
        make(folder, args.rows, args.blocks)
        print(f"{args.rows} rows ({args.reference_rows} for the reference), {args.blocks} blocks; load {os.getloadavg()[0]:.1f}")
        for precision in ("float32", "bf16")[: 1 + args.bf16]:
            words = ["--precision", precision, "--threads", str(args.threads), "--reference-rows", str(args.reference_rows)]
            mine = measured(folder, f"triptych, {precision}", "--as", "triptych", *words)
            theirs = measured(folder, f"transformers' Trainer, {precision}", "--as", "trainer", *words)
            beside(precision, mine, theirs)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
