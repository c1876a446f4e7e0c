"""Windows of long recordings: exact bounds, stable names, nothing lost in silence."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.contract.cells import Blob, Span
from triptych.data.align.windows import MICRO, bounds, stamp_of
from triptych.data.build import SILENT, Plan, build
from triptych.data.settings import DataSettings, WindowSettings
from triptych.data.sources.iterable import from_rows
from triptych.data.sources.words import opened
from triptych.data.stored import read_stored
from triptych.modalities import rooms

_spec = importlib.util.spec_from_file_location("align_makers", Path(__file__).with_name("makers.py"))
makers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(makers)
entries, lines, recording, words = makers.entries, makers.lines, makers.recording, makers.words


def asked(**said) -> WindowSettings:
    return WindowSettings(column="audio", **said)


@given(
    st.floats(0.001, 5000),
    st.integers(1, 500).map(lambda hundredths: hundredths / 100),
    st.floats(0, 0.95),
    st.sampled_from(["keep", "drop", "shift"]),
)
def test_windows_cover_a_recording_and_overlap_as_asked(seconds, length, share, last):
    overlap = round(length * share, 3) if length - round(length * share, 3) >= 0.01 else 0
    found = bounds(min(seconds, 2000 * length), asked(seconds=length, overlap=overlap, last=last))
    total = int(min(seconds, 2000 * length) * MICRO)
    size, step = round(length * MICRO), round(length * MICRO) - round(overlap * MICRO)
    if not found:
        assert last == "drop" and total < size
        return
    assert found[0][0] == 0 and all(0 <= start < end <= total or total == 0 for start, end in found)
    assert [start for start, _ in found[:-1]] == [step * k for k in range(len(found) - 1)]
    assert all(end - start == size for start, end in found[:-1])
    assert all(after <= before_end for (_, before_end), (after, _) in itertools.pairwise(found))  # no hole
    if last == "drop":
        assert found[-1][1] - found[-1][0] == size and total - found[-1][1] < step
    else:
        assert found[-1][1] == total
        assert len(found) == 1 or total - found[-2][1] > 0  # the last one holds something new
    if last == "shift" and total >= size:
        assert found[-1][1] - found[-1][0] == size
    assert len({stamp_of(start) for start, _ in found}) == len(found)


@pytest.mark.parametrize(
    ("start", "said"), [(0, "00000.0"), (12 * MICRO, "00012.0"), (8_250_000, "00008.25"), (123_456 * MICRO, "123456.0")]
)
def test_the_name_of_a_window(start, said):
    assert stamp_of(start) == said


def test_a_folder_of_recordings(tmp_path):
    recording(tmp_path / "calls/x/a.wav", 25)
    recording(tmp_path / "calls/y/b.wav", 3)
    rows, rejects, findings = entries(tmp_path / "calls", windows={"column": "audio", "seconds": 10, "overlap": 2})
    assert [row.id for row in rows] == ["x/a-00000.0", "x/a-00008.0", "x/a-00016.0", "y/b-00000.0"]
    assert [row.cells["recording"] for row in rows] == ["x/a"] * 3 + ["y/b"] and not rejects
    assert rows[2].cells["audio"] == Span(tmp_path / "calls/x/a.wav", 16.0, 25.0) and rows[3].cells["audio"].end == 3.0
    assert {row.cells["label"] for row in rows} == {"x", "y"}
    assert findings == [
        "windows: 2 recordings of 28.0 s became 4 windows of 10 s, overlapping by 2 s; 2 at an end are shorter",
    ]


def test_what_becomes_of_the_end_is_said(tmp_path):
    recording(tmp_path / "calls/a.wav", 25)
    recording(tmp_path / "calls/b.wav", 3)
    rows, rejects, findings = entries(tmp_path / "calls", windows={"column": "audio", "seconds": 10, "last": "drop"})
    assert [row.id for row in rows] == ["a-00000.0", "a-00010.0"]
    assert [(reject.id, reject.reason) for reject in rejects] == [("b", "audio: it is 3.00 s long, shorter than one window of 10 s")]
    assert findings[1] == "windows: 5.0 s at the ends are in no window (last: drop)"
    rows, _, _ = entries(tmp_path / "calls", windows={"column": "audio", "seconds": 10, "last": "shift"})
    assert [(row.cells["audio"].start, row.cells["audio"].end) for row in rows] == [(0, 10), (10, 20), (15, 25), (0, 3)]


def test_rows_of_a_table_with_gaps_and_faults(tmp_path):
    recording(tmp_path / "a.wav", 4)
    source = lines(tmp_path / "t.csv", "file,text", "a.wav,x", ",y", "gone.wav,z", "notes.pdf,w", "http://x.org/a.wav,v")
    rows, rejects, findings = entries(source, windows={"column": "file", "seconds": 2})
    assert [row.id for row in rows] == ["row-1-00000.0", "row-1-00002.0", "row-2"] and "file" not in rows[2].cells
    said = {reject.id: reject.reason for reject in rejects}
    assert "there is no such file" in said["row-3"] and "no length in time" in said["row-4"] and "address" in said["row-5"]
    assert findings[-1] == "windows: 1 rows without a recording in 'file' stay as they are"


def test_windows_of_pieces_and_of_recordings_in_a_table(tmp_path):
    content = recording(tmp_path / "a.wav", 10).read_bytes()
    rows = [{"id": "whole", "audio": Blob(content, "a.wav")}, {"id": "part", "audio": Span(tmp_path / "a.wav", 3.0, 8.0)}]
    found = opened(words(Path("x"), windows={"column": "audio", "seconds": 4}), rooms(), {}, from_rows(rows))
    cells = [row.cells["audio"] for row in found.rows()]
    assert [(cell.start, cell.end) for cell in cells] == [(0, 4), (4, 8), (8, 10), (3, 7), (7, 8)]
    assert isinstance(cells[0].source, Blob)


def test_a_column_that_no_row_has(tmp_path):
    recording(tmp_path / "calls/a.wav", 1)
    with pytest.raises(InputError, match="did you mean 'audio'"):
        entries(tmp_path / "calls", windows={"column": "audoi", "seconds": 1})


def test_windows_that_do_not_move_on_are_refused():
    with pytest.raises(InputError, match="do not move on"):
        parse(DataSettings, {"source": "x", "windows": {"column": "a", "seconds": 2, "overlap": 2}}, "a test")


def test_windows_of_a_recording_stay_on_one_side_unless_the_recipe_says_otherwise():
    windows = {"column": "audio", "seconds": 10}
    assert parse(DataSettings, {"source": "x", "windows": windows}, "a test").split.group == "recording"
    assert parse(DataSettings, {"source": "x", "windows": {**windows, "name": "call"}}, "a test").split.group == "call"
    asked = {"source": "x", "windows": windows, "split": {"group": "speaker"}}
    assert parse(DataSettings, asked, "a test").split.group == "speaker"
    assert parse(DataSettings, {"source": "x"}, "a test").split.group is None


def test_several_sources_and_a_table_on_the_disk(tmp_path):
    """Names of files in cells are seen from the folder of their own source, also when the rows become a table."""
    recording(tmp_path / "one/a.wav", 3)
    recording(tmp_path / "two/a.wav", 5)
    parts = [{"name": name, "source": str(lines(tmp_path / name / "t.csv", "audio,text", "a.wav,hello"))} for name in ("one", "two")]
    asked = words(parts, windows={"column": "audio", "seconds": 2})
    built = build(opened(asked, rooms(), {}), tmp_path / "t.lance", rooms(), Plan(), SILENT)
    rows = list(read_stored(tmp_path / "t.lance").rows)
    assert built.rows == built.kept == len(rows) == 5 and built.findings[0].startswith("windows: 2 recordings of 8.0 s")
    assert [(row.cells["source"], row.cells["audio"].source, row.cells["audio"].end) for row in rows][1:3] == [
        ("one", tmp_path / "one/a.wav", 3.0),
        ("two", tmp_path / "two/a.wav", 2.0),
    ]


def test_pieces_from_columns(tmp_path):
    recording(tmp_path / "a.wav", 10)
    source = lines(tmp_path / "t.csv", "path,from,to", "a.wav,1.5,3", "a.wav,0:04,0:05.5", "a.wav,5,4", "a.wav,nan,4", ",1,2", "a.wav,,3")
    rows, rejects, _ = entries(source, columns={"audio": {"column": "path", "start": "from", "end": "to"}})
    assert [row.cells.get("audio") for row in rows] == [Span(tmp_path / "a.wav", 1.5, 3.0), Span(tmp_path / "a.wav", 4.0, 5.5), None]
    reasons = [reject.reason for reject in rejects]
    assert "before it starts" in reasons[0] and "'nan' is no time" in reasons[1] and "when it starts" in reasons[2]
    stored = makers.table(source, columns={"audio": {"column": "path", "start": "from"}})
    assert stored.rows[0].cells["audio"] == Span(tmp_path / "a.wav", 1.5, None)
    with pytest.raises(InputError, match="no row has a column 'till'"):
        entries(source, columns={"audio": {"column": "path", "start": "from", "end": "till"}})
    with pytest.raises(InputError, match="add start"):
        words(source, columns={"audio": {"column": "path", "end": "to"}})
