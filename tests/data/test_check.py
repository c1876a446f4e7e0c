from __future__ import annotations

from pathlib import Path

import pytest

from triptych.base.errors import BadValue, InputError
from triptych.data.check import screen
from triptych.data.locate import locate
from triptych.data.sources.tabled import read_source
from triptych.data.table import Reject, Row, Table
from triptych.modalities import rooms


def checked(path: Path, max_rejected: float = 1.0, names=("image", "audio", "text"), **kwargs):
    columns = {name: rooms()[name] for name in names}
    return screen(locate(read_source(path, rooms()), columns), columns, max_rejected, **kwargs)


def written(folder: Path, *lines: str, header: str = "id,image,audio,text") -> Path:
    (folder / "t.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder / "t.csv"


def test_good_rows_pass_and_empty_cells_are_absent(tiny_table):
    found = checked(tiny_table, 0)
    assert len(found.rows) == 40 and not found.rejects
    assert isinstance(found.rows[1].cells["image"], Path) and isinstance(found.rows[1].cells["text"], str)


def test_every_bad_row_leaves_with_its_reason(tiny_table, tmp_path):
    good = tiny_table.parent
    (tmp_path / "cut.png").write_bytes((good / "pictures/1.png").read_bytes()[:300])
    (tmp_path / "zero.wav").write_bytes(b"")
    (tmp_path / "prose.png").write_text("these are words")
    (tmp_path / "folder.png").mkdir()
    path = written(
        tmp_path,
        "good,,,hello",
        f"fine,{good}/pictures/1.png,,",
        "missing,none.png,,hello",
        "cut,cut.png,,",
        "zero,,zero.wav,",
        "prose,prose.png,,",
        "folder,folder.png,,",
        "nothing,,,",
        "address,https://example.org/a.png,,hello",
        "sound,,ftp://example.org/a.wav,",
        f"long,{'x' * 5000}.png,,",
        "ragged,,,a,b",
        "up,../../../../../../none.png,,",
    )
    found = checked(path)
    reasons = {reject.id: reject.reason for reject in found.rejects}
    assert [row.id for row in found.rows] == ["good", "fine"]
    assert set(reasons) == {"missing", "cut", "zero", "prose", "folder", "nothing", "address", "sound", "long", "ragged", "up"}
    for name, part in {
        "missing": "none.png",
        "cut": "damaged",
        "zero": "empty",
        "prose": "not a picture",
        "folder": "folder",
        "nothing": "no input at all: image, audio, text are empty",
        "address": "nothing is fetched",
        "sound": "nothing is fetched",
        "ragged": "5 cells where the header has 4",
    }.items():
        assert part in reasons[name], (name, reasons[name])
    assert reasons["cut"].startswith("image: ") and "cut.png" in reasons["cut"]


def test_a_text_that_looks_like_an_address_is_a_text(tmp_path):
    assert len(checked(written(tmp_path, "a,,,https://example.org is down", "b,,,x")).rows) == 2


def test_too_many_bad_rows_stop_with_the_list_and_a_share_that_would_do(tmp_path):
    path = written(tmp_path, *[f"r{i},none{i}.png,," for i in range(13)], *[f"g{i},,,hello" for i in range(7)])
    with pytest.raises(InputError) as caught:
        checked(path, 0.5)
    text = str(caught.value)
    assert "13 of 20 rows cannot be used" in text and "r0: image: " in text and "and 3 more" in text and "t.csv" in text
    assert "data.max_rejected=0.65" in text
    assert len(checked(path, 0.65).rejects) == 13


@pytest.mark.parametrize("bad", range(1, 100, 7))
def test_the_share_named_in_the_error_is_enough(bad):
    class Room:
        name, by_reference = "room", False

        def read(self, cell):
            if cell == "bad":
                raise BadValue("it is bad")

    rows = Table(["a"], [Row(str(i), {"a": "bad" if i < bad else "good"}) for i in range(100)], "t", Path())
    with pytest.raises(InputError) as caught:
        screen(rows, {"a": Room()}, 0.0)
    screen(rows, {"a": Room()}, float(str(caught.value).rsplit("=", 1)[1]))


def test_no_row_left_is_an_error_even_where_all_may_be_lost(tmp_path):
    with pytest.raises(InputError, match="the recipe's inputs name the right columns"):
        checked(written(tmp_path, "a,,,x"), 1.0, names=("image",))


def test_a_broken_room_is_not_taken_for_a_bad_row():
    class Room:
        by_reference = False

        def read(self, cell):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        screen(Table(["a"], [Row("1", {"a": "x"})], "t", Path()), {"a": Room()}, 1.0)


def test_progress_sees_every_row(tmp_path):
    seen = []
    checked(written(tmp_path, "a,,,x", "b,,,y"), track=lambda rejects, total: (seen.append((r, total)) or r for r in rejects))
    assert seen == [(None, 2), (None, 2)]


def test_rejects_keep_splits_beside_their_rows():
    found = Table(["a"], [Row(x, {}) for x in "abc"], "t", Path(), splits=["train", "test", "validation"]).without([Reject("b", "no")])
    assert found.splits == ["train", "validation"] and [row.id for row in found.rows] == ["a", "c"]


def test_a_column_of_names_of_text_files_is_read_from_the_files(tmp_path):
    """Trained on the names, a model would learn the folders."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.txt").write_text("a bright sharp whistle")
    (tmp_path / "t.csv").write_text("text,label\na/1.txt,x\nsee a/1.txt,y\na/2.txt,x\n")
    table = locate(read_source(tmp_path / "t.csv", rooms()), {"text": rooms()["text"]})
    assert [row.cells["text"] for row in table.rows] == [tmp_path / "a/1.txt", "see a/1.txt", "a/2.txt"]
