"""Hugging Face data sets: names on a Hub that runs in this process, and folders that `save_to_disk` wrote."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from triptych.base.errors import InputError
from triptych.contract.cells import Blob
from triptych.data.sources import open_source
from triptych.modalities import rooms

datasets = pytest.importorskip("datasets")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO, API = "/datasets/owner/name/resolve/", "/api/datasets/owner/name"


def parquet_bytes(**columns) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def card(names: list[str]) -> bytes:
    classes = "".join(f"            '{number}': {name}\n" for number, name in enumerate(names))
    text = "  - name: text\n    dtype: string\n  - name: label\n    dtype:\n      class_label:\n        names:\n"
    return f"---\ndataset_info:\n  features:\n{text}{classes}---\n# A data set\n".encode()


FILES = {
    "README.md": card(["calm", "loud"]),
    "data/train-00000-of-00001.parquet": parquet_bytes(text=["a", "b", "c"], label=[0, 1, 1]),
    "data/test-00000-of-00001.parquet": parquet_bytes(text=["d"], label=[0]),
}


def digest(name: str) -> str:
    return hashlib.sha1(FILES[name]).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's protocol as `datasets` asks for."""

    def do_GET(self):
        path = unquote(self.path.split("?")[0])
        if path.startswith(REPO):
            self.file(path.removeprefix(REPO).split("/", 1)[1])
        elif path.startswith(f"{API}/tree/"):
            self.json(self.tree(path.removeprefix(f"{API}/tree/").partition("/")[2]))
        elif path == API or path.startswith(f"{API}/revision/"):
            self.json(
                {"id": "owner/name", "sha": COMMIT, "private": False, "tags": [], "siblings": [{"rfilename": name} for name in FILES]}
            )
        else:
            self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def tree(self, folder: str) -> list[dict]:
        start = f"{folder}/" if folder else ""
        inside = [name.removeprefix(start) for name in FILES if name.startswith(start)]
        folders = sorted({name.split("/")[0] for name in inside if "/" in name})
        files = [start + name for name in inside if "/" not in name]
        return [
            *({"type": "directory", "path": start + name, "oid": "0" * 40} for name in folders),
            *({"type": "file", "path": name, "size": len(FILES[name]), "oid": digest(name)} for name in files),
        ]

    def file(self, name: str):
        if name not in FILES:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content, about = FILES[name], {"ETag": f'"{digest(name)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            part = content[int(first) : int(last or len(content)) + 1]
            self.answer(206, part, {**about, "Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"})
        else:
            self.answer(200, content, about)

    def json(self, value):
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def answer(self, code: int, content: bytes, about: dict):
        self.send_response(code)
        for name, value in {**about, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


# The address of the Hub is read when the package is imported, so each trial is a process.
READ = """
import json, sys
from pathlib import Path
from triptych.base.errors import InputError
from triptych.data.sources import open_source
from triptych.modalities import rooms
for word in sys.argv[1:]:
    try:
        found = open_source(Path(word), rooms())
        rows = [[row.id, row.cells] for row in found.rows()]
        print(json.dumps({"total": found.total, "version": found.version, "rows": rows, "again": len(list(found.rows()))}))
    except InputError as error:
        print(json.dumps({"error": str(error)}))
"""


def read(hub: str, home: Path, *words: str) -> list[dict]:
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {**quiet, "HF_ENDPOINT": hub, "HF_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", READ, *words], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_names_on_the_hub_downloaded_and_streamed(hub, tmp_path):
    whole, train, streamed, again = read(hub, tmp_path, "hf:owner/name", "hf:owner/name@train", "hf-stream:owner/name", "hf:owner/name")
    assert [row_id for row_id, _ in whole["rows"]] == ["train/row-1", "train/row-2", "train/row-3", "test/row-1"]
    assert whole["rows"][1][1] == {"text": "b", "label": "loud", "split": "train"} and whole["total"] == whole["again"] == 4
    assert [cells for _, cells in train["rows"]] == [{"text": t, "label": w} for t, w in zip("abc", ("calm", "loud", "loud"), strict=True)]
    assert streamed["rows"] == whole["rows"] and streamed["total"] is None and streamed["version"] == COMMIT
    assert again == whole and whole["version"]


def test_what_is_not_on_the_hub(hub, tmp_path):
    none, split, config, word = read(hub, tmp_path, "hf:owner/none", "hf:owner/name@dev", "hf-stream:owner/name:big", "hf:a/b/c")
    assert "'owner/none' cannot be opened" in none["error"] and "where: hf:owner/none" in none["error"] and "hf auth login" in none["error"]
    assert "dev" in split["error"] and "big" in config["error"]
    assert "cannot read the name 'hf:a/b/c'" in word["error"] and "hf:owner/name:config@split" in word["error"]


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="pip install 'triptych"):
        open_source(Path("hf:owner/name"), rooms())


# folders that `save_to_disk` wrote


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("saved")
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(file, "PNG")
    (home / "two.png").write_bytes(b"two")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "sound": datasets.Audio(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "tags": datasets.List(datasets.Value("string")),
            "all": datasets.List(datasets.ClassLabel(names=["x", "y"])),
        }
    )
    columns = {
        "image": [{"bytes": file.getvalue(), "path": "one.png"}, {"bytes": None, "path": str(home / "two.png")}, None],
        "sound": [{"bytes": b"RIFF", "path": "a.wav"}, None, None],
        "label": [1, 0, -1],
        "tags": [["a"], [], None],
        "all": [[0, 1], [], None],
    }
    table = pa.Table.from_pydict(columns, schema=features.arrow_schema)
    one = datasets.Dataset(table)
    datasets.DatasetDict({"train": one, "validation": one.select([0]).flatten_indices()}).save_to_disk(home / "dict")
    one.save_to_disk(home / "one", num_shards=2)
    return home


def rows(path: Path) -> list:
    return list(open_source(path, rooms()).rows())


def test_a_saved_data_set(saved):
    found = open_source(saved / "one", rooms())
    first, second, third = list(found.rows())
    assert found.total == 3 and [first.id, second.id, third.id] == ["row-1", "row-2", "row-3"]
    assert first.cells["label"] == "dog" and first.cells["tags"] == ["a"] and first.cells["all"] == ["x", "y"]
    assert isinstance(first.cells["image"], Blob) and first.cells["image"].name == "one.png"
    assert rooms()["image"].read(first.cells["image"]).getpixel((0, 0)) == (1, 2, 3)
    assert isinstance(first.cells["sound"], Blob) and first.cells["sound"].name == "a.wav"
    assert second.cells["image"] == b"two" and second.cells["image"].name == "two.png" and third.cells == {}


def test_several_splits_are_a_column_and_stand_before_the_ids(saved):
    found = rows(saved / "dict")
    assert [(row.id, row.cells["split"]) for row in found] == [
        ("train/row-1", "train"),
        ("train/row-2", "train"),
        ("train/row-3", "train"),
        ("validation/row-1", "validation"),
    ]


@pytest.mark.parametrize("name", ["data-00000-of-00001.arrow", "state.json", "dataset_info.json"])
def test_a_missing_file_is_named(saved, tmp_path, name):
    datasets.Dataset.from_dict({"a": [1]}).save_to_disk(tmp_path / "d")
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"a": [1]})}).save_to_disk(tmp_path / "dict")
    (tmp_path / "dict/train" / name).unlink()
    with pytest.raises(InputError) as caught:
        rows(tmp_path / "dict")
    assert name in str(caught.value)
    (tmp_path / "d/data-00000-of-00001.arrow").write_bytes(b"cut")
    with pytest.raises(InputError, match="damaged"):
        rows(tmp_path / "d")


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path):
    datasets.Dataset.from_dict({"a": [1]}).save_to_disk(tmp_path / "d")
    state = json.loads((tmp_path / "d/state.json").read_text())
    (tmp_path / "d/state.json").write_text(json.dumps({**state, "_data_files": [{"filename": "../x.arrow"}]}))
    with pytest.raises(InputError, match="not in its own folder"):
        rows(tmp_path / "d")
