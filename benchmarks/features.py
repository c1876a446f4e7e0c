"""Clips a second of the log-mel features against the extractors of transformers, in one run, taking turns.

    python benchmarks/features.py            a table
    python benchmarks/features.py --json     the same as JSON

Both sides get the same clips in one call, as a user would make it. The figure is the median of the rounds; each round runs
one side, then the other, so that what else the machine does hits both.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.fft
import torch
from transformers import ClapFeatureExtractor, WhisperFeatureExtractor

from triptych.modalities.audio.features import clap_features, mfcc, whisper_features
from triptych.modalities.audio.mel import WHISPER


def clips(count: int, rate: int, seed: int) -> list[np.ndarray]:
    """Clips of 1 to 10 s: gliding tones with overtones, bursts and pauses over a little noise."""
    rng = np.random.default_rng(seed)
    return [_clip(rng, rate, float(seconds)) for seconds in rng.permutation(np.linspace(1, 10, count))]


def _clip(rng: np.random.Generator, rate: int, seconds: float) -> np.ndarray:
    t = np.arange(round(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(rng.uniform(90, 300) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.2, 3) * t))) / rate
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, 20))
    loud = np.clip(np.sin(2 * np.pi * rng.uniform(0.3, 2) * t + rng.uniform(0, 6)), 0, 1)
    return (0.1 * voice * loud + 1e-3 * rng.standard_normal(len(t))).astype(np.float32)


def compare(
    name: str, ours: Callable[[], Any], theirs: Callable[[], Any], count: int, rounds: int, *, alike: bool = True
) -> dict[str, Any]:
    """Time both in turns and measure the largest difference of what they give, where they give the same."""
    apart = float((ours() - theirs()["input_features"]).abs().max()) if alike else None
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for side, call in enumerate((ours, theirs)):
            start = time.perf_counter()
            call()
            times[side].append(time.perf_counter() - start)
    ours_s, theirs_s = (count / statistics.median(side) for side in times)
    return {"extractor": name, "clips_s": ours_s, "transformers_clips_s": theirs_s, "ratio": ours_s / theirs_s, "largest_difference": apart}


def with_cosines(extract: Callable[[], Any]) -> Callable[[], Any]:
    """Transformers has no MFCC: its log-mel, then scipy's cosine transform."""
    return lambda: scipy.fft.dct(extract()["input_features"].numpy(), axis=1, norm="ortho")[:, :40]


def main() -> None:
    """Run both comparisons and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clap, whisper = ClapFeatureExtractor(truncation="rand_trunc"), WhisperFeatureExtractor()  # type: ignore[no-untyped-call]
    at_48k, at_16k = clips(args.clips, 48_000, 0), clips(args.clips, 16_000, 1)
    theirs_clap = partial(clap, at_48k, sampling_rate=48_000, return_tensors="pt")
    theirs_whisper = partial(whisper, at_16k, sampling_rate=16_000, return_tensors="pt")
    rows = [
        compare("clap", partial(clap_features, at_48k), theirs_clap, args.clips, args.rounds),
        compare("whisper", partial(whisper_features, at_16k), theirs_whisper, args.clips, args.rounds),
        compare("mfcc", partial(mfcc, at_16k, WHISPER, 40), with_cosines(theirs_whisper), args.clips, args.rounds, alike=False),
    ]
    machine = {"torch": torch.__version__, "machine": platform.processor() or platform.machine()}
    about = {"clips": args.clips, "rounds": args.rounds, "threads": args.threads, **machine}
    if args.json:
        print(json.dumps({"about": about, "rows": rows}, indent=2))
        return
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"{'extractor':<10} {'triptych clips/s':>17} {'transformers clips/s':>21} {'ratio':>7} {'largest difference':>19}")
    for row in rows:
        apart = row["largest_difference"]
        speeds = f"{row['clips_s']:>17.0f} {row['transformers_clips_s']:>21.0f} {row['ratio']:>7.1f}"
        print(f"{row['extractor']:<10} {speeds} {'-' if apart is None else f'{apart:.1e}':>19}")


if __name__ == "__main__":
    main()
