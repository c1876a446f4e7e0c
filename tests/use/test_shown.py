"""`triptych data show`: what stands in a table, and what was rejected when it was built."""

from __future__ import annotations

from PIL import Image

from triptych.data.build import Plan, build
from triptych.data.sources import open_source
from triptych.modalities import rooms
from triptych.run.progress import Voice
from triptych.use.shown import _summary, write_page


def test_texts_in_files_are_read_and_rejects_are_told(tmp_path):
    folder = tmp_path / "in/cats"
    folder.mkdir(parents=True)
    for number in range(8):
        Image.new("L", (8, 8), number).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"<b>a cat</b> called {number}")
    (folder / "bad\nname.png").write_bytes(b"")
    build(open_source(tmp_path / "in", rooms()), tmp_path / "t.lance", rooms(), Plan(), Voice(quiet=True))
    told = write_page(tmp_path / "t.lance", tmp_path / "t.html", 20)
    what = {column["name"]: column["what"] for column in told["columns"]}
    assert what == {"image": "8 .png", "text": "8 .txt", "label": "cats (8)"}
    assert told["findings"][0] == f"1 row was rejected, with reasons in {tmp_path / 't.lance.rejects.csv'}"
    assert told["findings"][1].startswith("rejected cats/bad\\nname: the file is empty")
    page = (tmp_path / "t.html").read_text()
    assert "&lt;b&gt;a cat&lt;/b&gt; called 7" in page and "<b>a cat" not in page and "1 row was rejected" in page


def test_values_are_listed_with_how_often_they_come_and_long_texts_counted():
    assert _summary([1, 2, 1, None], 4)["what"] == "1 (2), 2 (1)"
    assert _summary([["a", "b"], ["a", "b"]], 2)["what"] == "a|b (2)"
    assert _summary(["x" * 50, "y" * 50], 2)["what"] == "2 different, 50 to 50 characters"
    assert _summary(["x" * 50, "x" * 50], 2)["what"] == f"{'x' * 39}… (2)"


def test_what_each_build_said_stands_on_the_page(tmp_path):
    """Of the build that made the table as it is, and of what was appended since; in the page and for programs."""
    table, voice = tmp_path / "t.lance", Voice(quiet=True)
    for number, (name, text) in enumerate(
        {"old": "id,price\nx,1\n", "new": "id,price\nx,1\n<y>,NA\n", "more": "id,price\nz,5,6\nw,3\n"}.items()
    ):
        (tmp_path / f"{name}.csv").write_text(text)
        build(open_source(tmp_path / f"{name}.csv", rooms()), table, rooms(), Plan(append=number == 2, max_rejected=0.5), voice)
    told = write_page(table, tmp_path / "t.html", 3)
    counts = [(notes["append"], notes["rows"], notes["kept"], notes["rejected"]) for notes in told["built"]]
    assert counts == [(False, 2, 2, 0), (True, 2, 1, 1)] and "--empty NA" in told["built"][0]["findings"][0]
    page = (tmp_path / "t.html").read_text()
    assert "2 rows in, 1 kept, 1 rejected" in page and "but 1 say &#39;NA&#39;" in page and "old.csv</b>" not in page
    assert told["versions"][-1]["made"] == f"build 1 rows from {tmp_path / 'old.csv'}"
