"""Memory that was freed stays with the process: the next step takes it again, and the system need not clear every page anew."""

from __future__ import annotations

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
LARGEST = 1 << 30
"""Bytes of one block from which it is given back all the same: a batch's numbers are smaller, a whole model's weights may not be."""
NEVER = -1
SAID = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Where these are set, whoever runs the process has decided about its memory."""


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed; whether that could be done. It is glibc's own matter, so elsewhere nothing happens.

    By default glibc takes every block above 32 MB from the system and gives it back when it is freed, and each page is
    cleared by the system when it is touched again: for a batch of pictures that costs more than to fill it. What the process
    needs at most does not change, but it holds that much from then on.
    """
    if any(name in os.environ for name in SAID):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc, or not a system with one
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
