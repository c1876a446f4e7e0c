"""Subtitles: what stands on the screen, and the files that are written of it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from triptych.data.sources.subtitles import read_subtitles
from triptych.modalities import rooms
from triptych.run.spoken import Word, joined
from triptych.use.cues import LINES, LONGEST, WIDTH, cues, srt, vtt

texts = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=12)
spans = st.tuples(st.floats(0, 1.5), st.floats(0.02, 0.9), texts)
counting = st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.sampled_from([0.25, 0.5, 0.75]), st.just("one"))
"""One word said again and again."""


def words_of(parts: list[tuple[float, float, str]]) -> list[Word]:
    """Words one after the other: (silence before, length, text)."""
    at, words = 0.0, []
    for silence, length, text in parts:
        words.append(Word(text, at + silence, at + silence + length, 1.0))
        at = words[-1].end
    return words


@given(st.lists(spans, max_size=40))
def test_every_word_is_shown_once_in_lines_and_times_that_can_be_read(parts):
    words = words_of(parts)
    shown = list(cues(words))
    assert " ".join(line for cue in shown for line in cue.lines).split() == [word.text for word in words]
    for cue in shown:
        assert len(cue.lines) <= LINES and all(len(line) <= WIDTH for line in cue.lines)
        assert 0 < cue.end - cue.start <= LONGEST + 1e-6
    assert all(before.end <= after.start + 1e-9 for before, after in pairwise(shown))


def test_a_pause_begins_a_new_one_and_two_lines_are_balanced():
    words = words_of([(0, 0.3, "first"), (2.0, 0.3, "then"), *[(0.05, 0.25, "word" * 2)] * 6])
    first, second = cues(words)
    assert first.lines == ("first",) and first.end == 1.0
    assert second.lines == ("then wordword wordword wordword", "wordword wordword wordword")


def test_a_sentence_without_spaces_is_cut_into_lines():
    shown = list(cues([Word("x" * 100, 0.0, 10.0, 1.0)]))
    assert "".join(line for cue in shown for line in cue.lines) == "x" * 100
    assert all(len(line) <= WIDTH for cue in shown for line in cue.lines)


@given(st.lists(spans, min_size=1, max_size=12))
def test_files_are_read_back_as_they_were_meant(tmp_path_factory, parts):
    shown = list(cues(words_of(parts)))
    for ending, writer in ((".srt", srt), (".vtt", vtt)):
        path = tmp_path_factory.mktemp("cues") / f"talk{ending}"
        path.write_text("".join(writer(shown)), encoding="utf-8")
        rows = list(read_subtitles(path, rooms()).rows())
        assert [row.cells["text"] for row in rows] == [" ".join(cue.lines) for cue in shown]
        for row, cue in zip(rows, shown, strict=True):
            assert abs(row.cells["start"] - cue.start) < 0.001 and abs(row.cells["end"] - cue.end) < 0.001


def test_marks_of_web_pages_are_written_out():
    from triptych.use.cues import Cue

    assert "a &lt;b&gt; &amp; c" in "".join(vtt([Cue(3661.5, 3662.25, ("a <b> & c",))]))
    assert "01:01:01,500 --> 01:01:02,250" in "".join(srt([Cue(3661.5, 3662.25, ("x",))]))


def windows(words: list[Word], seconds: float, overlap: float) -> list[tuple[float, list[Word]]]:
    """What a perfect ear hears in each window: words that are cut off at an edge are heard as another word."""
    last, start, found = words[-1].end if words else 0.0, 0.0, []
    while True:
        end, heard = start + seconds, []
        for word in words:
            if word.start >= start and word.end <= end:
                heard.append(word)
            elif word.end > start and word.start < end:
                heard.append(Word("?", max(word.start, start), min(word.end, end), 0.1))
        found.append((start, heard))
        if end >= last:
            return found
        start += seconds - overlap


@given(st.lists(spans, max_size=40) | st.lists(counting, max_size=40), st.sampled_from([(8.0, 2.5), (10.0, 4.0)]))
def test_overlapping_windows_give_each_word_once_where_no_word_is_longer_than_half_an_overlap(parts, lengths):
    words = words_of(parts)
    assert list(joined(windows(words, *lengths), lengths[1])) == words


def test_windows_that_share_nothing_are_one_behind_the_other():
    a, b = Word("a", 0.0, 0.5, 1.0), Word("b", 8.2, 8.4, 1.0)
    assert list(joined([(0.0, [a]), (8.0, [b])], 0.0)) == [a, b]
    assert list(joined([], 2.0)) == []
