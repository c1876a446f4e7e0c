"""`data windows` and `data join` as a user types them."""

from __future__ import annotations

import csv
import json
import sys
import wave

import pytest

from triptych.cli.main import run as run_cli


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Run the command line in a folder of its own; exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["triptych", *words])
        code = 0
        try:
            run_cli()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    (tmp_path / "calls").mkdir()
    with wave.open("calls/talk.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(1000)
        file.writeframes(b"\x00\x20" * 60_000)
    with open("transcript.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["start", "end", "text"], [1, 2, "one"], [9, 11, "two"], ["0:30", "0:25", "turned"], [70, 71, "late"]])
    return call


def test_windows_then_their_transcript(cli):
    code, out, err = cli("data", "windows", "calls", "w.lance", "--of", "audio", "--seconds", "10", "--overlap", "2", "--json")
    told = json.loads(out)
    assert code == 0 and (told["rows"], told["kept"], told["columns"]) == (8, 8, {"audio": "media", "recording": "text"}), err
    assert told["findings"][0].startswith("windows: 1 recording of 60.0 s became 8 windows of 10 s")
    code, out, err = cli("data", "join", "w.lance", "transcript.csv", "t.lance", "--by", "time", "--at", "audio", "--match", "0.5")
    assert code == 0 and "join transcript.csv by time: 2 of 8 rows have a segment, 6 are kept without one" in out, err
    assert "2 of its 3 segments belong to a row, 1 to none" in out
    assert "rejected transcript/row-3: it ends at 25 s, before it starts at 30 s" in out and "9 rows in, 8 kept, 1 rejected" in out
    words = ["--windows", "{column: audio, seconds: 10, overlap: 2}", "--join", "{source: transcript.csv, by: time, match: 0.5}"]
    code, once, err = cli("data", "build", "calls", "o.lance", *words, "--json")
    assert code == 0 and json.loads(once)["findings"][1] in out and json.loads(once)["rejected"] == 1, err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["windows", "calls", "w.lance", "--of", "audoi", "--seconds", "10"], "did you mean 'audio'"),
        (["windows", "calls", "w.lance", "--of", "audio", "--seconds", "10", "--last", "pad"], "known: keep, drop, shift"),
        (["join", "calls", "transcript.csv", "w.lance"], "the field 'on' is missing"),
        (
            ["join", "calls", "transcript.csv", "w.lance", "--on", "id=text"],
            "no row has a partner in transcript.csv: the rows say talk; it says",
        ),
        (["join", "calls", "gone.csv", "w.lance", "--on", "id"], "there is no file or folder 'gone.csv'"),
        (["join", "calls", "transcript.csv", "w.lance", "--by", "time", "--on", "id", "--missing", "drop"], "known: keep, reject, refuse"),
        (["build", "calls", "w.lance", "--windows", "audio"], "--windows must be a mapping"),
        (["build", "calls", "w.lance", "--join", "{source: [}"], "cannot read --join"),
    ],
)
def test_wrong_words_end_with_code_2(cli, words, says):
    code, _, err = cli("data", *words)
    assert code == 2 and says in err and "Traceback" not in err
