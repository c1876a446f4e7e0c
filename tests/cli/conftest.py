"""For tests of the command line: a command in this process."""

from __future__ import annotations

import io
import sys

import pytest

from triptych.cli.main import run as run_command


@pytest.fixture
def cli(capsys, monkeypatch):
    """Run a command line in this process, with lines to read: (exit code, stdout, stderr)."""

    def called(*words: object, lines: str = "", person: bool = False) -> tuple[int, str, str]:
        stdin = io.StringIO(lines)
        stdin.isatty = lambda: person
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "argv", ["triptych", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        try:
            run_command()
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return called
