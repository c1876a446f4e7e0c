"""Plain values as people write them: YAML, and single changes of it (`--set stages.0.lr=3e-4`)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import yaml

from triptych.base.errors import InputError


class _Loader(yaml.SafeLoader):
    """YAML as people mean it.

    The same name twice is refused (plain PyYAML keeps the last one without a word), 3e-4 is a number though it has no
    dot, and yes, no, on, off are words as in YAML 1.2: a speaker may be called "no".
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:bool"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would take for a number: the name 1e3."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, Hashable) and key in seen:
            line = f"line {key_node.start_mark.line + 1}"
            raise InputError(f"the name {key!r} is used twice in one place", where=line, fix="rename one of the two")
        seen.update([key] if isinstance(key, Hashable) else [])
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(text: str) -> Any:
    """Plain values from YAML.

    Raises:
        yaml.YAMLError: it is not YAML.
        InputError: a mapping has one name twice; `where` is the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, RecursionError) as error:  # 2024-13-45 looks like a date and is none
        raise yaml.YAMLError(f"a value cannot be read: {error}") from error


def write_yaml(value: Any, **style: Any) -> str:
    """YAML that `read_yaml` gives back as it was; `style` as of `yaml.dump`."""
    text: str = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, **style)
    if {"\x85", "\u2028", "\u2029"} & set(text):  # line breaks to YAML, which PyYAML writes as they are unless all is escaped
        text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, **style)
    return text


def override(tree: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b.0.c=value` words to a recipe's tree and return the changed copy; values are read as YAML.

    Raises:
        InputError: no '=', an empty name, a list index that does not exist, or a value that is not YAML.
    """
    changed: Any = _copied(tree)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not all(path.split(".")):
            raise InputError(f"cannot read the setting {assignment!r}", fix="--set a.b.0.c=value, for example --set stages.0.lr=3e-4")
        _put(changed, path.split("."), _value(text, assignment), assignment)
    result: dict[str, Any] = changed
    return result


def _value(text: str, assignment: str) -> Any:
    try:
        return read_yaml(text)
    except (yaml.YAMLError, InputError) as error:
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"the value in {assignment!r} is not YAML: {reason}", fix="quote it: --set 'name=\"a: b\"'") from error


def _copied(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _copied(value) for key, value in tree.items()}
    return [_copied(value) for value in tree] if isinstance(tree, list) else tree


def _put(tree: Any, keys: list[str], value: Any, assignment: str) -> None:
    for depth, key in enumerate(keys):
        here, last = ".".join(keys[:depth]) or "the recipe", depth == len(keys) - 1
        if isinstance(tree, list):
            if not re.fullmatch(r"[0-9]{1,9}", key) or int(key) >= len(tree):
                raise InputError(f"{here} has no item {key!r}", where=f"--set {assignment}", known=range(len(tree)))
            index: Any = int(key)
        else:
            index = key
        if last:
            tree[index] = value
            return
        if isinstance(tree[index] if isinstance(tree, list) else tree.get(index), str | None):
            # A short word is opened up: fusion: gated, then --set fusion.width=64, keeps the word as its kind.
            short = tree[index] if isinstance(tree, list) else tree.get(index)
            tree[index] = {} if short is None else {"kind": short}
        tree = tree[index]
        if not isinstance(tree, dict | list):
            held = ".".join(keys[: depth + 1])
            raise InputError(f"{held} holds one value ({tree!r}), it has no field {keys[depth + 1]!r}", where=f"--set {assignment}")


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Nested values as {a.b.0.c: value}; an empty mapping or list is a value."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if pairs is None or not tree:
        return {path: tree}
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.update(flat(value, f"{path}.{key}" if path else str(key)))
    return found


def is_number(value: object) -> bool:
    """Whether a cell says a number: 7, "7", "1e3", "nan"."""
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def one_line(text: str) -> str:
    """A text from a user's files as one harmless line: newlines and what would steer a terminal are spelled out."""
    return "".join(letter if unicodedata.category(letter) not in _SPELLED else letter.encode("unicode_escape").decode() for letter in text)


_SPELLED = frozenset({"Cc", "Cs", "Zl", "Zp"})
