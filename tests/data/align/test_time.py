"""Joins by time against a plain reference that compares every segment with every window."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.data.align.keys import hashed
from triptych.data.align.segments import Segments
from triptych.data.align.times import seconds_of
from triptych.data.rows import Row

_spec = importlib.util.spec_from_file_location("align_makers", Path(__file__).with_name("makers.py"))
makers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(makers)
entries, lines, recording = makers.entries, makers.lines, makers.recording
WINDOWS = {"column": "audio", "seconds": 10}


def fits(start: float, end: float, first: float, last: float, match) -> bool:
    """The rule in words, written without arrays."""
    if first == last:
        return start <= first < end or start == end == first
    if start == end:
        return first <= start < last
    if match == "middle":
        return first <= (start + end) / 2 < last
    shared = min(end, last) - max(start, first)
    return shared > 0 if match == "any" else shared > 0 and shared >= match * (end - start) - 1e-9


quarters = st.integers(0, 80).map(lambda n: n / 4)
pairs = st.tuples(quarters, quarters).map(lambda pair: (min(pair), max(pair)))


@given(
    st.lists(st.tuples(st.sampled_from("ab"), pairs), max_size=30),
    st.lists(pairs, min_size=1, max_size=10),
    st.sampled_from(["any", "middle", 0.25, 0.5, 1.0]),
)
def test_segments_of_a_window_are_those_of_the_plain_search(segments, windows, match):
    held = Segments(
        [hashed(of) for of, _ in segments], [start for _, (start, _) in segments], [end for _, (_, end) in segments], range(len(segments))
    )
    for of in "abc":
        for first, last in windows:
            if first == last and match != "any":
                continue
            wanted = [n for n, (name, (start, end)) in enumerate(segments) if name == of and fits(start, end, first, last, match)]
            wanted.sort(key=lambda n: (segments[n][1][0], n))
            assert held.inside(held.of(hashed(of)), first, last, match) == wanted


def test_a_window_looks_at_few_segments(monkeypatch):
    """Bisection: of a hundred thousand segments only those near the window are compared."""
    import triptych.data.align.segments as module

    held = Segments([7] * 100_000, [float(n) for n in range(100_000)], [n + 0.5 for n in range(100_000)], range(100_000))
    seen: list[int] = []
    belongs = module.belongs
    monkeypatch.setattr(module, "belongs", lambda starts, *rest: seen.append(len(starts)) or belongs(starts, *rest))
    assert held.inside(held.of(7), 5000, 5010, "any") == list(range(5000, 5010)) and max(seen) < 15


@pytest.fixture
def calls(tmp_path) -> Path:
    recording(tmp_path / "calls/a.wav", 35)
    recording(tmp_path / "calls/b.wav", 8)
    return tmp_path / "calls"


def transcript(folder: Path, *rows: str, header: str = "recording,start,end,text,speaker") -> dict:
    return {"source": str(lines(folder / "transcript.csv", header, *rows)), "by": "time"}


SAID = ("a,9,12,two,ann", "a,1,2,one,ann", "b,1,3,three,bea", "a,13,14,four,bea", "a,100,101,late,ann", "c,1,2,other,cat")


def texts(rows: list[Row]) -> dict[str, object]:
    return {row.id: row.cells.get("text") for row in rows}


def test_windows_with_their_transcript(calls, tmp_path):
    rows, rejects, findings = entries(calls, windows=WINDOWS, join=[transcript(tmp_path, *SAID)])
    assert texts(rows) == {
        "a-00000.0": "one two",
        "a-00010.0": "two four",
        "a-00020.0": None,
        "a-00030.0": None,
        "b-00000.0": "three",
    }
    assert [row.cells.get("speaker") for row in rows] == ["ann", None, None, None, "bea"] and not rejects
    assert findings[1] == (
        "join transcript.csv by time: 3 of 5 rows have a segment, 2 are kept without one, 0 are rejected; "
        "4 of its 6 segments belong to a row, 2 to none (1 of them are of other recordings)"
    )
    assert "'speaker' is empty in 1 rows" in findings[2] and "text: [text, speaker]" in findings[2]
    assert not any({"start", "end"} & set(row.cells) for row in rows)


def test_how_much_of_a_segment_must_be_inside(calls, tmp_path):
    join = transcript(tmp_path, "a,9,12,two,ann")
    found = {}
    for match in ("any", "middle", 0.3, 0.5, 0.9):
        try:
            found[match] = [row.id for row in entries(calls, windows=WINDOWS, join=[{**join, "match": match}])[0] if "text" in row.cells]
        except InputError as error:
            assert "no segment of transcript.csv belongs to any row" in str(error)
            found[match] = []
    assert found == {
        "any": ["a-00000.0", "a-00010.0"],
        "middle": ["a-00010.0"],
        0.3: ["a-00000.0", "a-00010.0"],
        0.5: ["a-00010.0"],
        0.9: [],
    }


def test_a_row_for_each_pair(calls, tmp_path):
    rows, _, findings = entries(calls, windows=WINDOWS, join=[{**transcript(tmp_path, *SAID), "many": "rows"}])
    assert [(row.id, row.cells.get("text")) for row in rows][:4] == [
        ("a-00000.0/row-2", "one"),
        ("a-00000.0/row-1", "two"),
        ("a-00010.0/row-1", "two"),
        ("a-00010.0/row-4", "four"),
    ]
    assert rows[0].cells["start"] == "1" and "3 rows became 5" in findings[2]


def test_windows_without_a_segment_are_rejected_or_refused_by_a_word(calls, tmp_path):
    join = transcript(tmp_path, *SAID)
    rows, rejects, _ = entries(calls, windows=WINDOWS, join=[{**join, "missing": "reject"}])
    assert len(rows) == 3 and [reject.id for reject in rejects] == ["a-00020.0", "a-00030.0"]
    assert rejects[0].reason.startswith("transcript.csv has no segment for ") and "20-30 s" in rejects[0].reason
    with pytest.raises(InputError, match=r"row a-00020\.0 has no segment"):
        entries(calls, windows=WINDOWS, join=[{**join, "missing": "refuse"}])
    with pytest.raises(InputError, match=r"2 segments of transcript\.csv belong to no row"):
        entries(calls, windows=WINDOWS, join=[{**join, "unused": "refuse"}])


def test_segments_that_are_none_leave_their_reason(calls, tmp_path):
    faults = (
        "a,5,3,reversed,x",
        "a,nan,4,nan,x",
        "a,,4,empty,x",
        "a,1,,empty,x",
        ",1,2,of nothing,x",
        "a,-1,2,before,x",
        "a,0:01,0:02,fine,x",
    )
    rows, rejects, _ = entries(calls, windows=WINDOWS, join=[transcript(tmp_path, *faults)])
    assert len(rows) == 5 and texts(rows)["a-00000.0"] == "fine"
    assert [reject.id for reject in rejects] == [f"transcript/row-{n}" for n in range(1, 7)]
    said = [reject.reason for reject in rejects]
    for part, reason in zip(
        ("before it starts", "no time", "when it starts", "when it ends", "which recording", "before the start"), said, strict=True
    ):
        assert part in reason


def test_a_recording_is_meant_by_its_file_too(calls, tmp_path):
    """From the folder of the segments, from that of the recordings, or by its whole path."""
    for way in ("calls/a.wav", "a.wav", str(calls / "a.wav"), "a"):
        join = {**transcript(tmp_path, f"{way},1,2,hello", header="file,start,end,text"), "on": {"recording": "file"}}
        assert texts(entries(calls, windows=WINDOWS, join=[join])[0])["a-00000.0"] == "hello", way


def test_a_transcript_that_does_not_say_of_what_fits_one_recording_alone(calls, tmp_path):
    join = transcript(tmp_path, "1,2,hello", header="start,end,text")
    with pytest.raises(InputError, match="there are several: a, b"):
        entries(calls, windows=WINDOWS, join=[join])
    (calls / "b.wav").unlink()
    assert texts(entries(calls, windows=WINDOWS, join=[join])[0])["a-00000.0"] == "hello"


def test_moments_joined_to_the_segments_that_go_on(tmp_path):
    """Frames of a film with what is said at their time; and the events of a film in its windows."""
    frames = lines(tmp_path / "frames.csv", "id,recording,second", "f1,m,0.5", "f2,m,2", "f3,m,3", "f4,n,2", "f5,m,x")
    join = {**transcript(tmp_path, "m,0,2,one,x", "m,2,3,two,x"), "at": "second"}
    rows, rejects, _ = entries(frames, join=[join])
    assert texts(rows) == {"f1": "one", "f2": "two", "f3": None, "f4": None} and rejects[0].reason == "second: 'x' is no time in seconds"
    with pytest.raises(InputError, match="match: any takes the segment"):
        entries(frames, join=[{**join, "match": "middle"}])


def test_moments_in_windows_and_labels_in_a_list(calls, tmp_path):
    events = transcript(tmp_path, "a,0,dog", "a,9.99,cat", "a,10,cow", header="recording,start,label")
    rows, _, _ = entries(calls, windows=WINDOWS, join=[{**events, "end": None, "text": ["label"], "separator": "|"}])
    assert [row.cells.get("label") for row in rows] == ["dog|cat", "cow", None, None, None]


def test_windows_joined_to_pictures_by_time(calls, tmp_path):
    """The table's own recordings, cut into windows, are the segments: a frame gets the sound around it."""
    frames = lines(tmp_path / "frames.csv", "id,recording,second,label", "f1,a,2,x", "f2,a,12,y", "f3,b,40,z")
    join = {"source": str(calls), "by": "time", "at": "second", "windows": WINDOWS, "text": []}
    rows, _, _ = entries(frames, join=[join])
    assert [(row.cells["audio"].start, row.cells["audio"].source) for row in rows if "audio" in row.cells] == [
        (0.0, calls / "a.wav"),
        (10.0, calls / "a.wav"),
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"start": "begin"}, "has no column 'begin', which data.join.0.start asks for"),
        ({"text": ["words"]}, "has no column 'words', which data.join.0.text asks for"),
        ({"on": "file"}, "has no column 'file', which data.join.0.on asks for"),
        ({"at": "second"}, "no row has a column 'second', which data.join.0.at asks for"),
        ({"on": {"call": "recording"}}, "no row has a column 'call'"),
        ({"columns": {"recording": "speaker"}}, "is of none of the recordings: the rows say a"),
        ({"columns": {"recording": "text"}}, "which data.join.0.text asks for"),
    ],
)
def test_wrong_words_are_answered(calls, tmp_path, change, says):
    with pytest.raises(InputError) as caught:
        entries(calls, windows=WINDOWS, join=[{**transcript(tmp_path, *SAID), **change}])
    assert says in str(caught.value)


def test_a_join_by_time_needs_times(calls, tmp_path):
    with pytest.raises(InputError, match=r"add data\.windows, or at: COLUMN"):
        entries(calls, join=[transcript(tmp_path, *SAID)])


@pytest.mark.parametrize(("cell", "seconds"), [("75.5", 75.5), (3, 3.0), ("1:15.5", 75.5), ("0:01:15,5", 75.5), ("01:00:00.000", 3600.0)])
def test_times_as_they_are_written(cell, seconds):
    assert seconds_of(cell) == seconds


@pytest.mark.parametrize("cell", ["", "1:75", "1:99:00", "x", "inf", "1e999", True, [1], "1_0", "-0:01", -1])
def test_what_is_no_time(cell):
    with pytest.raises(ValueError):
        seconds_of(cell)


SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> &amp; you
{\\an8}there

2
00:00:11,500 --> 00:00:12,000
again

broken

4
0:09 --> 0:05
x
"""
VTT = """WEBVTT - a title

NOTE a note
of two lines

STYLE
::cue {}

00:01.000 --> 00:02.500 align:start
<v Ann>Hello &amp; you
there

second
11.5 --> 12
again
"""


@pytest.mark.parametrize(("name", "content", "faults"), [("a.srt", SRT, 2), ("a.vtt", VTT, 0)])
def test_subtitles_are_segments(calls, tmp_path, name, content, faults):
    (tmp_path / name).write_bytes(content.replace("\n", "\r\n").encode("utf-8-sig"))
    (calls / "b.wav").unlink()
    rows, rejects, _ = entries(calls, windows=WINDOWS, join=[{"source": str(tmp_path / name), "by": "time"}])
    assert list(texts(rows).values())[:2] == ["Hello & you there", "again"] and len(rejects) == faults


def test_a_folder_of_subtitles_lies_as_the_recordings_do(tmp_path):
    for folder in ("x", "y"):
        recording(tmp_path / "calls" / folder / "a.wav", 5)
        (tmp_path / "subs" / folder).mkdir(parents=True)
        (tmp_path / "subs" / folder / "a.srt").write_text(f"1\n0:01 --> 0:02\n{folder}\n")
    rows, _, _ = entries(tmp_path / "calls", windows=WINDOWS, join=[{"source": str(tmp_path / "subs"), "by": "time"}])
    assert texts(rows) == {"x/a-00000.0": "x", "y/a-00000.0": "y"}
