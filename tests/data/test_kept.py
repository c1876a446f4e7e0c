"""Tensors by key, in files that any number of processes write and a kill leaves whole."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.contract.values import Packed
from triptych.data.kept import Kept, key
from triptych.data.remembered import put_together, taken_apart


def item(number: int, length: int = 3) -> dict[str, torch.Tensor]:
    return {"tokens_PTD": torch.full((length, 2), float(number)), "one_PD": torch.full((1, 4), number, dtype=torch.bfloat16)}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(one[n].dtype == other[n].dtype and torch.equal(one[n], other[n]) for n in one)


def test_rows_come_back_by_key_from_any_part(tmp_path):
    kept = Kept(tmp_path)
    keys = [key("row", str(number)) for number in range(9)]
    for start in (0, 3, 6):
        kept.add(keys[start : start + 3], [item(number, 1 + number % 4) for number in range(start, start + 3)])
    for held in (kept, Kept(tmp_path)):
        assert len(held) == 9
        found = held.items([keys[number] for number in (8, 0, 4, 4)])
        assert all(same(a, item(number, 1 + number % 4)) for a, number in zip(found, (8, 0, 4, 4), strict=True))
        assert held.places([key("row", "9"), keys[0]]).tolist()[0] == -1


def test_two_that_add_the_same_rows_agree(tmp_path):
    one, other = Kept(tmp_path), Kept(tmp_path)
    keys = [key(str(number)) for number in range(20)]
    threads = [threading.Thread(target=lambda kept=kept: [kept.add([k], [item(n)]) for n, k in enumerate(keys)]) for kept in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.refresh()
    assert len(one) == 20 and all(same(a, item(n)) for n, a in enumerate(one.items(keys)))


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "text"])
def test_a_damaged_part_is_removed_and_costs_its_rows_alone(tmp_path, harm):
    kept = Kept(tmp_path)
    kept.add([key("a")], [item(1)])
    first = next(tmp_path.glob("*.safetensors"))
    kept.add([key("b")], [item(2)])
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes({"flipped": bytes(content), "cut": bytes(content[:40]), "empty": b"", "text": b"hello there"}[harm])
    again = Kept(tmp_path)
    assert again.damaged == 1 and len(again) == 1 and not first.exists()
    assert again.places([key("a"), key("b")]).tolist() == [-1, 0]


def test_a_killed_writer_leaves_no_half_part(tmp_path, forked):
    script = (
        "import sys, os, signal, threading, torch\nfrom pathlib import Path\nfrom triptych.data.kept import Kept, key\n"
        "kept = Kept(Path(sys.argv[1]))\n"
        "threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()\n"
        "n = 0\nwhile True:\n    kept.add([key(str(n))], [{'x_PD': torch.full((1, 1000), float(n))}])\n    n += 1\n"
    )
    assert forked.run_code(script, tmp_path).returncode == -9
    kept = Kept(tmp_path)
    assert kept.damaged == 0 and len(kept) > 0
    assert all(float(row["x_PD"][0, 0]) == n for n, row in enumerate(kept.items([key(str(n)) for n in range(len(kept))])))


@settings(max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_a_batch_taken_apart_is_put_together_again(lengths, masked, chosen):
    longest = max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    tokens = torch.randn(len(lengths), longest, 3)
    packed = Packed({"block.1_PTD": tokens, "place_P": torch.arange(len(lengths))}, mask if masked else None)
    items = taken_apart(packed)
    rows = list(range(len(items)))[:: -1 if chosen else 1]
    again = put_together([items[row] for row in rows])
    assert again.tensors["place_P"].tolist() == rows
    if not masked:
        assert again.mask_PT is None and torch.equal(again.tensors["block.1_PTD"], tokens[rows])
    else:
        assert torch.equal(again.mask_PT, mask[rows])
        assert torch.equal(again.tensors["block.1_PTD"][again.mask_PT], tokens[rows][mask[rows]])
