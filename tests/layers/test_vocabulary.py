"""The loss over a large vocabulary is cross-entropy over the whole logits, without them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from triptych.layers import vocabulary
from triptych.layers.vocabulary import vocabulary_loss

N, V, D = 37, 101, 16

PEAK = """
import sys, torch
from triptych.layers.vocabulary import vocabulary_loss

def memory(word):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(word)) / 1024

def step(places, entries, width):
    hidden, weight = torch.randn(places, width, requires_grad=True), (0.02 * torch.randn(entries, width)).requires_grad_(trained)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before = memory("VmRSS")
    vocabulary_loss(hidden, weight, torch.randint(entries, (places,))).mean().backward()
    return memory("VmHWM") - before

trained = sys.argv[1] == "trained"
step(64, 64, 8)  # what torch takes once
print(step(4096, 49152, 96))
"""


def inputs(dtype=torch.float32, bias=True):
    torch.manual_seed(0)
    made = [torch.randn(N, D), torch.randn(V, D), *([torch.randn(V)] if bias else [])]
    return [x.to(dtype).requires_grad_() for x in made], torch.randint(V, (N,))


def plain(hidden, weight, target, bias=None, softcap=None):
    logits = F.linear(hidden, weight, bias).float()
    return F.cross_entropy(logits if softcap is None else softcap * torch.tanh(logits / softcap), target, reduction="none")


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("chunk", [1, 8, N, None])
@pytest.mark.parametrize("frozen", ["", "weight", "hidden"])
def test_values_and_gradients_are_those_of_cross_entropy(softcap, chunk, frozen):
    for bias in (False, True):
        (hidden, weight, *rest), target = inputs(bias=bias)
        if frozen == "weight":
            weight, rest = weight.detach(), [x.detach() for x in rest]
        elif frozen == "hidden":
            hidden = hidden.detach()
        known = [x for x in (hidden, weight, *rest) if x.requires_grad]
        ours = vocabulary_loss(hidden, weight, target, *rest, softcap=softcap, chunk=chunk)
        theirs = plain(hidden, weight, target, *rest, softcap=softcap)
        uneven = torch.rand(N)  # rows need not count alike
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        for one, other in zip(torch.autograd.grad(ours @ uneven, known), torch.autograd.grad(theirs @ uneven, known), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frozen", [False, True])
def test_half_numbers_are_summed_in_float32(frozen):
    """Gradients differ from those over the same numbers in float32 by the rounding of products, some 2^-8, and no more."""
    (hidden, weight), target = inputs(torch.bfloat16, bias=False)
    whole = [x.detach().float().requires_grad_() for x in (hidden, weight)]
    weight = weight.detach() if frozen else weight
    ours, theirs = vocabulary_loss(hidden, weight, target, chunk=8), plain(*whole, target)
    assert ours.dtype == torch.float32
    ours.mean().backward()
    theirs.mean().backward()
    torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=6e-2)
    for one, other in [(hidden, whole[0]), *([] if frozen else [(weight, whole[1])])]:
        assert one.grad.dtype == torch.bfloat16
        assert (one.grad.float() - other.grad).norm() < 2e-2 * other.grad.norm()


def test_autocast_takes_the_products_in_half_numbers_and_a_weight_keeps_its_own():
    (hidden, weight), target = inputs(bias=False)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = vocabulary_loss(hidden, weight, target, chunk=8), plain(hidden, weight, target)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    assert (ours - plain(hidden, weight, target)).abs().max() > 1e-4  # it was not in float32
    ours.mean().backward()
    assert hidden.grad.dtype == weight.grad.dtype == torch.float32


def test_only_what_is_asked_for_is_computed(monkeypatch):
    """A frozen weight costs two products of its size, a trained one four (the logits are made again), and judging one."""
    (hidden, weight), target = inputs(bias=False)
    made = []
    judged = vocabulary._nll_of
    monkeypatch.setattr(vocabulary, "_nll_of", lambda *given: made.append(len(given[0])) or judged(*given))
    monkeypatch.setattr(vocabulary, "_add_product", lambda *given: made.append("weight"))
    vocabulary_loss(hidden, weight.detach(), target, chunk=20).sum().backward()
    assert made == [20, 17] and hidden.grad is not None
    made.clear()
    vocabulary_loss(hidden, weight, target, chunk=20).sum().backward()
    assert made == [20, 17, 20, "weight", 17, "weight"]
    with torch.no_grad():
        assert not vocabulary_loss(hidden, weight, target).requires_grad


def test_no_places_at_all():
    hidden, weight = torch.randn(0, D, requires_grad=True), torch.randn(V, D, requires_grad=True)
    for one in (weight, weight.detach()):
        loss = vocabulary_loss(hidden, one, torch.zeros(0, dtype=torch.long))
        assert loss.shape == (0,)
        loss.sum().backward()
    assert hidden.grad.shape == (0, D) and not weight.grad.any()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # some ten seconds of processor time, on a machine that may do other things too
@pytest.mark.parametrize("weight", ["frozen", "trained"])
def test_4096_places_over_49152_entries_stay_under_300_mb(weight, forked):
    """Above the inputs; the whole logits alone would be 805 MB.

    Of the width depend the two gradients alone: 96 numbers, and their 20 MB, stand for the 576 of a small language model and 122.
    """
    done = forked.run_code(PEAK, weight)
    assert not done.returncode, done.stderr
    assert float(done.stdout) < 300 - (122 - 20)
