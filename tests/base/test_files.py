from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from triptych.base.files import (
    cache_root,
    digest,
    is_full,
    kept_folder,
    lock_of,
    made_aside,
    unfinished,
    write_json,
    write_text,
    written_aside,
)


def test_a_crash_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), written_aside(path) as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_the_file_can_be_read_by_others(tmp_path):
    path = tmp_path / "new" / "folder" / "ä b.txt"
    write_text(path, "grüße")
    assert path.read_text(encoding="utf-8") == "grüße"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_weights_can_be_read_by_others(tmp_path):
    """safetensors writes a private file of its own and renames it over the one it was given."""
    with written_aside(tmp_path / "weights.safetensors") as aside:
        save_file({"a": np.zeros(2)}, aside)
    assert stat.S_IMODE((tmp_path / "weights.safetensors").stat().st_mode) == 0o644


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"ü": [1]})
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ü": [1]}
    assert list(tmp_path.iterdir()) == [path]


def test_digest_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 300_000)
    assert digest(tmp_path / "a") == hashlib.sha256(b"x" * 300_000).hexdigest()


def test_the_cache_goes_where_the_user_says(monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", "/somewhere")
    assert cache_root() == Path("/somewhere")
    monkeypatch.delenv("TRIPTYCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_root() == Path("/xdg/triptych")


def test_what_killed_makers_left_goes_and_what_is_being_made_stays(tmp_path):
    code = "import sys, pathlib, time; from triptych.base.files import made_aside\n"
    code += (
        "with made_aside(pathlib.Path(sys.argv[1])) as aside: (aside / 'half').write_text('x'); print(aside, flush=True); time.sleep(60)"
    )
    maker = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    half = Path(maker.stdout.readline().strip())
    with made_aside(tmp_path):
        assert (half / "half").exists(), "somebody is at work in it"
    maker.kill()
    maker.communicate()
    assert unfinished(tmp_path) == [half]
    with made_aside(tmp_path) as aside:
        assert not half.exists() and not lock_of(half).exists() and aside.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_half_of_an_older_version_may_be_at_work_for_a_day(tmp_path):
    (tmp_path / ".making-abc").mkdir()
    assert unfinished(tmp_path) == []
    os.utime(tmp_path / ".making-abc", (0, time.time() - 25 * 3600))
    with made_aside(tmp_path):
        assert not (tmp_path / ".making-abc").exists()


def test_a_folder_that_is_made_once_is_whole_or_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        kept_folder("bases/one", lambda out: (_ for _ in ()).throw(KeyboardInterrupt))
    assert list((tmp_path / "bases").iterdir()) == []
    made = kept_folder("bases/one", lambda out: write_text(out / "a", "x"))
    assert kept_folder("bases/one", lambda out: pytest.fail("made twice")) == made and [path.name for path in made.parent.iterdir()] == [
        "one"
    ]


def test_a_full_disk_is_an_error_of_the_system_whoever_writes(tmp_path):
    """safetensors has an error of its own for it, which ended a training with a stack trace."""
    resource = pytest.importorskip("resource", reason="limits of a process are known on Unix alone")
    path, (soft, hard) = tmp_path / "weights.safetensors", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError) as caught, written_aside(path) as aside:
            save_file({"a": np.zeros(10_000)}, aside)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert is_full(caught.value) and caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
