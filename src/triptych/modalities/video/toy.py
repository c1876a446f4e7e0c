"""A small honest sample without a network: a slit moves over a handwritten digit, so that no frame shows all of it."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from triptych.base.errors import unknown_word
from triptych.base.extras import need
from triptych.contract.modality import ToyCell, ToyRow

DIGITS = {word: digit for digit, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])}
SIDE, SLIT = 32, 12  # pixels
FRAMES, RATE = 8, 8  # one second


def toy(sample: str, rows: Sequence[ToyRow], seed: int) -> list[ToyCell]:
    """One film a row. The one sample is `digits`: concepts zero to nine, real handwriting.

    Source: Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998, UCI) as scikit-learn carries it. A picture stands
    on one side of the split only; which side the slit comes from is drawn by the seed and the row's place.

    Raises:
        InputError: unknown sample or concept, or scikit-learn is not installed.
    """
    if sample != "digits":
        raise unknown_word("sample of films", sample, ["digits"])
    for row in rows:
        if row.concept not in DIGITS:
            raise unknown_word("concept", row.concept, DIGITS, where="sample digits")
    bunch: Any = need("sklearn.datasets", extra="demo", why="the sample 'digits'").load_digits()
    drawn: dict[tuple[str, str], int] = {}
    cells = []
    for place, row in enumerate(rows):
        pool = _pool(np.flatnonzero(bunch.target == DIGITS[row.concept]).tolist(), row, seed)
        turn = drawn[row.concept, row.split] = drawn.get((row.concept, row.split), -1) + 1
        picture = pool[turn % len(pool)]
        film = _film(bunch.images[picture], random.Random(f"{seed}/{place}/{row.split}").random() < 0.5)
        cells.append(ToyCell(film, group=f"film-{picture}", suffix=".mp4"))
    return cells


def _pool(pictures: list[int], row: ToyRow, seed: int) -> list[int]:
    """A digit's pictures of one side: seven tenths to train, an eighth to validate, the rest to test, whatever is asked for."""
    random.Random(f"{seed} {row.concept}").shuffle(pictures)
    first, second = int(0.7 * len(pictures)), int(0.8 * len(pictures))
    return {"train": pictures[:first], "validation": pictures[first:second], "test": pictures[second:]}[row.split]


def _film(levels_HW: Any, from_the_right: bool) -> bytes:
    """An MP4 of 32 x 32 pixels whose bytes are the same each time."""
    import av

    picture_HW = np.kron(np.rint(levels_HW * (255 / 16)).astype(np.uint8), np.ones((4, 4), np.uint8))
    starts = np.linspace(0, SIDE - SLIT, FRAMES).round().astype(int)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4", options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream("mpeg4", rate=RATE)
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.bit_rate = "yuv420p", 400_000
        stream.codec_context.thread_count = 1
        for start in starts[::-1] if from_the_right else starts:
            frame_HW = np.zeros_like(picture_HW)
            frame_HW[:, start : start + SLIT] = picture_HW[:, start : start + SLIT]
            frame = av.VideoFrame.from_ndarray(np.repeat(frame_HW[..., None], 3, axis=2), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return out.getvalue()
