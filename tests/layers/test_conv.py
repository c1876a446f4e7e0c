"""A convolution block gives a row the same answer whether it learns or not, and however far it is padded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from triptych.layers.conv import ConvBlock


def reference(block: ConvBlock, x_CHW: torch.Tensor) -> torch.Tensor:
    """One row by itself in torch's own layers."""
    pooled_CHW = nn.functional.max_pool2d(nn.functional.conv2d(x_CHW, block.conv.weight, block.conv.bias, padding=1), 2, ceil_mode=True)
    centred = pooled_CHW - pooled_CHW.mean(0)
    normed_CHW = centred / (centred.square().mean(0) + 1e-6).sqrt()
    return nn.functional.gelu(normed_CHW * block.norm.scale_C[:, None, None] + block.norm.shift_C[:, None, None])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("zeroed", [True, False])
def test_padded_rows_act_like_the_edge_whether_it_learns_or_not(channels, learns, zeroed):
    torch.manual_seed(0)
    block, x_BCHW = ConvBlock(channels, 4), torch.randn(3, channels, 9, 7)
    lengths = torch.tensor([9, 6, 1])
    rows_BH = torch.arange(9) < lengths[:, None]
    x_BCHW = x_BCHW * rows_BH[:, None, :, None] if zeroed else x_BCHW
    given = x_BCHW.clone()
    with torch.set_grad_enabled(learns):
        found, whole = block(x_BCHW, rows_BH, zeroed), block(x_BCHW)
    assert torch.equal(x_BCHW, given), "what it is given stays as it is"
    for n, length in enumerate(lengths.tolist()):
        expected = reference(block, x_BCHW[n, :, :length])
        torch.testing.assert_close(found[n, :, : expected.shape[1]], expected, rtol=1e-4, atol=1e-5)
        assert not found[n, :, expected.shape[1] :].any()
        torch.testing.assert_close(whole[n], reference(block, x_BCHW[n]), rtol=1e-4, atol=1e-5)
