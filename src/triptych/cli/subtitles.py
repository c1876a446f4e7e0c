"""The verb `subtitles`: what is said in a recording of any length, and when."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from triptych.base.errors import InputError


def subtitles(
    run: Annotated[str, typer.Argument(metavar="RUN", help="folder of a finished run with a ctc task")],
    recording: Annotated[str, typer.Argument(metavar="FILE", help="recording or film, of any length")],
    out: Annotated[str | None, typer.Option(metavar="FILE", help=".srt or .vtt file to write; by default SubRip is printed")] = None,
    window: Annotated[float | None, typer.Option(help="seconds heard at once; by default 30, or what the run's input takes")] = None,
    overlap: Annotated[float, typer.Option(help="seconds that two windows share, so that no word is cut in two")] = 2.0,
    task: Annotated[str | None, typer.Option(help="ctc task, where the run has several")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead: with --out what was written, else every word")] = False,
) -> None:
    """Write subtitles of a recording of any length, window by window."""
    from triptych.run.folder import open_folder

    folder = open_folder(run)
    if not Path(recording).is_file():
        raise InputError(f"there is no file {recording!r}")
    from triptych.cli import tables
    from triptych.run.progress import Voice
    from triptych.use.cues import cues, srt
    from triptych.use.opened import Run
    from triptych.use.subtitles import words_of, write_subtitles, writer_of

    if out:
        writer_of(Path(out))
    voice = Voice(quiet=as_json and not sys.stderr.isatty())
    words = words_of(Run(folder), Path(recording), voice, task=task, window=window, overlap=overlap)
    if out:
        told = write_subtitles(words, Path(out))
        if as_json:
            print(json.dumps(told))
        else:
            tables.lines(f"{told['words']:,} words in {told['subtitles']:,} subtitles -> {told['out']}")
    elif as_json:
        print(json.dumps([word.as_dict() for word in words]))
    else:
        sys.stdout.writelines(srt(cues(words)))
