"""Automation conditions, by name: when assets from the raw tables to the snapshot are made again without a request.

Assets before them (study files, samples, GPU work) have no condition: the run ids of their parts say whether they are
due (`due.py`).
"""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

import dagster as dg
from dagster import AutomationCondition as Condition

from dagster_project.lib.keys import GPU_PARTS, SNAPSHOT

HOURLY = "0 * * * *"
"""Parts that are there are landed at these times at the latest, however much GPU work is still going on."""
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
"""The nightly refresh always includes the snapshot, so its latest materialization is never older than a day."""

_INPUT_REQUESTED = Condition.any_deps_match(Condition.will_be_requested())
# `since_last_handled` also covers assets that were materialized since the last evaluation.
_CHANGED = (Condition.newly_missing() | Condition.any_deps_updated()).since_last_handled() | _INPUT_REQUESTED
_HOUR_PASSED: Condition[Any] = Condition.cron_tick_passed(HOURLY)
_IDLE = ~Condition.in_progress()

INPUTS_CHANGED = (_CHANGED & ~Condition.any_deps_missing() & ~Condition.any_deps_in_progress() & _IDLE).with_label(
    "an input was made again"
)
"""For everything after the raw tables. Assets that follow from one another are made in one run."""


def _in_progress(*keys: dg.AssetKey) -> Condition[Any]:
    """True while a run makes one of the assets, whichever partition of it."""
    return reduce(or_, (Condition.asset_matches(key, Condition.in_progress()) for key in keys))


PARTS_CHANGED = (
    _CHANGED
    & (~_in_progress(*GPU_PARTS) | _HOUR_PASSED.since_last_handled())
    & ~Condition.any_deps_in_progress().ignore(dg.AssetSelection.assets(*GPU_PARTS))
    & ~_in_progress(SNAPSHOT)
    & _IDLE
).with_label("there are new parts, and no GPU work is in progress")
"""For the raw tables. Failed or missing GPU work holds back nothing; GPU work in progress does, so that results that
belong together are published together. Nothing is landed while a run is about to publish."""
