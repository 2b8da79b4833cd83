"""Which assets have to be materialized again: what `make run` does, and no more.

Everything it compares is what Dagster itself records with a materialization: the code version, and for each input
the data version that was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter

import dagster as dg

CODE_VERSION = "dagster/code_version"
DATA_VERSION = "dagster/data_version"
INPUT_DATA_VERSION = "dagster/input_data_version/"


def stale_assets(
    specs: Iterable[dg.AssetSpec], instance: dg.DagsterInstance, redo: Mapping[dg.AssetKey, str]
) -> dict[dg.AssetKey, str]:
    """Assets to materialize, upstream first, each with the reason in words.

    specs: all assets of the code location. redo: assets that have to run again for a reason that Dagster does not
    know (a file is gone), with that reason. What depends on a stale asset is stale.
    """
    by_key = {spec.key: spec for spec in specs}
    inputs = {key: sorted(dep.asset_key for dep in spec.deps) for key, spec in by_key.items()}
    stale: dict[dg.AssetKey, str] = {}
    for key in TopologicalSorter(inputs).static_order():
        if key in by_key:
            reason = redo.get(key) or _reason(by_key[key], inputs[key], instance, stale)
            if reason:
                stale[key] = reason
    return stale


def _reason(
    spec: dg.AssetSpec,
    inputs: list[dg.AssetKey],
    instance: dg.DagsterInstance,
    stale: Mapping[dg.AssetKey, str],
) -> str | None:
    tags = _tags(instance, spec.key)
    if tags is None:
        return "not materialized yet"
    if spec.code_version is not None and tags.get(CODE_VERSION) != spec.code_version:
        return "its definition or its file changed"
    for parent in inputs:
        if parent in stale:
            return f"{parent.to_user_string()} is made again"
        read = tags.get(INPUT_DATA_VERSION + parent.to_user_string())
        made = (_tags(instance, parent) or {}).get(DATA_VERSION)
        if made is not None and read != made:
            return f"{parent.to_user_string()} changed since"
    return None


def _tags(instance: dg.DagsterInstance, key: dg.AssetKey) -> Mapping[str, str] | None:
    """Tags of the latest materialization; None if there is none."""
    event = instance.get_latest_materialization_event(key)
    materialization = event.asset_materialization if event else None
    return (materialization.tags or {}) if materialization else None
