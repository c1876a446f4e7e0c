"""What is said of data before it is learnt from: of one value (`Examined`), and of a whole table (`Finding`). Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""error: scores will mislead; warning: look at it before training; note: good to know."""
SKETCH = 256
"""Bytes of a sketch."""


@dataclass(frozen=True)
class Fault:
    """What may be wrong with a value that can be read. Equal ones are counted together, so a room makes one a kind of fault."""

    code: str
    text: str
    """Follows the number of rows and their column: `3 rows of voice: nothing is heard in them`."""
    fix: str
    severity: Severity = "warning"
    common: float = 0.0
    """Share of a column's values from which `severity` holds; below it the fault is a note."""


@dataclass(frozen=True)
class Ratio:
    """`of` divided by `per`, two measures of one row's values in different columns, is hardly ever above `most`."""

    of: str
    per: str
    most: float
    text: str
    fix: str


@dataclass(frozen=True)
class Examined:
    """What one look at a value found; small, as one is kept for each value of a table.

    `content` is a 64-bit hash, equal where two values are the same. `sketch` has `SKETCH` bytes, or none where the value has
    too little in it to be told from others: a coarse picture of the value whose correlation with that of another value says
    how much alike they are, whatever they were saved as.
    """

    content: int
    sketch: bytes = b""
    measures: Mapping[str, float] = field(default_factory=dict)
    traits: Mapping[str, str] = field(default_factory=dict)
    """What most values of a column share: the script of a text, the rate of a recording."""
    faults: tuple[Fault, ...] = ()
    length: float = 0.0
    """In proportion to how long its prepared item is; 0 where all items have one size and nothing is ever padded."""


@dataclass(frozen=True)
class Finding:
    """One thing to know about a table: what, how many rows, what to do, and some of the rows."""

    severity: Severity
    code: str
    text: str
    fix: str = ""
    rows: int = 0
    examples: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {**asdict(self), "examples": list(self.examples)}


def worst_first(findings: list[Finding]) -> list[Finding]:
    """Errors, warnings, notes; within each as they came."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
