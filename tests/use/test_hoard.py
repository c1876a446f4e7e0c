"""The cache folder listed and freed: safely, while others use it."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import torch

from triptych.base.errors import InputError
from triptych.base.files import held, in_use, lock_of, made_aside, write_json
from triptych.data.kept import Kept, key
from triptych.data.looks import Looks
from triptych.data.samples import make_sample
from triptych.data.shelf import ABOUT, FOLDER, LOCK
from triptych.modalities import rooms
from triptych.use.hoard import free, things


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    in_use.cache_clear()


def store(cache: Path, name: str, rows: int = 3, days: float = 0.0) -> Path:
    """A folder of features, as a training leaves it."""
    folder = cache / FOLDER / name
    kept = Kept(folder)
    write_json(folder / ABOUT, {"input": "text", "of": "owner/base", "given": "vectors"})
    kept.add([key(name, str(row)) for row in range(rows)], [{"pooled_PD": torch.full((1, 4), float(row))} for row in range(rows)])
    del kept
    gc.collect()
    for path in folder.iterdir():
        os.utime(path, (time.time() - days * 86400,) * 2)
    return folder


def test_what_is_kept_is_listed_with_its_rows_and_size(cache):
    folder = store(cache, "aaaa1111", rows=5, days=2)
    store(cache, "bbbb2222")
    make_sample("digits", {"text": rooms()["text"]})
    with contextlib.closing(Looks()):
        pass
    write_json(cache / "bases/facts/x.json", {})
    found = {thing.key: thing for thing in things()}
    assert {thing.kind for thing in found.values()} == {"features", "samples", "looks", "bases"}
    one = found["aaaa1111"]
    assert (one.rows, one.what, one.given) == (5, "text: owner/base", "vectors")
    assert one.size == sum(path.stat().st_size for path in folder.iterdir())
    assert 1.9 < (time.time() - one.used) / 86400 < 2.1
    assert found["bbbb2222"].rows == 3 and json.dumps([thing.as_dict() for thing in found.values()])


def test_opening_counts_as_use(cache):
    folder = store(cache, "aaaa", days=40)
    Kept(folder)
    assert time.time() - things()[0].used < 3600


def test_freed_by_key_beginning_kind_and_age(cache):
    old, one, other = store(cache, "abc1", days=40), store(cache, "abd2"), store(cache, "ffff")
    size = sum(path.stat().st_size for path in one.iterdir())
    with pytest.raises(InputError, match="beginning of several"):
        free(["ab"])
    assert free(["abd"], dry=True).size == size and one.exists()
    assert free(["abd"]).size == size and not one.exists()
    assert [thing.key for thing in free([], older=30).gone] == ["abc1"] and not old.exists()
    assert not free(["features"], older=1).gone and other.exists()
    assert [thing.key for thing in free(["features"]).gone] == ["ffff"] and not things()


@pytest.mark.parametrize("keys", [[], ["featurs"], ["aaaa", "nothing"]])
def test_wrong_keys_free_nothing(cache, keys):
    folder = store(cache, "aaaa")
    with pytest.raises(InputError) as caught:
        free(keys)
    assert folder.exists() and ("features" in str(caught.value))


def test_what_a_training_has_open_is_left_and_readable(cache):
    folder = store(cache, "aaaa")
    kept = Kept(folder)
    done = free([], everything=True)
    assert [thing.key for thing in done.left] == ["aaaa"] and not done.gone and done.size == 0
    assert [thing.key for thing in free(["aaaa"], dry=True).left] == ["aaaa"]
    assert torch.equal(kept.items([key("aaaa", "2")])[0]["pooled_PD"], torch.full((1, 4), 2.0))
    del kept, done
    gc.collect()
    assert free([], everything=True).gone and not folder.exists()


def test_what_was_mapped_stays_readable_though_its_files_go(cache):
    folder = store(cache, "aaaa")
    kept = Kept(folder)
    for path in folder.iterdir():
        path.unlink()
    assert torch.equal(kept.items([key("aaaa", "1")])[0]["pooled_PD"], torch.full((1, 4), 1.0))


WRITER = """
import sys, torch
from pathlib import Path
from triptych.data.kept import Kept, key
kept = Kept(Path(sys.argv[1]))
print("open", flush=True)
for line in sys.stdin:
    kept.add([key(line)], [{"pooled_PD": torch.ones(1, 4)}])
    print(len(kept), flush=True)
"""


def test_another_process_that_writes_is_not_disturbed_and_a_kill_lets_go(cache, forked):
    folder = cache / FOLDER / "cccc"
    writer = forked.start(folder, code=WRITER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with writer:
        assert writer.stdout.readline() == "open\n"
        for count in (1, 2, 3):
            writer.stdin.write(f"{count}\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == f"{count}\n"
            assert free([], everything=True).left
        writer.kill()
    assert [thing.rows for thing in things()] == [3]
    assert free(["features"]).gone and not folder.exists()


def test_one_that_waits_while_it_is_freed_begins_anew(cache, forked):
    """The lock that it waited for is gone with the folder: it must not think that it holds it."""
    folder = store(cache, "aaaa")
    lock = held(folder / LOCK, alone=True)
    code = "import sys; from pathlib import Path; from triptych.base.files import held\n"
    code += "print('go', flush=True); print(held(Path(sys.argv[1])))"
    with forked.start(folder / LOCK, code=code, stdout=subprocess.PIPE) as waiting:
        assert waiting.stdout.readline() == "go\n"
        time.sleep(0.2)
        (folder / LOCK).unlink()
        os.close(lock)
        assert int(waiting.stdout.readline()) > 0
    assert (folder / LOCK).exists()


def test_a_sample_in_use_is_left(cache):
    table = make_sample("digits", {"text": rooms()["text"]})
    assert [thing.kind for thing in free(["samples"]).left] == ["samples"] and table.exists()
    os.close(in_use(table.parent))
    (done,) = free(["samples"]).gone
    assert done.size > 0 and not table.exists() and not lock_of(table.parent).exists()
    assert make_sample("digits", {"text": rooms()["text"]}).exists(), "it is made again"


def test_looks_are_forgotten_under_an_open_database(cache):
    with contextlib.closing(Looks()) as looks:
        file = cache / "some.txt"
        file.write_text("x")
        os.utime(file, (1, 1))
        looks.content(file)
        looks.flush()
        assert free(["looks"]).gone
        assert looks._asked("select count(*) from files") == (0,)
        assert looks.content(file)


def test_weights_that_a_run_shares_are_its_own(cache, tmp_path):
    held_weights = cache / "bases/weights/a.safetensors"
    held_weights.parent.mkdir(parents=True)
    held_weights.write_bytes(b"x" * 1000)
    assert [(thing.key, thing.size) for thing in things()] == [("weights", 1000)]
    os.link(held_weights, tmp_path / "of-a-run.safetensors")
    assert free(["weights"]).size == 0 and (tmp_path / "of-a-run.safetensors").stat().st_size == 1000


def test_what_a_kill_left_is_listed(cache):
    (cache / FOLDER / "dddd").mkdir(parents=True)
    (cache / FOLDER / "dddd" / "cut.safetensors").write_bytes(b"\1\2")
    (thing,) = things()
    assert "killed" in thing.what and thing.rows == 0 and free(["dddd"]).size == 2


def test_what_was_begun_and_killed_is_freed_and_what_is_begun_is_not(cache):
    with made_aside(cache / "samples") as aside:
        dead = cache / "bases/.making-dead"
        dead.mkdir(parents=True)
        (dead / "half").write_bytes(b"12345")
        lock_of(dead).touch()
        assert [(thing.key, thing.kind, thing.size) for thing in things()] == [("making-dead", "unfinished", 5)]
        assert free(["unfinished"]).size == 5 and not dead.exists() and not lock_of(dead).exists() and aside.exists()
