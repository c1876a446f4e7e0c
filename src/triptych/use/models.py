"""Pretrained models to choose from: on the Hub where it can be reached, else in the catalogue that comes along."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from triptych.base import catalogue
from triptych.base.catalogue import Entry, Tower
from triptych.base.hub import unreachable
from triptych.modalities import rooms

PATIENCE = 5.0
"""Seconds within which the Hub must answer."""
MOST = 30
"""Models a task that are asked of the Hub, those downloaded most first."""
SHARE = 0.5
"""Of the speed of a large product of matrices, what a whole network usually reaches."""
NUMBER, STATES = 4, 4
"""Bytes of a number, and how many numbers a trained weight needs: itself, its gradient, two of AdamW's."""
ROWS = 1000


@dataclass(frozen=True)
class Wanted:
    """What a model must be; what is empty is not asked."""

    takes: tuple[str, ...] = ()
    """Modalities that it must all take."""
    tasks: tuple[str, ...] = ()
    size: int | None = None
    """Most parameters."""
    licences: tuple[str, ...] = ()
    language: str | None = None
    search: tuple[str, ...] = ()

    def fits(self, entry: Entry) -> bool:
        """Whether a model is so."""
        return (
            set(self.takes) <= set(entry.towers)
            and (not self.tasks or bool(set(self.tasks) & set(entry.tasks)))
            and (self.size is None or entry.parameters <= self.size)
            and (not self.licences or entry.licence in self.licences)
            and (self.language is None or entry.speaks(self.language))
            and entry.says(list(self.search))
        )


@dataclass(frozen=True)
class Here:
    """A model on this machine. All but `frozen` and `trained` are estimates; those leave out what activations need."""

    entry: Entry
    known: bool
    """Whether it can be an encoder here."""
    takes: tuple[str, ...]
    """The modalities that were asked for, or all it has."""
    frozen: int
    """Bytes of its weights, and of what training all of it needs besides."""
    trained: int
    seconds: float
    """For a thousand ordinary rows of each of them, once."""

    @property
    def use(self) -> str:
        """The line of a recipe; none where it is no encoder here."""
        words = ", ".join(f"{name}: {{encoder: {self.entry.id}}}" for name in self.takes)
        return f"inputs: {{{words}}}" if self.known else ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        entry = self.entry
        told = {name: getattr(entry, name) for name in ("id", "family", "parameters", "width", "licence", "good")}
        lists = {"takes": list(entry.towers), "tasks": list(entry.tasks), "languages": list(entry.languages)}
        sizes = {"frozen_bytes": self.frozen, "trained_bytes": self.trained, "seconds_a_thousand_rows": round(self.seconds, 3)}
        return {**told, **lists, "known": self.known, "use": self.use, **sizes, "rough": entry.rough}


@dataclass(frozen=True)
class Browsed:
    """What was found, where, and how fast this machine is."""

    models: list[Here]
    source: str
    """hub or catalogue"""
    why: str
    """Why it is the catalogue; empty where it is the Hub."""
    speed: float
    """Multiplications and additions a second, of a large product of matrices."""
    machine: str


def browse(wanted: Wanted) -> Browsed:
    """The models that are so; each with what it needs here."""
    found, why = _asked(wanted)
    entries = [entry for entry in catalogue.entries() if wanted.fits(entry)] if found is None else found
    speed, machine = _speed()
    models = [_here(entry, wanted, speed) for entry in entries]
    return Browsed(sorted(models, key=lambda one: not one.known), "catalogue" if found is None else "hub", why, speed, machine)


def families() -> dict[str, set[str]]:
    """{modality: architectures that can be its encoder}, of the rooms that take pretrained ones."""
    found = {}
    for name, room in rooms().items():
        try:
            module = importlib.import_module(f"{type(room).__module__}.families")
        except ModuleNotFoundError:  # this room has none
            continue
        found[name] = set(module.FAMILIES)
    return found


def _here(entry: Entry, wanted: Wanted, speed: float) -> Here:
    takes = wanted.takes or tuple(entry.towers)
    towers = [entry.towers[name] for name in takes]
    parameters, macs = sum(tower.parameters for tower in towers), sum(tower.macs for tower in towers)
    known = all(entry.family in families().get(name, ()) for name in takes)
    return Here(entry, known, takes, NUMBER * parameters, NUMBER * STATES * parameters, ROWS * 2 * macs / (speed * SHARE))


def _speed() -> tuple[float, str]:
    from triptych.base.runtime import Choices, choose_device, choose_precision, matmul_speed

    made = Choices()
    device = choose_device("auto", made)
    precision = choose_precision("auto", device, 10**8, made)
    return matmul_speed(device, precision), f"{device}, {precision}"


# the Hub


def _asked(wanted: Wanted) -> tuple[list[Entry] | None, str]:
    """What the Hub has, or None and why it was not asked."""
    if why := unreachable(PATIENCE):
        return None, why
    found, problem = within(PATIENCE, lambda: _listed(wanted))
    return (found, "") if problem is None else (None, f"the Hub gives no list ({problem})")


def within(seconds: float, call: Callable[[], Any]) -> tuple[Any, str | None]:
    """What `call` gives and None; or None and what went wrong, a lack of time for one. It is not waited for any longer then."""
    made: dict[str, Any] = {}

    def work() -> None:
        try:
            made["found"] = call()
        except Exception as error:  # of huggingface_hub, its HTTP client, the network
            made["problem"] = str(error).strip().split("\n")[0] or type(error).__name__

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return None, f"no answer within {seconds:g} seconds"
    return made.get("found"), made.get("problem")


def _listed(wanted: Wanted) -> list[Entry]:
    from huggingface_hub import HfApi

    words: dict[str, Any] = {"filter": ["safetensors", *([wanted.language] if wanted.language else [])], "sort": "downloads", "limit": MOST}
    words |= {"expand": ["safetensors", "config", "tags", "pipeline_tag", "downloads"]}
    words |= {"search": " ".join(wanted.search)} if wanted.search else {}
    words |= {"num_parameters": f"max:{wanted.size}"} if wanted.size else {}
    found: dict[str, tuple[int, Entry]] = {}
    began = time.monotonic()
    for pipeline in catalogue.pipelines():
        if set(wanted.takes) <= set(pipeline.takes) and (not wanted.tasks or set(wanted.tasks) & _also(pipeline.task)):
            for info in HfApi().list_models(pipeline_tag=pipeline.tag, **words):
                entry = _entry(info, pipeline)
                if entry is not None and _still(wanted, entry):
                    found.setdefault(entry.id, (-(info.downloads or 0), entry))
            if time.monotonic() - began > PATIENCE / 2:  # what there is by now is enough to choose from
                break
    return [entry for _, entry in sorted(found.values(), key=lambda pair: pair[0])]


def _also(task: str) -> set[str]:
    """A model of sentences and something else in one space gives vectors, too; and so do the encoders of all others."""
    return {task, "embed"}


def _still(wanted: Wanted, entry: Entry) -> bool:
    """What the Hub was not asked, or answers loosely."""
    licence = not wanted.licences or entry.licence in wanted.licences
    return licence and (wanted.size is None or entry.parameters <= wanted.size) and set(wanted.takes) <= set(entry.towers)


def _entry(info: Any, pipeline: catalogue.Pipeline) -> Entry | None:
    """A model as the Hub tells it; where the catalogue knows it, that knows more. None where it does not say how large it is."""
    if known := catalogue.find(info.id):
        return known
    total = getattr(info.safetensors, "total", None)
    if not total:
        return None
    config: Mapping[str, Any] = info.config or {}
    tags = list(info.tags or [])
    licence = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "not said")
    languages = tuple(tag for tag in tags if len(tag) == 2 and tag.isalpha())
    towers = {name: Tower(total, total * float(catalogue.steps().get(name, 1))) for name in pipeline.takes}
    tasks = (pipeline.task,) if pipeline.task == "embed" else (pipeline.task, "embed")
    family = str(config.get("model_type") or "not said")
    return Entry(info.id, family, tasks, total, None, towers, licence, languages, f"{info.downloads or 0:,} downloads a month", rough=True)
