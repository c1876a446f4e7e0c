"""`triptych init`: look at a user's files and write a commented recipe that trains on them as it stands."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.base.settings import read_yaml, write_yaml
from triptych.data.layouts import said
from triptych.data.sources.hub import is_name
from triptych.use.based import Base, accepted, chosen_base, fitted
from triptych.use.look import Look, examine

MATCH = "match"  # what the contrast task is called
FEW_ROWS = 2000
PROMPT = "This is {label}."
LEARNT_FROM = 0.65
"""Share of the rows that the split below leaves to learn from."""
HEAD_STEPS = 300
"""What a new head needs to learn at the usual rate: of few rows more epochs, which cost next to nothing over a frozen base."""
APPROACHES = [
    "approach: {kind: head, epochs: EPOCHS}   # the base stays as it is, and what it gives is computed once; or instead:",
    "# approach: {kind: last, epochs: EPOCHS, blocks: 1}      # then its last block learns, too",
    "# approach: {kind: gradual, epochs: EPOCHS, blocks: 3}   # then one block more in every stage, from the last one down",
    "# approach: {kind: lora, epochs: EPOCHS, rank: 8}        # then small additions to its layers learn",
    "# approach: {kind: full, epochs: EPOCHS}                 # then all of it learns",
]


def propose(source: Path, out: Path, base: str | None = None) -> str:
    """The text of a recipe for the files in `source`, with paths relative to `out`; `base` is a pretrained encoder to begin with.

    Raises:
        InputError: nothing in it can be an input, there is nothing to learn from it, or the base fits none of the inputs.
    """
    chosen = chosen_base(base, out.parent) if base else None
    look = examine(source)
    known = [*look.table.columns]
    if not look.inputs:
        fix = "give a column of paths to files, or of texts of several words"
        raise InputError("no column looks like something a model could take in", where=str(source), known=known, fix=fix)
    if not look.target and len(look.inputs) < 2:
        fix = "put files into one folder a class (FOLDER/happy/a.wav), or add a column that says what is to be learnt"
        raise InputError("there is one input and nothing to learn about it", where=str(source), known=known, fix=fix)
    if chosen is None:
        return _written(look, source, out)
    look.settings = fitted(chosen, look)
    prompted, plain = (_written(look, source, out, chosen, prompt) for prompt in (PROMPT if chosen.dual else None, None))
    return prompted if accepted(prompted) else plain


def _written(look: Look, source: Path, out: Path, base: Base | None = None, prompt: str | None = None) -> str:
    rows, names = len(look.table.rows), _names(look)
    named = look.table.source if is_name(look.table.source) else os.path.relpath(look.table.source, out.parent)
    if said(str(source)) and not source.exists():
        named = f"{str(source).partition(':')[0]}:{named}"
    epochs, batch = (30, 32) if rows < FEW_ROWS else (15, 64)
    batch, approaches = _tuned(rows, batch, alone=len(look.inputs) == 1) if base else (batch, [])
    # The classes are often plain from one input alone; how well all of them fit together tells the epochs apart.
    several = f", drop_inputs: 0.2, select: {MATCH}.recall@1"
    stage = f"{{train: [all], epochs: {epochs}, lr: 1.0e-3, patience: {max(5, epochs // 3)}}}"
    about = f"a look at {source.name or source}: {rows} rows, columns {', '.join(look.table.columns)}"
    lines = [
        f"# triptych train {_comment(out.name)}",
        f"# Written by `triptych init` after {_comment(about)}.",
        "# Every line may be changed; `triptych check` says at once what does not fit, `triptych schema` lists every word.",
        f"name: {_yaml(_plain(out.stem))}",
        "data:",
        f"  source: {_yaml(named)}   # relative to this file",
        *_split_lines(look),
        "inputs:",
        *[_input_line(names[key], look.columns[key], modality, look.settings[key]) for key, modality in look.inputs.items()],
        "tasks:",
        *_task_lines(look, names, prompt),
        *(approaches or ["stages:", f"  - {stage}   # stops early when validation gains nothing"]),
        f"training: {{batch_size: {batch}{several if len(look.inputs) > 1 else ''}}}",
    ]
    return "\n".join(lines) + "\n"


def _tuned(rows: int, batch: int, alone: bool) -> tuple[int, list[str]]:
    """Rows in a batch and the approaches: of few rows small batches and many epochs. Where inputs are told apart, a batch stays large."""
    batch = min(batch, 8 if rows < 250 else 16 if rows < 1000 else batch) if alone else batch
    steps = max(1, round(rows * LEARNT_FROM / batch))
    epochs = min(60, max(10, math.ceil(HEAD_STEPS / steps)))
    return batch, [line.replace("EPOCHS", str(epochs)) for line in APPROACHES]


def _yaml(value: Any) -> str:
    """A value on one line; JSON's way of writing an emoji is not YAML's."""
    style = '"' if isinstance(value, str) else None
    text = write_yaml(value, default_flow_style=True, default_style=style, width=10**9)
    return text.removesuffix("...\n").rstrip("\n")


def _key(name: str) -> str:
    """A name as it stands, in quotes where YAML would take it for something else: null, true."""
    return name if isinstance(read_yaml(name), str) else _yaml(name)


def _comment(text: str) -> str:
    """Text that stays within its comment, whatever a user's column is called."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name) or "recipe"


def _split_lines(look: Look) -> list[str]:
    if look.split:
        return [f"  split: {{column: {_yaml(look.split)}}}   # train, validation and test stand in that column"]
    group = f"group: {_yaml(look.group)}, " if look.group else ""
    why = f"rows of one {_comment(look.group)} stay on one side" if look.group else "by the hash of each row, the same on every machine"
    why += ", as several rows share it" if look.shared else ""
    return [f"  split: {{{group}validation: 0.15, test: 0.2}}   # {why}"]


def _names(look: Look) -> dict[str, str]:
    """{column: its name in the recipe}: plain letters, and never one name for two things."""
    names: dict[str, str] = {}
    for column in [*look.inputs, *([look.target] if look.target else [])]:
        ending = "_input" if column in look.inputs else "_task"
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", column).strip("_")
        plain = plain if plain[:1].isalpha() else f"{look.inputs.get(column, 'task')}_{plain}".rstrip("_")
        plain = f"{plain}{ending}" if plain in ("all", "fusion", MATCH) else plain
        taken, number, name = set(names.values()), 1, plain
        while name in taken:
            number += 1
            name = f"{plain}_{number}"
        names[column] = name
    return names


def _input_line(name: str, column: str, modality: str, settings: dict[str, Any]) -> str:
    words = [f"modality: {modality}"] if name != modality else []
    words += [f"column: {_yaml(column)}"] if name != column else []
    words += [f"{key}: {_yaml(value)}" for key, value in settings.items()]
    return f"  {_key(name)}: {{{', '.join(words)}}}"


def _task_lines(look: Look, names: Mapping[str, str], prompt: str | None) -> list[str]:
    lines = []
    if look.target:
        called = "labels" if look.kind == "multilabel" else "classes"
        classes = f"{len(look.labels)} {called}: {', '.join(look.labels[:8])}{' ...' if len(look.labels) > 8 else ''}"
        shown = "" if look.kind == "regress" else f"   # {_comment(classes)}"
        asked = f", prompt: {_yaml(prompt)}" if prompt and look.kind == "classify" else ""
        lines.append(f"  {_key(names[look.target])}: {{kind: {look.kind}, target: {_yaml(look.target)}{asked}}}{shown}")
    if len(look.inputs) > 1:
        between = ", ".join(_key(names[column]) for column in look.inputs)
        positives = f", positives: {_yaml(look.target)}" if look.kind == "classify" else ""
        lines.append(f"  {MATCH}: {{kind: contrast, between: [{between}]{positives}}}   # brings the inputs of a row together in one space")
    return lines
