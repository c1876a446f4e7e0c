"""Pretrained bases: a name on the Hugging Face Hub, or a folder, to files on this machine that are whole.

Weights are read from safetensors only: a pickle can run any code it likes. Code of a repository is downloaded only where a recipe asks
for it (`trust.py`). What is computed of a base (its digest, its facts)
is kept in the cache folder, so that it is read through once.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from triptych.base import catalogue, trust
from triptych.base.errors import InputError, nearest
from triptych.base.files import cache_root, digest, kept_digest, remembered_json, written_aside
from triptych.base.small import is_small, small

WANTED = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")
CODE = ("*.py",)
TEXTS = (".json", ".txt", ".model", ".jinja")
"""Files beside the weights that say how something is prepared or asked."""
ELSEWHERE = ("onnx/*", "openvino/*", "coreml/*", "original/*", "*.fp16.*", "*.bf16.*", "*.int8.*")
"""Other forms of the same weights, which some owners put beside them."""
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".ot")
PATHLIKE = ("./", "../", "/", "~")
BIG_HEADER = 100 * 2**20


def is_folder(name: str) -> bool:
    """Whether a word means a folder of this machine rather than a name on the Hub."""
    return name.startswith(PATHLIKE) or name in (".", "..") or Path(name).is_dir()


def located(name: str, revision: str = "main", code: bool = False) -> Path:
    """The folder of a base: itself, where it was downloaded to, or where a small one was made; its files are whole.

    With `code` that of its repository comes too; it runs only where `trust.let` lets it.

    Raises:
        InputError: there is none, the Hub cannot be reached or says no, a file is missing or cut, the weights are pickles.
    """
    if is_small(name):
        return small(name)
    folder = Path(name).expanduser() if is_folder(name) else _downloaded(name, revision, code)
    weights(folder)
    return folder


def called(folder: Path) -> str:
    """A folder's name for people: owner/name of what was downloaded."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    return folder.parent.name if folder.name == "base" else folder.name


def one_file(name: str, revision: str, file: str) -> Path:
    """One file of a folder, or of a name on the Hub.

    Raises:
        InputError: there is none, or the Hub cannot be reached or says no.
    """
    if is_folder(name):
        path = Path(name).expanduser() / file
        if not path.is_file():
            known = sorted(one.name for one in path.parent.glob(f"*{path.suffix}")) if path.parent.is_dir() else []
            raise InputError(f"there is no file {file!r} in {name}", where=str(path), known=known, fix="name a file that is there")
        return path
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, file, revision=revision))
    except Exception as error:  # of huggingface_hub, its HTTP client, the disk
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise InputError(f"{name} has no file {file!r}", where=revision, fix="see the list of files on its page") from error
        raise _refused(name, revision, error) from error


def config(folder: Path) -> dict[str, Any]:
    """A base's `config.json`. Raises InputError where it is missing or damaged."""
    path = folder / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or "model_type" not in found:
            raise ValueError("it names no model_type")
    except FileNotFoundError as error:
        fix = "name the folder that save_pretrained wrote, or an id like sentence-transformers/all-MiniLM-L6-v2"
        raise InputError("this is no pretrained model: it has no config.json", where=str(folder), fix=fix) from error
    except (OSError, ValueError) as error:
        raise InputError(f"the config of the pretrained model is damaged: {error}", where=str(path), fix=_AGAIN) from error
    return found


def unreachable(seconds: float = 5.0) -> str | None:
    """Why the Hub cannot be reached within so long; None where it answers, whatever it says."""
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=seconds)
    except Exception as error:  # of its HTTP client
        why = str(error).strip().splitlines() or [type(error).__name__]
        return f"the Hub cannot be reached ({constants.ENDPOINT}: {why[0]})"
    return None


def config_of(name: str, revision: str = "main") -> dict[str, Any]:
    """The config of a base that need not be here: of a folder, or of a name on the Hub, of which only that file is asked for.

    Raises:
        InputError: as `located`.
    """
    if is_folder(name):
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise InputError(f"there is no folder {name!r}", fix="name an existing folder, or an id of the Hub like owner/name")
        return config(folder)
    from huggingface_hub import hf_hub_download

    try:
        here = unreachable() is not None  # then what is in the cache is looked for, without many tries that are all said
        return config(Path(hf_hub_download(name, CONFIG, revision=revision, local_files_only=here)).parent)
    except InputError:
        raise
    except Exception as error:  # of huggingface_hub, its HTTP client, the disk
        raise _refused(name, revision, error) from error


def weights(folder: Path) -> list[Path]:
    """The weight files of a base, each looked at as far as its header says how long it must be.

    Raises:
        InputError: there is no such folder, a file is missing or cut, or there are pickles alone.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}", fix="name an existing folder, or an id of the Hub like owner/name")
    config(folder)
    files = _named(folder)
    for file in files:
        _whole(file)
    return files


def _named(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if index.exists():
        try:
            return [folder / name for name in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"the list of weight files is damaged: {error}", where=str(index), fix=_AGAIN) from error
    if pickles := sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES):
        raise _pickles(str(folder), pickles)
    raise InputError(f"the pretrained model has no weights: {WEIGHTS} is missing", where=str(folder), fix=_AGAIN)


def _pickles(where: str, names: list[str]) -> InputError:
    what = f"the weights are there as {', '.join(names[:3])} only, which is not read: such a file can run any code when it is opened"
    fix = "take a revision that has model.safetensors, or convert it yourself: model.save_pretrained(folder)"
    return InputError(what, where=where, fix=fix)


_AGAIN = "it was not downloaded or copied to its end: do that again"


def _whole(file: Path) -> None:
    """Compare a safetensors file's length with what its header says."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > BIG_HEADER:
                raise ValueError("its header is no header")
            header = json.loads(opened.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        wanted, there = 8 + length + max(ends, default=0), file.stat().st_size
    except FileNotFoundError as error:
        raise InputError(f"the pretrained model lacks {file.name}", where=str(file.parent), fix=_AGAIN) from error
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file.name} of the pretrained model is damaged: {error}", where=str(file), fix=_AGAIN) from error
    if there != wanted:
        raise InputError(f"{file.name} of the pretrained model is cut: {there:,} of {wanted:,} bytes", where=str(file), fix=_AGAIN)


def tensors(folder: Path) -> dict[str, list[int]]:
    """{name of a weight: its shape}, from the headers alone."""
    found: dict[str, list[int]] = {}
    for file in weights(folder):
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            found |= {name: about["shape"] for name, about in json.loads(opened.read(length)).items() if name != "__metadata__"}
    return found


def scalar(folder: Path, name: str) -> float:
    """A weight that is one number, from the files."""
    from safetensors import safe_open

    for file in weights(folder):
        with safe_open(file, framework="pt") as opened:
            if name in opened.keys():  # noqa: SIM118 it is no mapping
                return float(opened.get_tensor(name))
    raise KeyError(name)


def fingerprint(folder: Path, code: bool = False) -> str:
    """One word for all that a base computes with: weights, config, processor files, its `code`. Kept by each file's size and time.

    Raises:
        InputError: as `weights`.
    """
    texts = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in TEXTS)
    told = sha256()
    for path in (*weights(folder), *texts):
        if path.suffix == ".safetensors" or path.stat().st_size > 2**20:
            told.update(f"{path.relative_to(folder)} {kept_digest(path)}\n".encode())
        else:
            told.update(f"{path.relative_to(folder)} {digest(path)}\n".encode())
    if code:
        told.update(f"code {trust.word(folder)}\n".encode())
    return told.hexdigest()


def kept(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, made once and kept in the cache folder under `bases/`; one that is damaged is made again."""
    return remembered_json(f"bases/{name}", make)


def carry(folder: Path, out: Path) -> None:
    """Put a base's files into `out`, those that prepare its inputs too: links to files that nobody writes to, else copies.

    What was downloaded never changes. A user's own folder may be written to again, and a link would change with it: of that,
    one copy is kept in the cache folder, which runs share.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = [folder / CONFIG, *weights(folder), *([folder / INDEX] if (folder / INDEX).exists() else [])]
    files += [file for file in sorted(folder.iterdir()) if file.suffix in TEXTS and file not in files]
    for file in files:
        source = file.resolve()
        own = folder.name == "base" or folder.is_relative_to(cache_root())
        if file.suffix == ".safetensors" and not file.is_symlink() and not own:
            source = _own_copy(file)
        _link(source, out / file.name)


def carry_code(folder: Path, out: Path) -> None:
    """Copy the code beside the weights."""
    for file in trust.files(folder):
        target = out / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _own_copy(file: Path) -> Path:
    held = cache_root() / "bases" / "weights" / f"{kept_digest(file)}.safetensors"
    if not held.exists() or held.stat().st_size != file.stat().st_size:
        try:
            with written_aside(held) as aside:
                shutil.copyfile(file, aside)
        except OSError:
            return file
    return held


def _link(source: Path, out: Path) -> None:
    if source.suffix != ".safetensors":
        shutil.copyfile(source, out)
        return
    try:
        os.link(source, out)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, out)


@lru_cache(maxsize=64)
def _downloaded(name: str, revision: str, code: bool = False) -> Path:
    """From the Hub, or from where an earlier download put it; what broke off is gone on with."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    words: dict[str, Any] = {"revision": revision, "allow_patterns": [*WANTED, *(CODE if code else ())], "ignore_patterns": list(ELSEWHERE)}
    loud = not are_progress_bars_disabled()
    try:
        try:  # where all of it is there, whether it has changed is asked for in silence
            snapshot_download(name, **words, local_files_only=True)
            disable_progress_bars()
        except (LocalEntryNotFoundError, IncompleteSnapshotError):
            pass
        folder = Path(snapshot_download(name, **words))
    except Exception as error:  # of huggingface_hub, its HTTP client, the disk
        raise _refused(name, revision, error) from error
    finally:
        if loud:
            enable_progress_bars()
    if not (folder / WEIGHTS).exists() and not (folder / INDEX).exists() and (pickles := _pickles_of(name, revision)):
        raise _pickles(f"{name} on the Hub", pickles)
    return folder


def _pickles_of(name: str, revision: str) -> list[str]:
    """Weight files of a name on the Hub that are not read; none where it does not say."""
    from huggingface_hub import HfApi

    try:
        return sorted(file for file in HfApi().list_repo_files(name, revision=revision) if file.endswith(PICKLES))
    except Exception:  # it answers no more: the missing file is named then
        return []


def _refused(name: str, revision: str, error: Exception) -> InputError:
    """Why a name cannot be had, and what to do."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    login = "hf auth login, or set HF_TOKEN"
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, errors.HFValidationError):
        return InputError(f"{name!r} is neither a folder nor a name of the Hub", fix="a name is owner/name; a folder begins with ./ or /")
    if isinstance(error, errors.GatedRepoError):
        what = f"{name} is gated: its owner wants its terms accepted first"
        return InputError(what, where=hub, fix=f"accept them at {hub}/{name}, then {login}")
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(f"{name} has no revision {revision!r}", where=hub, known=_revisions(name), fix="revision: main, or leave it out")
    if isinstance(error, errors.RepositoryNotFoundError):
        close = nearest(name, catalogue.names())
        fix = (f"did you mean {' or '.join(close)}? " if close else "check its spelling; ") + f"if it is private: {login}"
        return InputError(f"there is no model {name!r} on the Hub that you may read", where=hub, fix=fix)
    if status in (401, 403):
        return InputError(f"the Hub does not let you read {name}: the token is wrong or may not ({status})", where=hub, fix=login)
    if isinstance(error, OSError) and error.errno is not None and not status:
        return InputError(f"{name} cannot be written to the cache: {error.strerror}", where=constants.HF_HUB_CACHE)
    away = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else "the Hub cannot be reached"
    part = "only a part of it" if isinstance(error, errors.IncompleteSnapshotError) else "nothing of it"
    close = [] if catalogue.find(name) else nearest(name, catalogue.names(), 1)
    fix = "".join(f"did you mean {known}? " for known in close)
    fix += "go online once; or copy its folder here and name that: ./FOLDER"
    return InputError(f"{away}, and {part} is in the cache: {name}", where=f"{hub}, cache {constants.HF_HUB_CACHE}", fix=fix)


def _revisions(name: str) -> list[str]:
    """Branches and tags of a name, as far as the Hub says them."""
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(name)
        return [ref.name for ref in (*refs.branches, *refs.tags)]
    except Exception:  # whatever its HTTP client raises
        return []
