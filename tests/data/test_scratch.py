"""Prepared items on the disk: they come back as they were, and nothing of them stays."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from triptych.base import files
from triptych.data import scratch
from triptych.data.scratch import Scratch


def item(seed: int, frames: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "features": torch.rand(frames, 3, generator=generator),
        "ids": torch.randint(0, 99, (frames,), generator=generator),
        "total": torch.tensor(frames),
        "flag": torch.tensor([seed % 2 == 0]),
        "half": torch.rand(2, 1, generator=generator).to(torch.bfloat16),
    }


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype and a[n].shape == b[n].shape for n in a)


def test_items_of_any_lengths_come_back_as_they_were(tmp_path):
    kept = Scratch(50, 2**20, tmp_path)
    items = {row: item(row, row % 7) for row in range(0, 50, 3)}
    kept.keep(list(items), items.values())
    assert [row in kept for row in range(50)] == [row % 3 == 0 for row in range(50)]
    rows = [48, 0, 21, 21, 3]
    assert all(equal(items[row], back) for row, back in zip(rows, kept.items(rows), strict=True))
    assert kept.items([]) == []


def test_a_view_into_a_larger_tensor_is_kept_as_what_it_shows(tmp_path):
    kept, whole = Scratch(1, 2**20, tmp_path), torch.arange(24.0).reshape(4, 6)
    kept.keep([0], [{"part": whole[1:3].T}])
    assert torch.equal(kept.items([0])[0]["part"], whole[1:3].T)


def test_the_file_has_no_name_and_ends_with_its_user(tmp_path):
    kept = Scratch(1, 2**20, tmp_path)
    assert not list(tmp_path.iterdir())
    kept.keep([0], [item(0, 3)])
    assert not list(tmp_path.iterdir())
    handle = kept._file.fileno()
    assert os.fstat(handle).st_size == kept.end
    del kept
    with pytest.raises(OSError):
        os.fstat(handle)


def test_no_more_is_kept_than_allowed(tmp_path):
    size = sum(map(len, scratch.Layout(item(0, 5)).packed(item(0, 5))))
    kept = Scratch(10, 3 * size, tmp_path)
    kept.keep(range(10), [item(row, 5) for row in range(10)])
    assert [row in kept for row in range(10)] == [True] * 3 + [False] * 7


def test_a_full_disk_keeps_what_is_there(tmp_path, monkeypatch):
    kept = Scratch(3, 2**20, tmp_path)
    kept.keep([0], [item(0, 5)])

    def full(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scratch.os, "pwritev", full)
    kept.keep([1, 2], [item(1, 5), item(2, 5)])
    assert [row in kept for row in range(3)] == [True, False, False]
    assert equal(kept.items([0])[0], item(0, 5))


def test_a_folder_that_takes_no_file_costs_speed_only(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path / "file"))
    kept = Scratch(1, 2**20, tmp_path / "file" / "within")
    kept.keep([0], [item(0, 5)])
    assert 0 not in kept


def test_an_item_of_another_make_is_not_kept(tmp_path):
    kept = Scratch(2, 2**20, tmp_path)
    kept.keep([0, 1], [{"a": torch.zeros(2)}, {"a": torch.zeros(2, 2)}])
    assert 0 in kept and 1 not in kept


def test_many_threads_put_and_get(tmp_path):
    kept = Scratch(400, 2**24, tmp_path)
    wrong = []

    def work(start: int) -> None:
        for row in range(start, 400, 4):
            kept.keep([row], [item(row, row % 9)])
            if not equal(kept.items([row])[0], item(row, row % 9)):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and all(equal(back, item(row, row % 9)) for row, back in enumerate(kept.items(list(range(400)))))
