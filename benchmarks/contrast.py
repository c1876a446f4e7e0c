"""Contrastive training from scratch against a plain PyTorch loop: rows a second, and recall@1 after the same epochs.

Sample: coloured shapes of 64 x 64 pixels with compositional captions, 4,000 to learn from and 500 to judge by. Both train a
vision transformer (6 blocks of width 256, patches of 8) and a text transformer (4 blocks of width 256) at batch 256 with the
same optimiser, rate and schedule. The reference is what the usual tools do: float32, a DataLoader with two workers over PNG
files, a vocabulary of 49,408 words, every caption padded to 32 tokens. It sees all of every picture.

Ours trains once as the reference does, and once for each share of the patches that training leaves out (`patch_dropout`, FLIP:
Li et al. 2022), with all of them in the last epoch, as docs/guides/training.md advises for training from scratch. Epochs and rows
are as many, and both are judged on whole pictures.

    python -m benchmarks contrast [--rows 4000] [--epochs 10]
    python -m benchmarks contrast --rows 1000 --judged 100 --batch 32 --threads 1    # whole trainings of a reduced size
    python -m benchmarks contrast --steps 6 [--batch 64]    # steps alone, in turn, in processor seconds: for a busy machine
    python -m benchmarks contrast --steps 6 --shares 0 0.5 0.75    # other shares

Three quarters are left out by default: with less, and the last epoch whole, the ratio is below three without AMX (docs/performance.md).
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import os
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import triptych
from triptych.objective.losses import task_loss, terms
from triptych.run import fit
from triptych.run.building import build
from triptych.run.lit import parameter_groups
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read

COLOURS = {
    "red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220), "yellow": (235, 210, 50), "purple": (150, 60, 180),
    "orange": (240, 140, 40), "white": (245, 245, 245), "grey": (130, 130, 130),
}  # fmt: skip
SHAPES, SIZES = ("circle", "square", "triangle", "diamond", "cross", "ring"), {"small": 8, "large": 13}
RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
PHRASES = ("a {0} {2} a {1}", "there is a {0} {2} a {1}", "{0}, {2} a {1}", "one sees a {0} {2} a {1}")
SIDE, JUDGED, BATCH, RATE, PADDED, WORDS = 64, 500, 256, 5e-4, 32, 49_408
PLAIN, LEFT_OUT = "plain PyTorch, float32", 0.75


def main() -> None:
    """Make the sample, train both in turn, print the table."""
    parser = argparse.ArgumentParser(prog="contrast")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--judged", type=int, default=JUDGED, help="rows of the test")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of both")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, LEFT_OUT], help="of the patches that ours leaves out in training")
    parser.add_argument("--whole", type=int, default=1, help="last epochs in which ours leaves nothing out")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.steps:
        steps_alone(asked.batch, asked.steps, asked.shares)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = make(folder, asked.rows, asked.judged)
        recalls = "recall@1, caption of a picture, picture of a caption"
        print(f"{'':>31}  {'rows/s':>7}  ratio  {'of the processor':>16}  ratio  {recalls}")
        trainings: dict[str, Callable[[], tuple[float, float, float, float]]] = {PLAIN: lambda: reference(folder, rows, asked)}
        trainings |= {named(share): partial(ours, folder, asked, share) for share in asked.shares}
        first: tuple[float, float] | None = None
        for what, training in trainings.items():
            rate, busy, there, back = training()
            first = first or (rate, busy)
            told = f"{rate:7.1f}  {rate / first[0]:5.2f}  {busy:16.1f}  {busy / first[1]:5.2f}"
            print(f"{what:>31}  {told}  {there:.3f}, {back:.3f}", flush=True)


def named(share: float) -> str:
    """How the table calls ours."""
    return f"triptych, patch_dropout: {share:g}" if share else "triptych, all patches seen"


def make(folder: Path, count: int, judged: int = JUDGED) -> list[dict[str, str]]:
    """PNG files and table.csv: two shapes a picture, and a caption that says what they are and how they stand."""
    draw, rows = random.Random(0), []
    seen: set[tuple[str, ...]] = set()
    for index in range(count + judged):
        split = "train" if index < count else "test"
        while True:
            first, second = (_thing(draw) for _ in range(2))
            relation = draw.choice(list(RELATIONS))
            if split == "train" or (first, second, relation) not in seen:  # a caption names one picture of the test
                break
        if split == "test":
            seen.add((first, second, relation))
        path = folder / f"{index}.png"
        _picture(draw, first, second, relation).save(path)
        rows.append({"image": path.name, "text": draw.choice(PHRASES).format(first, second, relation), "split": split})
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def _thing(draw: random.Random) -> str:
    return f"{draw.choice(list(SIZES))} {draw.choice(list(COLOURS))} {draw.choice(SHAPES)}"


def _picture(draw: random.Random, first: str, second: str, relation: str) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), (draw.randint(0, 40),) * 3)
    across, down = RELATIONS[relation]
    for thing, side in ((first, 1), (second, -1)):
        middle = [SIDE / 2 + side * step * 15 + draw.uniform(-3, 3) for step in (across, down)]
        _draw(ImageDraw.Draw(image), thing, *middle)
    return image


def _draw(canvas: ImageDraw.ImageDraw, thing: str, x: float, y: float) -> None:
    size, colour, shape = thing.split()
    r, fill = SIZES[size], COLOURS[colour]
    if shape == "circle":
        canvas.ellipse((x - r, y - r, x + r, y + r), fill)
    elif shape == "ring":
        canvas.ellipse((x - r, y - r, x + r, y + r), outline=fill, width=3)
    elif shape == "square":
        canvas.rectangle((x - r, y - r, x + r, y + r), fill)
    elif shape == "triangle":
        canvas.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill)
    elif shape == "diamond":
        canvas.polygon([(x, y - r), (x - r, y), (x, y + r), (x + r, y)], fill)
    else:
        canvas.rectangle((x - r / 3, y - r, x + r / 3, y + r), fill)
        canvas.rectangle((x - r, y - r / 3, x + r, y + r / 3), fill)


RECIPE: dict[str, Any] = {
    "name": "shapes",
    "inputs": {
        "image": {"prepare": {"size": SIDE}, "encoder": {"kind": "vit", "width": 256, "depth": 6, "heads": 4, "patch": 8, "dropout": 0}},
        "text": {"prepare": {"tokenizer": "word"}, "encoder": {"kind": "transformer", "width": 256, "depth": 4, "heads": 4, "dropout": 0}},
    },
    "tasks": {"match": {"kind": "contrast", "between": ["image", "text"], "width": 256}},
    "fusion": {"kind": "joint", "width": 256, "dropout": 0},
    "training": {"batch_size": BATCH, "check_batch": False},
}


class Took:
    """Seconds inside of `with`, and processor seconds: of this process and of its workers, where they have ended by then."""

    def __enter__(self) -> None:
        self.began, self.spent = time.perf_counter(), self._spent()

    def __exit__(self, *_: object) -> None:
        self.began, self.spent = time.perf_counter() - self.began, self._spent() - self.spent

    def _spent(self) -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    def rates(self, rows: int) -> tuple[float, float]:
        """Rows a second, and a processor second."""
        return rows / self.began, rows / self.spent


def recipe_of(share: float) -> dict[str, Any]:
    """The recipe with a share of the patches left out in training."""
    recipe = copy.deepcopy(RECIPE)
    recipe["inputs"]["image"]["encoder"]["patch_dropout"] = share
    return recipe


def ours(folder: Path, asked: argparse.Namespace, share: float) -> tuple[float, float, float, float]:
    """Rows a second and a processor second over the steps and all that stands between them; recall@1 both ways on the test."""
    data = {"source": str(folder / "table.csv"), "split": {"column": "split", "validation": 0}}
    stage = {"train": ["all"], "lr": RATE, "warmup": 0.1, "weight_decay": 0.05}
    whole = min(asked.whole, asked.epochs - 1) if share else 0
    stages = [{**stage, "epochs": asked.epochs - whole}]
    stages += [{**stage, "epochs": whole, "lr": RATE / 5, "patch_dropout": 0}] if whole else []
    training = {**RECIPE["training"], "batch_size": asked.batch, "threads": asked.threads}
    plain, took = fit.train_stages, Took()

    def timed(*words: Any, **named: Any) -> Any:
        with took:
            return plain(*words, **named)

    with mock.patch.object(fit, "train_stages", timed):
        words = {**recipe_of(share), "data": data, "stages": stages, "training": training}
        run = triptych.train(words, out=folder / f"run-{share:g}", quiet=True)
    scores = {score["name"]: score["trained"] for score in run.scores}
    back_and_forth = scores["match.recall@1 image -> text"], scores["match.recall@1 text -> image"]
    return *took.rates(asked.rows * asked.epochs), *back_and_forth


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Loose files, decoded when they are asked for; words as numbers of a large vocabulary, padded."""

    def __init__(self, folder: Path, rows: list[dict[str, str]], numbers: dict[str, int]) -> None:
        self.folder, self.rows, self.numbers = folder, rows, numbers

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.folder / self.rows[index]["image"]) as image:
            pixels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8).view(SIDE, SIDE, 3)
        ids = torch.zeros(PADDED, dtype=torch.long)
        words = [self.numbers[word] for word in re.findall(r"\w+|\S", self.rows[index]["text"])][:PADDED]
        ids[: len(words)] = torch.tensor(words)
        return (pixels.permute(2, 0, 1).float() / 255 - 0.5) / 0.5, ids


class Towers(nn.Module):
    """Two transformers of torch's own layers, and a learnt temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 256, 8, 8)
        self.places = nn.Parameter(torch.randn(64, 256) * 0.02)
        self.words, self.order = nn.Embedding(WORDS, 256), nn.Parameter(torch.randn(PADDED, 256) * 0.02)
        nn.init.normal_(self.words.weight, std=0.02)
        self.see, self.read = (
            nn.TransformerEncoder(
                nn.TransformerEncoderLayer(256, 4, 1024, 0.0, "gelu", batch_first=True, norm_first=True),
                depth, nn.LayerNorm(256), enable_nested_tensor=False,
            ) for depth in (6, 4)
        )  # fmt: skip
        self.of_picture, self.of_caption = nn.Linear(256, 256, bias=False), nn.Linear(256, 256, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.see(self.patches(pixels).flatten(2).transpose(1, 2) + self.places).mean(1)
        real = ids > 0
        read = self.read(self.words(ids) + self.order, src_key_padding_mask=~real)
        mean = (read * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        return F.normalize(self.of_picture(seen), dim=-1), F.normalize(self.of_caption(mean), dim=-1)


def reference(folder: Path, rows: list[dict[str, str]], asked: argparse.Namespace) -> tuple[float, float, float, float]:
    """The same of a plain loop."""
    torch.manual_seed(0)
    numbers = numbered(rows)
    train, test = (Pairs(folder, [row for row in rows if row["split"] == side], numbers) for side in ("train", "test"))
    loader = DataLoader(train, asked.batch, shuffle=True, num_workers=2, persistent_workers=True)
    model, steps = Towers(), asked.epochs * len(loader)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.05)
    warm = round(0.1 * steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: (n + 1) / (warm + 1) if n < warm else 0.5 * (1 + math.cos(math.pi * (n - warm) / (steps - warm)))
    )
    took = Took()
    with took:
        for _ in range(asked.epochs):
            for pixels, ids in loader:
                step_of(model, optimizer, pixels, ids)
                schedule.step()
        loader._iterator = None  # its workers end, and their processor seconds are counted
    return *took.rates(len(train) * asked.epochs), *judged(model.eval(), test)


def steps_alone(rows: int, count: int, shares: list[float]) -> None:
    """Rows a processor second of all, one thread, steps in turn over one batch that is ready in memory."""
    with tempfile.TemporaryDirectory() as name:
        table = make(Path(name), rows)
        steps = {PLAIN: _their_step(Path(name), table)} | {named(share): _our_step(Path(name), rows, share) for share in shares}
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {what: [] for what in steps}
    for turn in range(count + 1):  # the first warms up
        for what, step in steps.items():
            began = time.process_time()
            step()
            if turn:
                seconds[what].append(time.process_time() - began)
    print(f"{'':>31}  rows a processor second  ratio (of each turn: middle, range)")
    for what, spent in seconds.items():
        ratios = [theirs / mine for theirs, mine in zip(seconds[PLAIN], spent, strict=True)]
        told = f"{statistics.median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{what:>31}  {rows / statistics.median(spent):23.1f}  {told}")


def _our_step(folder: Path, rows: int, share: float) -> Callable[[], None]:
    data = {"source": str(folder / "table.csv"), "split": {"column": "split", "validation": 0}}
    stages = [{"train": ["all"], "epochs": 1, "lr": RATE, "warmup": 0.1, "weight_decay": 0.05}]
    recipe, quiet = read({**recipe_of(share), "data": data, "stages": stages}, [f"training.batch_size={rows}"]), Voice(quiet=True)
    bench = build(recipe, open_table(recipe, quiet), quiet)
    bench.model.train()
    batch = next(iter(bench.loader("train", shuffled=True)))
    optimizer = torch.optim.AdamW(parameter_groups(bench.model, recipe.stages[0]), betas=(0.9, 0.98), fused=True)

    def step() -> None:
        output = bench.model(batch).outputs["match"]
        found = terms(output, batch.targets["match"], batch.has_target["match"], recipe.tasks["match"], batch.present)
        optimizer.zero_grad()
        task_loss(output, found).backward()
        torch.nn.utils.clip_grad_norm_(bench.model.parameters(), 1.0)
        optimizer.step()

    return step


def _their_step(folder: Path, rows: list[dict[str, str]]) -> Callable[[], None]:
    train = Pairs(folder, [row for row in rows if row["split"] == "train"], numbered(rows))
    pixels, ids = (torch.stack(side) for side in zip(*[train[n] for n in range(len(train))], strict=True))
    model = Towers()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.05)
    return lambda: step_of(model, optimizer, pixels, ids)


def numbered(rows: list[dict[str, str]]) -> dict[str, int]:
    """{word: its number, from 1}."""
    words = sorted({word for row in rows for word in re.findall(r"\w+|\S", row["text"])})
    return {word: place + 1 for place, word in enumerate(words)}


def step_of(model: Towers, optimizer: torch.optim.Optimizer, pixels: Tensor, ids: Tensor) -> None:
    """One step of the plain loop."""
    pictures, captions = model(pixels, ids)
    logits = model.log_scale.exp().clamp(max=100) * pictures @ captions.T
    target = torch.arange(len(logits))
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


@torch.no_grad()
def judged(model: nn.Module, test: Pairs) -> tuple[float, float]:
    """Recall@1 both ways; rows with equal captions are right answers to each other."""
    parts = [model(pixels, ids) for pixels, ids in DataLoader(test, BATCH)]
    pictures, captions = (torch.cat(side) for side in zip(*parts, strict=True))
    texts = [row["text"] for row in test.rows]
    similar = pictures @ captions.T
    found = [sum(texts[int(best)] == texts[n] for n, best in enumerate(side.argmax(1))) / len(texts) for side in (similar, similar.T)]
    return found[0], found[1]


if __name__ == "__main__":
    main()
