"""When assets are made again without anybody asking: the conditions of Dagster's declarative automation, by name.

From the raw tables to the snapshot everything follows its inputs. What begins the way of the data (study files,
samples, GPU work) has no condition: whether it is due is said by the names of its parts, which `requests.py` compares.
"""

from __future__ import annotations

import os
from functools import reduce
from operator import or_
from typing import Any

import dagster as dg
from dagster import AutomationCondition as Condition

GPU_PARTS = tuple(
    dg.AssetKey(["parts", name]) for name in ("reward_models", "completion_rewards", "document_scores", "benchmarks")
)
SNAPSHOT = dg.AssetKey(["published", "snapshot"])
LOOK_SECONDS = max(1, int(os.environ.get("REWARDBASE_LOOK_SECONDS", "").strip() or 30))
"""So often sensors and conditions look whether there is something to do."""
LONGEST_WAIT = "0 * * * *"
"""Results that are there are landed at these times at the latest, however much GPU work is still going on."""

# Also of an asset that was made since the last look.
_INPUT_ASKED_FOR = Condition.any_deps_match(Condition.will_be_requested())
_NEWS = (Condition.newly_missing() | Condition.any_deps_updated()).since_last_handled() | _INPUT_ASKED_FOR
_AT_THE_LATEST: Condition[Any] = Condition.cron_tick_passed(LONGEST_WAIT)
_IDLE = ~Condition.in_progress()

INPUTS_CHANGED = (_NEWS & ~Condition.any_deps_missing() & ~Condition.any_deps_in_progress() & _IDLE).with_label(
    "an input was made again"
)
"""Of everything after the raw tables. All that follows from one another is made in one run."""


def _at_work(*keys: dg.AssetKey) -> Condition[Any]:
    """True while a run makes one of the assets, whichever partition of it."""
    return reduce(or_, (Condition.asset_matches(key, Condition.in_progress()) for key in keys))


PARTS_CAME = (
    _NEWS
    & (~_at_work(*GPU_PARTS) | _AT_THE_LATEST.since_last_handled())
    & ~Condition.any_deps_in_progress().ignore(dg.AssetSelection.assets(*GPU_PARTS))
    & ~_at_work(SNAPSHOT)
    & _IDLE
).with_label("parts came, and no more are on their way")
"""Of the raw tables. A model whose work failed, or never ran, holds back nothing; models at work do, so that what comes
together is published together; nothing is landed under a run that is about to publish."""
