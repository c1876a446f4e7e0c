"""From the bytes of prepared pictures to a batch of numbers: bytes are kept a row, and are a quarter as large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.contract.values import Item

AT_ONCE = 1 << 20
"""Bytes of numbers made before they are normalised: so many are still in the processor's cache then."""


def numbers(
    items: Sequence[Item], scaled: Callable[..., Any], by: float, mean: Sequence[float], std: Sequence[float], normalized: bool = True
) -> Tensor:
    """P items of `pixels` (H, W, C), uint8 -> (P, C, H, W), float32: `scaled(bytes, by)`, less `mean`, over `std` of each channel.

    `scaled` is `np.divide` or `np.multiply`: processors differ in it, and the last bit of a number with them.
    """
    levels = [item["pixels"].numpy() for item in items]
    height, width, channels = levels[0].shape
    made_PCHW = np.empty((len(levels), channels, height, width), np.float32)
    mean_C11, std_C11 = (np.array(of, np.float32)[:, None, None] for of in (mean, std))
    rows = max(1, AT_ONCE // made_PCHW[0].nbytes)
    for start in range(0, len(levels), rows):
        part_PCHW: NDArray[np.float32] = made_PCHW[start : start + rows]
        scaled(np.stack(levels[start : start + rows]).transpose(0, 3, 1, 2), np.float32(by), out=part_PCHW)
        if normalized:
            part_PCHW -= mean_C11
            part_PCHW /= std_C11
    return torch.from_numpy(made_PCHW)
