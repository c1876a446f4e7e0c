"""A thread lays one sound after the other into the same file in memory: none leaves anything for the next."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from triptych.modalities.audio.memory import MOST_KEPT, in_memory
from triptych.modalities.audio.read import read


def flac(seed: int, samples: int) -> tuple[np.ndarray, bytes]:
    samples_N = np.random.default_rng(seed).integers(-32768, 32767, samples, np.int16)
    room = io.BytesIO()
    soundfile.write(room, samples_N, 8000, format="FLAC", subtype="PCM_16")
    return samples_N / np.float32(32768), room.getvalue()


def test_long_and_short_sounds_in_many_threads_are_what_they_are():
    sounds = [flac(seed, (seed * 7919) % 30_000 + 1) for seed in range(60)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda sound: read(sound[1]).samples_N, sounds * 3))
    for samples_N, (wanted_N, _) in zip(found, sounds * 3, strict=True):
        np.testing.assert_array_equal(samples_N, wanted_N)


@pytest.mark.parametrize("first", [b"abc" * 1000, bytes(MOST_KEPT + 1)], ids=["kept", "too large to keep"])
def test_one_within_another_and_one_after_another(first):
    with in_memory(first) as outer:
        with in_memory(b"inner") as inner:
            assert inner.read() == b"inner"
        assert outer.read() == first
    with in_memory(b"short") as file:
        assert file.read() == b"short"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:lance is not fork-safe:UserWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # lance warns from within the fork
def test_a_forked_process_has_a_file_of_its_own():
    with in_memory(b"of the parent") as file:
        if not (child := os.fork()):
            with in_memory(b"child"):
                os._exit(0)
        os.waitpid(child, 0)
        assert file.read() == b"of the parent"
