"""Peak resident memory of build, check, shuffle and an epoch, for few rows and for many: it should hardly differ.

    python -m benchmarks.memory                        2,000 and 50,000 rows
    python -m benchmarks.memory --rows 2000 10000      others
    python -m benchmarks.memory --svg docs/images/memory.svg

Every row has a picture (PNG), a sound (WAV) and a caption, all different, as files beside a CSV file. `build` copies them into
a table; the other steps read that table. Each step runs in a process of its own, and says the most memory it ever held.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

SYLLABLES = ("ba", "do", "fi", "ga", "lu", "me", "no", "ra", "si", "tu")
STEPS = ("build", "check", "shuffle", "epoch")
RECIPE: dict[str, Any] = {
    "inputs": {
        "picture": {"modality": "image", "prepare": {"size": 32}, "encoder": "cnn"},
        "sound": {"modality": "audio", "prepare": {"rate": 8000}, "encoder": "cnn"},
        "caption": {"modality": "text", "encoder": "gru"},
    },
    "tasks": {"label": {"kind": "classify", "target": "label"}},
    "fusion": "concat",
    "stages": [{"train": ["all"], "epochs": 1}],
}


def make(folder: Path, rows: int) -> None:
    """The files and their table."""
    for name in ("pictures", "sounds"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "picture", "sound", "caption", "label"])
        for row in range(rows):
            (folder / f"pictures/{row}.png").write_bytes(picture(row))
            (folder / f"sounds/{row}.wav").write_bytes(sound(row))
            cells = f"pictures/{row}.png", f"sounds/{row}.wav", caption(row), f"class {row % 10}"
            writer.writerow([f"row-{row:06d}", *cells])


def picture(row: int, side: int = 32) -> bytes:
    """A coarse pattern of colours."""
    import numpy as np
    from PIL import Image

    pattern = np.random.default_rng(row).integers(0, 255, (8, 8, 3), np.uint8)
    room = io.BytesIO()
    Image.fromarray(pattern).resize((side, side)).save(room, "PNG", compress_level=1)
    return room.getvalue()


def sound(row: int, rate: int = 8000) -> bytes:
    """A fifth to a third of a second: four tones that come and go, over a little noise."""
    import numpy as np

    rng = np.random.default_rng(row)
    time_N = np.arange(int(rate * rng.uniform(0.2, 0.33))) / rate
    loud_NV = np.repeat(rng.random((8, 4)) ** 3, -(-len(time_N) // 8), axis=0)[: len(time_N)]
    tones_NV = np.sin(2 * np.pi * rng.uniform(100, 3500, 4) * time_N[:, None])
    samples_N = 6000 * (loud_NV * tones_NV).sum(1) + 50 * rng.standard_normal(len(time_N))
    room = io.BytesIO()
    with wave.open(room, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples_N.clip(-32768, 32767).astype("<i2").tobytes())
    return room.getvalue()


def caption(row: int) -> str:
    """Ten words of a thousand made-up ones."""
    import random

    draw = random.Random(row)
    return " ".join("".join(SYLLABLES[draw.randrange(10)] for _ in range(3)) for _ in range(10))


def build(folder: Path) -> None:
    """As `triptych data build table.csv table.lance --copy`."""
    from triptych.data.build import SILENT, Plan
    from triptych.data.build import build as built
    from triptych.data.sources import open_source
    from triptych.modalities import rooms

    made = built(open_source(folder / "table.csv", rooms()), folder / "table.lance", rooms(), Plan(copied=True), SILENT)
    assert made.rejected == 0, made


def check(folder: Path) -> None:
    """As `triptych check`."""
    from triptych.run.inspect import findings
    from triptych.run.opening import open_table

    recipe, voice = _recipe(folder)
    findings(recipe, open_table(recipe, voice))


def shuffle(folder: Path) -> None:
    """All rows with all their cells, read in the order of an epoch."""
    import numpy as np

    from triptych.data.order import Order
    from triptych.data.stored import read_stored

    table = read_stored(folder / "table.lance")
    for rows in Order(np.arange(len(table.rows)), 64, seed=0).batches(0):
        assert len(table.rows.take(rows.tolist())) == len(rows)


def epoch(folder: Path) -> None:
    """Preparations fitted, and all training rows as batches twice: prepared in the first epoch, read back in the second."""
    import numpy as np

    from triptych.base.runtime import Choices, choose_keep
    from triptych.data.inputs import InputColumn
    from triptych.data.loader import Loader
    from triptych.data.order import Order
    from triptych.data.split import divide
    from triptych.data.stored import read_stored
    from triptych.data.targets import learn_target
    from triptych.modalities import rooms

    recipe, _ = _recipe(folder)
    table = divide(read_stored(folder / "table.lance"), recipe.data.split, "label")
    inputs = {}
    for name, words in recipe.inputs.items():
        room = rooms()[words.modality]
        inputs[name] = InputColumn(room, room.preparation(words), name, table, choose_keep(Choices()) // len(recipe.inputs))
        inputs[name].fit(table.at("train"))
    targets = {name: learn_target(name, task, table, recipe.columns()) for name, task in recipe.tasks.items()}
    train = np.array(table.at("train"))
    loader = Loader(table, inputs, targets, Order(train, 64, seed=0))
    for _ in range(2):
        assert sum(len(batch) for batch in loader) == len(train)


def _recipe(folder: Path) -> Any:
    from triptych.run.progress import Voice
    from triptych.run.recipe import read

    return read({"data": {"source": str((folder / "table.lance").absolute())}, **RECIPE}), Voice(quiet=True)


def peak() -> int:
    """The most bytes of memory this process ever held, as the kernel counts them."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def measure(rows: int, folder: Path) -> dict[str, int]:
    """{step: peak bytes}; each in a new process."""
    make(folder, rows)
    environment = {**os.environ, "TRIPTYCH_CACHE": str(folder / "cache")}
    found = {}
    for step in STEPS:
        command = [sys.executable, "-m", "benchmarks.memory", "--step", step, "--folder", str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        found[step] = int(done.stdout.split()[-1])
        print(f"{rows:>8,} rows  {step:<8} {found[step] / 2**20:>7,.0f} MB", flush=True)
    return found


def draw(measured: dict[int, dict[str, int]], path: Path) -> None:
    """The peaks as bars, a group a step."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "triptych"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 2.6), layout="constrained")
    for number, (rows, peaks) in enumerate(measured.items()):
        places = [place + (number - (len(measured) - 1) / 2) * 0.36 for place in range(len(STEPS))]
        bars = axes.bar(
            places, [peaks[step] / 2**20 for step in STEPS], 0.34, label=f"{rows:,} rows", color=("#9db7d5", "#2f5d8c")[number % 2]
        )
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_xticks(range(len(STEPS)), STEPS)
    axes.set_ylabel("peak memory, MB")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=len(measured), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure all steps for each number of rows; or, in a process of its own, run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 50_000])
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        steps: dict[str, Callable[[Path], None]] = {"build": build, "check": check, "shuffle": shuffle, "epoch": epoch}
        steps[args.step](args.folder)
        print(peak())
        return
    measured = {}
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            measured[rows] = measure(rows, Path(folder))
    if args.json:
        print(json.dumps({"machine": platform.machine(), "peak_bytes": measured}, indent=2))
    least, most = min(measured), max(measured)
    print(f"\n{'step':<10}" + "".join(f"{f'{rows:,} rows':>16}" for rows in measured) + f"{'ratio':>8}")
    for step in STEPS:
        cells = "".join(f"{f'{measured[rows][step] / 2**20:,.0f} MB':>16}" for rows in measured)
        print(f"{step:<10}{cells}{measured[most][step] / measured[least][step]:>8.2f}")
    if args.svg:
        draw(measured, args.svg)


if __name__ == "__main__":
    main()
