"""What the training was spent on, and what was noticed on the way: two parts of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.run.balance import marked
from triptych.run.folder import RunFolder

MOST = 12
"""Groups of one kind that are shown: those furthest from their share of the rows."""
KINDS = {"classes": "by class", "sources": "by source", "mixtures": "by mixture of inputs", "inputs": "by input"}


def balance(run: RunFolder, epoch: int) -> dict[str, Any]:
    """Rows, losses and gradients of one epoch, by task and by group; empty for a run without a ledger."""
    entries = run.read_log("ledger.jsonl")
    entry = next((one for one in entries if one["epoch"] == epoch), entries[-1] if entries else None)
    if entry is None:
        return {}
    tasks = [{"name": name, **of} for name, of in entry["tasks"].items()]
    encoders = [{"name": name, "gradient_share": share} for name, share in entry["encoders"].items()]
    return {
        "epoch": entry["epoch"],
        "rows": entry["rows"],
        "measured": entry["measured"],
        "steps": entry["steps"],
        "tasks": tasks,
        "encoders": encoders if len(encoders) > 1 else [],
        "groups": [_group(f"{task} {words}", of) for kind, words in KINDS.items() for task, of in entry[kind].items() if _differ(kind, of)],
    }


def _differ(kind: str, of: Mapping[str, Any]) -> bool:
    """One group alone says nothing; nor do inputs that every row has."""
    return len(of) > 1 and not (kind == "inputs" and all(one["row_share"] == 1.0 for one in of.values()))


def _group(title: str, of: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    rows = [{"name": name or "none", "mark": marked(one), **one} for name, one in of.items()]
    shown = rows if len(rows) <= MOST else sorted(rows, key=_off, reverse=True)[:MOST]
    return {"title": title, "rows": shown, "left": len(rows) - len(shown), "odd": any(row["mark"] for row in rows)}


def _off(row: Mapping[str, Any]) -> float:
    share = row["gradient_share"] if row["gradient_share"] is not None else row["loss_share"] or 0.0
    return max(share / row["row_share"], row["row_share"] / max(share, 1e-9))


def noticed(about: Mapping[str, Any]) -> dict[str, Any]:
    """What the monitors said; empty for a run that had none."""
    found: dict[str, Any] = about.get("monitors", {})
    if not found:
        return {}
    quiet = "" if found["said"] else f"Nothing was noticed. Watched for: {', '.join(found['watched'])}."
    return {"said": found["said"], "left_out": found["left_out"], "quiet": quiet}
