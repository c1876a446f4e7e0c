"""Rows a second and time to the first batch: our loader over a table against torch's DataLoader over the loose files.

    python -m benchmarks.reading                         5,000 pictures of 64, 2,000 of 224, 1,000 sounds of 5 s
    python -m benchmarks.reading --share 0.1             a tenth of them

Both sides decode every file anew and give the same numbers, in batches of 64, in a shuffled order; nothing is learnt from
them. The reference is what most people write: a Dataset that opens a file with Pillow or soundfile, and two workers, forked
(Python's default on Linux before 3.14) and spawned (the default elsewhere). They take turns; each figure is the median.

`first batch` is from the call of `iter` to the first batch, `start-up` of the reference the same.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from triptych.base.freed import keep_freed_memory

BATCH, WORKERS, RATE = 64, 2, 16_000


class Pictures(Dataset[Tensor]):
    """Loose files as squares of numbers from 0 to 1."""

    def __init__(self, paths: list[str], size: int) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            square = image.convert("RGB").resize((self.size, self.size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous().float().div_(255)  # as torchvision's ToTensor


class Sounds(Dataset[Tensor]):
    """Loose files as samples."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        import soundfile

        samples, _ = soundfile.read(self.paths[index], dtype="float32")
        return torch.from_numpy(samples)


class Samples:
    """A preparation that gives the samples as they are: the reference computes no features either."""

    settings = None

    def prepare(self, values: Any) -> list[dict[str, Tensor]]:
        return [{"samples": torch.from_numpy(value.samples_N)} for value in values]

    def collate(self, items: Any) -> Any:
        from triptych.contract.values import Packed

        return Packed({"samples": torch.stack([item["samples"] for item in items])})


def picture(seed: int, side: int, form: str) -> bytes:
    """Shapes and noise, about as large on the disk as a photograph of that size."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (side // 16 + 1, side // 16 + 1, 3), np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    noisy = np.clip(np.asarray(coarse, np.int16) + rng.integers(-12, 12, (side, side, 3)), 0, 255).astype(np.uint8)
    room = io.BytesIO()
    Image.fromarray(noisy).save(room, form, **({"quality": 85} if form == "JPEG" else {}))
    return room.getvalue()


def sound(seed: int, seconds: float = 5) -> bytes:
    """Overtones and a little noise."""
    import soundfile

    rng = np.random.default_rng(seed)
    time_N = np.arange(round(RATE * seconds)) / RATE
    tones = sum(np.sin(2 * np.pi * rng.uniform(80, 2000) * time_N) for _ in range(6))
    room = io.BytesIO()
    soundfile.write(room, (0.1 * tones + 0.01 * rng.standard_normal(len(time_N))).astype(np.float32), RATE, format="FLAC")
    return room.getvalue()


def table(folder: Path, name: str, suffix: str, make: Callable[[int], bytes], rows: int) -> tuple[list[str], Any]:
    """The loose files, and a table with their content."""
    from triptych.data.build import SILENT, Plan, build
    from triptych.data.sources import open_source
    from triptych.data.stored import read_stored
    from triptych.modalities import rooms

    loose = folder / name
    loose.mkdir()
    paths = [loose / f"{row:05d}{suffix}" for row in range(rows)]
    for row, path in enumerate(paths):
        path.write_bytes(make(row))
    build(open_source(loose, rooms()), folder / f"{name}.lance", rooms(), Plan(copied=True), SILENT)
    return [str(path) for path in paths], read_stored(folder / f"{name}.lance")


def ours(held: Any, room: str, preparation: Any, threads: int) -> Callable[[int], Iterable[Any]]:
    """Our loader; nothing is kept, so every epoch decodes."""
    from triptych.data.inputs import InputColumn
    from triptych.data.loader import Loader
    from triptych.data.order import Order
    from triptych.modalities import rooms

    column = next(name for name in held.columns if name not in ("id", "label"))
    inputs = {column: InputColumn(rooms()[room], preparation, column, held, keep_bytes=0)}
    return lambda epoch: Loader(held, inputs, {}, Order(np.arange(len(held.rows)), BATCH, epoch), threads)


def theirs(data: Dataset[Tensor], start: str) -> Callable[[int], Iterable[Any]]:
    """DataLoader with two workers."""
    return lambda epoch: DataLoader(
        data, BATCH, shuffle=True, num_workers=WORKERS, multiprocessing_context=start, generator=torch.Generator().manual_seed(epoch)
    )


def timed(batches: Iterable[Any]) -> tuple[float, float]:
    """Seconds to the first batch, and to the last."""
    began = time.perf_counter()
    first = None
    for _ in batches:
        first = first or time.perf_counter() - began
    return first or 0.0, time.perf_counter() - began


def compare(name: str, rows: int, sides: dict[str, Callable[[int], Iterable[Any]]], rounds: int) -> dict[str, Any]:
    """All sides in turn, `rounds` times, after one that nobody counts."""
    times: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side, make in sides.items():
            taken = timed(make(number))
            times[side] += [taken] if number else []
    first = {side: statistics.median(one for one, _ in taken) for side, taken in times.items()}
    speed = {side: rows / statistics.median(all_ for _, all_ in taken) for side, taken in times.items()}
    return {"files": name, "rows": rows, "rows_s": speed, "first_s": first}


def cases(folder: Path, share: float, only: str = "") -> Iterable[tuple[str, int, dict[str, Callable[[int], Iterable[Any]]]]]:
    """Name, rows and the sides of each comparison."""
    from triptych.modalities import rooms

    for form, side, suffix, many in (("PNG", 64, ".png", 5000), ("JPEG", 224, ".jpg", 2000)):
        if only not in ("", form):
            continue
        rows = max(2 * BATCH, round(many * share))
        paths, held = table(folder, f"{form.lower()}s", suffix, lambda row, side=side, form=form: picture(row, side, form), rows)
        room = rooms()["image"]
        words = room.Input(modality="image", prepare={"size": side, "normalize": "none"})
        yield f"{form} {side} x {side}", rows, _sides(held, "image", room.preparation(words), Pictures(paths, side))
    if only not in ("", "FLAC"):
        return
    rows = max(2 * BATCH, round(1000 * share))
    paths, held = table(folder, "flacs", ".flac", sound, rows)
    yield "FLAC 5 s", rows, _sides(held, "audio", Samples(), Sounds(paths))


def _sides(held: Any, room: str, preparation: Any, data: Dataset[Tensor]) -> dict[str, Callable[[int], Iterable[Any]]]:
    return {"triptych": ours(held, room, preparation, WORKERS), "fork": theirs(data, "fork"), "spawn": theirs(data, "spawn")}


def main() -> None:
    """Make the files, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the rows")
    parser.add_argument("--only", choices=("PNG", "JPEG", "FLAC"), default="", help="files of one kind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    print(f"{'files':<16}{'rows':>6}{'ours, rows/s':>14}{'fork':>8}{'spawn':>8}{'ratio':>7}{'first batch, s':>16}{'fork':>8}{'spawn':>8}")
    warnings.filterwarnings("ignore", "lance is not fork-safe")  # the forked workers of the reference do not use it
    keep_freed_memory()  # as a training does; the forked workers of the reference are children of this process and have it too
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, many, sides in cases(Path(folder), args.share, args.only):
            row = compare(name, many, sides, args.rounds)
            rows.append(row)
            speed, first = row["rows_s"], row["first_s"]
            ratio = speed["triptych"] / max(speed["fork"], speed["spawn"])
            cells = f"{speed['triptych']:>14,.0f}{speed['fork']:>8,.0f}{speed['spawn']:>8,.0f}{ratio:>7.2f}"
            print(f"{name:<16}{many:>6,}{cells}{first['triptych']:>16.3f}{first['fork']:>8.3f}{first['spawn']:>8.3f}", flush=True)
    if args.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
