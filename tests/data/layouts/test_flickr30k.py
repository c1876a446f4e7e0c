from __future__ import annotations

import shutil

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout, recognised

TABLE = """image_name| comment_number| comment
1000092795.jpg| 0| Two young guys .
1000092795.jpg| 1| One | two , "three .
2199200615.jpg| 4   A dog runs across the grass .
"""


def mirror(root, make, content=TABLE, inner="flickr30k_images/flickr30k_images"):
    make.text(root / "flickr30k_images/results.csv", content)
    for name in ("1000092795.jpg", "2199200615.jpg"):
        make.picture(root / inner / name)
    return root


def test_rows(miniature, read):
    root = miniature("flickr30k")
    rows, rejects = read("flickr30k", root)
    assert list(rows) == ["1000092795-0", "1000092795-1", "10002456-0"] and not rejects
    assert rows["1000092795-1"] == {
        "image": root / "flickr30k-images/1000092795.jpg",
        "caption": "Two young , White males .",
        "picture": "1000092795",
    }
    assert rows["10002456-0"]["caption"] == 'Men in " hard " hats .'


@pytest.mark.parametrize("inner", ["flickr30k_images/flickr30k_images", "flickr30k_images"])
def test_the_mirrors_table_and_its_broken_line(tmp_path, make, read, inner):
    root = mirror(tmp_path, make, inner=inner)
    assert recognised(root) is layout("flickr30k")
    rows, rejects = read("flickr30k", root)
    assert {row_id: cells["caption"] for row_id, cells in rows.items()} == {
        "1000092795-0": "Two young guys .",
        "1000092795-1": 'One | two , "three .',
        "2199200615-4": "A dog runs across the grass .",
    }
    assert not rejects


def test_the_publishers_file_goes_before_the_mirrors(miniature, make, read):
    root = miniature("flickr30k")
    make.text(root / "results.csv", TABLE)
    assert "10002456-0" in read("flickr30k", root, findings=1)[0]


def test_missing_parts(miniature):
    root = miniature("flickr30k")
    shutil.rmtree(root / "flickr30k-images")
    with pytest.raises(InputError, match="the folder of pictures is missing") as caught:
        layout("flickr30k").read(root)
    assert caught.value.where == str(root / "flickr30k-images")
    (root / "results_20130124.token").unlink()
    with pytest.raises(InputError, match="the file of captions is missing"):
        layout("flickr30k").read(root)


def test_another_header(tmp_path, make):
    with pytest.raises(InputError) as caught:
        layout("flickr30k").read(mirror(tmp_path, make, TABLE.replace("comment_number", "number")))
    assert "image_name| number| comment" in str(caught.value) and "image_name| comment_number| comment (expected)" in str(caught.value)


def test_rejects(miniature, read):
    root = miniature("flickr30k")
    with (root / "results_20130124.token").open("a") as file:
        file.write("10002456.jpg#0\tthe same again\n77.jpg#0\tno file\nno mark\tx\n10002456.jpg#1\t\n10002456.jpg#2\n")
    rows, rejects = read("flickr30k", root)
    reasons = dict(rejects)
    assert len(rows) == 3 and len(rejects) == 5
    assert "earlier row" in reasons["10002456-0"] and "77.jpg is not there" in reasons["77-0"]
    assert "has not the form" in reasons["results_20130124.token line 6"] and "line 7 of" in reasons["10002456-1"]
    assert "has not the form" in reasons["results_20130124.token line 8"]


def test_rejects_of_the_table(tmp_path, make, read):
    rows, rejects = read("flickr30k", mirror(tmp_path, make, f"{TABLE}nothing\n1000092795.jpg| x| y\n1000092795.jpg| 2|\n"))
    assert len(rows) == 3 and [each for each, _ in rejects] == ["results.csv line 5", "results.csv line 6", "1000092795-2"]
