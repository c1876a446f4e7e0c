"""Whether a process keeps the memory that it frees, counted in pages that the system had to clear for it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from triptych.base.freed import SAID

COUNT = """
import resource, sys
import numpy as np
from triptych.base.freed import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
np.ones(48 * 2**20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(48 * 2**20, np.uint8)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 5 * 48 * 2**20 // 4096


def counted(word: str, **more: str) -> tuple[bool, int]:
    env = {name: value for name, value in os.environ.items() if name not in SAID} | more
    said = subprocess.run([sys.executable, "-c", COUNT, word], env=env, capture_output=True, text=True, check=True).stdout.split()
    return said[0] == "True", int(said[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep freed memory")
def test_freed_memory_is_taken_again_without_new_pages() -> None:
    _, given_back = counted("leave")
    kept, pages = counted("keep")
    assert kept and pages < PAGES / 20
    assert given_back > 10 * pages  # or else there is nothing to gain, and this need not be done


def test_who_sets_the_memory_of_a_process_is_not_overruled() -> None:
    assert counted("keep", MALLOC_MMAP_THRESHOLD_="1000000")[0] is False
