from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from PIL import Image

from triptych.base.errors import InputError
from triptych.contract.cells import Blob
from triptych.data.layouts import layout, recognised


def test_rows(miniature, read):
    rows, rejects = read("mnist", miniature("mnist"))
    assert list(rows) == ["train-00000", "train-00001", "train-00002", "test-00000", "test-00001"] and not rejects
    assert [cells["label"] for cells in rows.values()] == [7, 0, 4, 7, 0]
    assert [cells["split"] for cells in rows.values()] == ["train"] * 3 + ["test"] * 2
    cell = rows["train-00001"]["image"]
    assert isinstance(cell, Blob) and cell.name == "train-00001.png"
    picture = Image.open(io.BytesIO(cell))
    assert picture.mode == "L" and np.array_equal(np.asarray(picture), np.arange(20, 40, dtype=np.uint8).reshape(4, 5))


@pytest.mark.parametrize("folder", ["MNIST/raw", "raw"])
def test_other_names_and_folders(tmp_path, make, read, folder):
    make.idx(tmp_path / folder / "train-images.idx3-ubyte", 2051, (1, 2, 2), b"abcd")
    make.idx(tmp_path / folder / "train-labels.idx1-ubyte.gz", 2049, (1,), b"\5")
    assert recognised(tmp_path) is layout("mnist")
    assert read("mnist", tmp_path, findings=1)[0]["train-00000"]["label"] == 5  # and the missing test files are said


def test_a_folder_called_like_its_file(tmp_path, make, read):
    make.idx(tmp_path / "t10k-images-idx3-ubyte/t10k-images-idx3-ubyte", 2051, (1, 2, 2), b"abcd")
    make.idx(tmp_path / "t10k-labels-idx1-ubyte/t10k-labels-idx1-ubyte", 2049, (1,), b"\5")
    assert list(read("mnist", tmp_path, findings=1)[0]) == ["test-00000"]


def refused(root) -> str:
    with pytest.raises(InputError) as caught:
        layout("mnist").read(root)
    return str(caught.value)


def test_missing_labels(miniature):
    root = miniature("mnist")
    (root / "train-labels-idx1-ubyte").unlink()
    says = refused(root)
    assert "train-labels is missing" in says and str(root / "train-labels-idx1-ubyte") in says


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content[:-1], "the header says 3 images (60 bytes), the file has 59 bytes"),
        (lambda content: content + b"x", "the file has 61 bytes"),
        (lambda content: content[:9], "ends within its header, after 9 bytes"),
        (lambda content: content[:3] + b"\1" + content[4:], "begins with the number 2049, not 2051"),
        (lambda content: content[:12] + bytes(4) + content[16:], "pictures of 4 x 0 pixels"),
        (lambda content: b"", "ends within its header"),
        (lambda content: b"<!DOCTYPE html><html></html>", "begins with the number 1008813135"),
    ],
)
def test_damaged_files(miniature, change, says):
    file = miniature("mnist") / "train-images-idx3-ubyte"
    file.write_bytes(change(file.read_bytes()))
    text = refused(file.parent)
    assert says in text and str(file) in text and "download it again" in text


@pytest.mark.parametrize(
    "change", [lambda content: content[:-12], lambda content: content[:25] + b"\xff\xff" + content[27:], lambda _: b"no"]
)
def test_damaged_gz(miniature, change):
    file = miniature("mnist") / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(change(file.read_bytes()))
    assert "cannot be read to its end" in refused(file.parent)


def test_a_gz_cut_before_it_was_packed(miniature):
    file = miniature("mnist") / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:-3]))
    assert "the file has 37 bytes" in refused(file.parent)


def test_counts_that_differ(miniature, make):
    root = miniature("mnist")
    make.idx(root / "train-labels-idx1-ubyte", 2049, (2,), b"\1\2")
    assert "3 pictures but 2 labels" in refused(root)
