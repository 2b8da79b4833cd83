"""When assets are made again without anybody asking: the conditions of Dagster's declarative automation, by name.

From the raw tables to the snapshot everything follows its inputs. What begins the way of the data (study files, GPU
work) has no condition: whether it is due is said by the names of its parts, which `requests.py` compares.
"""

from __future__ import annotations

import os
from typing import Any

import dagster as dg
from dagster import AutomationCondition as Condition

SNAPSHOT = dg.AssetKey(["published", "snapshot"])
LOOK_SECONDS = max(1, int(os.environ.get("REWARDBASE_LOOK_SECONDS", "").strip() or 30))
"""So often sensors and conditions look whether there is something to do."""
LONGEST_WAIT = "0 * * * *"
"""Results that are there are landed at these times at the latest, however much GPU work is still going on."""

_NEWS = (Condition.newly_missing() | Condition.any_deps_updated()).since_last_handled()
_AT_THE_LATEST: Condition[Any] = Condition.cron_tick_passed(LONGEST_WAIT)
_IDLE = ~Condition.in_progress()

INPUTS_CHANGED = (_NEWS & ~Condition.any_deps_missing() & ~Condition.any_deps_in_progress() & _IDLE).with_label(
    "an input was made again"
)
"""Of everything after the raw tables. All that follows from one another is made in one run."""

PARTS_CAME = (
    _NEWS
    & (~Condition.any_deps_in_progress() | _AT_THE_LATEST.since_last_handled())
    & ~Condition.asset_matches(SNAPSHOT, Condition.in_progress())
    & _IDLE
).with_label("parts came, and no more are on their way")
"""Of the raw tables. A model whose work failed, or never ran, holds back nothing; nothing is landed under a run that is
about to publish."""
