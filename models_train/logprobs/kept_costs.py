"""What the pieces of a scoring cost, read without the libraries that score."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models_train.footers import fetch_footers, footer_or_none
from models_train.store import Parts, Store

KEPT, TABLE = ".scoring", "document_scores"
"""Folder among the parts that keeps what a scoring is made from and what its starts cost; and the table of its parts,
each of which states what it cost."""


def kept_costs(parts: Parts, folder: Path, study_id: str, run_id: str) -> dict[str, dict[str, Any]]:
    """Costs of all that was done for a scoring, oldest first: by name of the shard, or `start-...` and `again-...` for
    starts of an engine and for shards that another process had finished meanwhile.

    folder: of the run below the home, where earlier versions kept them.
    """
    found = {}
    for path in (folder / "costs").glob("*.json"):
        found[path.stem] = (datetime.fromtimestamp(path.stat().st_mtime, UTC), json.loads(path.read_text()))
    kept = Store.at(parts).below(f"{KEPT}/{study_id}/{run_id}")
    for item in kept.list("costs"):
        found[Path(item.key).stem] = (item.changed, json.loads(kept.get(item.key)))
    scores = Store.at(parts).below(f"{TABLE}/{study_id}")
    items = [item for item in scores.list() if item.key.startswith(f"{run_id}-")]
    fetch_footers(scores, items)
    for item in items:
        known = footer_or_none(scores, item)  # landing names a part that cannot be read
        if known is not None and (costs := known.costs):
            found[Path(item.key).stem.removeprefix(f"{run_id}-")] = (item.changed, costs)
    return {name: costs for name, (_, costs) in sorted(found.items(), key=lambda one: (one[1][0], one[0]))}
