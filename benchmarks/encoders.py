"""What the order of a convolution block costs, and from which size bf16 pays: forward and backward, alternating in one run."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from triptych.layers.conv import ConvBlock
from triptych.layers.transformer import Block


class UsualOrder(nn.Module):
    """Convolution, norm over channels by hand, GELU, pooling: as it is usually written."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.scale, self.shift = nn.Parameter(torch.ones(channels_out)), nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        centred = x - x.mean(1, keepdim=True)
        normed = centred * torch.rsqrt(centred.square().mean(1, keepdim=True) + 1e-6)
        normed = normed * self.scale[:, None, None] + self.shift[:, None, None]
        return nn.functional.max_pool2d(nn.functional.gelu(normed), 2, ceil_mode=True)


def step(module: Callable[[Tensor], Tensor], x: Tensor, bf16: bool) -> float:
    """Seconds of one forward and backward pass."""
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        made = module(x)
    made.float().square().mean().backward()
    return time.perf_counter() - start


def medians(first: Callable[[], float], second: Callable[[], float], runs: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the ratios pair by pair."""
    pairs = [(first(), second()) for _ in range(runs + 1)][1:]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), statistics.median(a / b for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="encoders", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    print(f"torch threads: {torch.get_num_threads()}; AMX: {torch.cpu._is_amx_tile_supported()}")
    x = torch.randn(64, 1, 74, 64)
    usual = nn.Sequential(UsualOrder(1, 32), UsualOrder(32, 64), UsualOrder(64, 128))
    ours = nn.Sequential(ConvBlock(1, 32), ConvBlock(32, 64), ConvBlock(64, 128))
    a, b, ratio = medians(lambda: step(usual, x, False), lambda: step(ours, x, False), runs)
    print(f"three blocks over 64 spectrograms of 74 x 64: usual order {a * 1000:.0f} ms, triptych {b * 1000:.0f} ms, ratio {ratio:.2f}")
    print(f"{'transformer':>24} {'parameters':>12} {'float32 ms':>11} {'bf16 ms':>9} {'ratio':>6}")
    for width, depth, tokens in ((64, 2, 16), (128, 4, 16), (256, 4, 64), (384, 6, 64), (512, 8, 64)):
        blocks = nn.ModuleList(Block(width, 4) for _ in range(depth))
        rows, mask = torch.randn(32, tokens, width), torch.ones(32, tokens, dtype=torch.bool)

        def forward(x: Tensor, blocks: nn.ModuleList = blocks, mask: Tensor = mask) -> Tensor:
            for block in blocks:
                x = block(x, mask)
            return x

        a, b, ratio = medians(lambda f=forward, r=rows: step(f, r, False), lambda f=forward, r=rows: step(f, r, True), runs)
        size = sum(p.numel() for p in blocks.parameters())
        print(f"{f'{depth} x {width}, {tokens} tokens':>24} {size:12,} {a * 1000:11.1f} {b * 1000:9.1f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
