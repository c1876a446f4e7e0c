"""A tree of values and tensors comes back as it was, or not at all."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.run.state import read_state, write_state

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5)
KEYS = st.text(max_size=4) | st.integers(0, 9) | st.sampled_from(["$tensor", "$pairs"])
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12)


@settings(max_examples=60, deadline=None)
@given(tree=st.dictionaries(st.text(max_size=3), TREES, max_size=4))
def test_any_tree_comes_back(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("state") / "s"
    write_state(path, tree)
    assert read_state(path) == tree


def test_tensors_of_all_kinds_come_back_bit_by_bit(tmp_path):
    given = [torch.randn(3, 4), torch.tensor(7), torch.zeros(0, 5), torch.arange(4, dtype=torch.uint8), torch.tensor([True, False])]
    given += [torch.randn(2, 3).bfloat16(), torch.tensor([float("nan"), -0.0, float("inf")]), torch.randn(4, 6).T, torch.get_rng_state()]
    tied = torch.randn(5)
    write_state(tmp_path / "s", {"all": given, "tied": {0: tied, "again": tied[1:]}})
    found = read_state(tmp_path / "s")
    for before, after in zip([*given, tied, tied[1:]], [*found["all"], found["tied"][0], found["tied"]["again"]], strict=True):
        assert before.dtype == after.dtype and before.shape == after.shape
        assert before.contiguous().reshape(-1).view(torch.uint8).tolist() == after.reshape(-1).view(torch.uint8).tolist()


def test_any_flipped_byte_is_found(tmp_path):
    write_state(tmp_path / "s", {"weights": torch.randn(8), "epoch": 3})
    content = (tmp_path / "s").read_bytes()
    for place in range(0, len(content), 7):
        (tmp_path / "t").write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        try:
            found = read_state(tmp_path / "t")
        except InputError as error:
            assert "damaged" in str(error)
        else:  # white space that fills up the header may change; what it says may not
            assert found["epoch"] == 3 and torch.equal(found["weights"], read_state(tmp_path / "s")["weights"])


@pytest.mark.parametrize("content", [b"", b"x" * 40, b"\xff" * 400])
def test_what_is_no_state_is_refused(tmp_path, content):
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_state(tmp_path / "s")
    with pytest.raises(InputError, match="no saved state"):
        read_state(tmp_path / "gone")


def test_a_state_that_does_not_fit_on_the_disk_leaves_the_old_one(tmp_path):
    write_state(tmp_path / "s", {"epoch": 1})
    script = f"""
import errno
import resource, signal, torch
from pathlib import Path
from triptych.run.state import write_state
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, {resource.RLIM_INFINITY}))
try:
    write_state(Path({str(tmp_path / "s")!r}), {{"weights": torch.zeros(100_000)}})
except Exception as error:
    print(type(error).__name__, error.errno)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == f"OSError {errno.EFBIG}", done
    assert read_state(tmp_path / "s") == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
