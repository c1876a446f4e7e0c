"""What a build said, kept within the version that it made: whoever opens the table later can read it too."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lance

MESSAGE = "__lance_commit_message"
"""Where Lance keeps what made a version, in words."""
NOTES, BUILD = "triptych.notes", "triptych.build"
MOST_NOTES, LONGEST_NOTE = 200, 2000


@dataclass(frozen=True)
class Notes:
    """One build: `rows` = `kept` + `rejected`, and what a user should know of its source."""

    source: str
    rows: int
    kept: int
    rejected: int
    copied: bool
    append: bool
    findings: list[str]

    def packed(self, message: str, build: str) -> dict[str, str]:
        """As the properties of the version, beside its message and the mark of the build."""
        shown = [text[:LONGEST_NOTE] for text in self.findings[:MOST_NOTES]]
        shown += [f"and {len(self.findings) - MOST_NOTES:,} more"] if len(self.findings) > MOST_NOTES else []
        return {MESSAGE: message, BUILD: build, NOTES: json.dumps({**asdict(self), "findings": shown})}


def read_notes(dataset: lance.LanceDataset) -> list[Notes]:
    """Of the build that made the table as it is, and of what was appended to it since; the oldest first.

    Tables that were built before notes were kept have none.
    """
    found: list[Notes] = []
    for transaction in dataset.get_transactions(dataset.version):
        properties: dict[str, Any] = (transaction.transaction_properties if transaction else None) or {}
        if NOTES in properties:
            found.insert(0, Notes(**json.loads(properties[NOTES])))
            if not found[0].append:
                break
    return found
