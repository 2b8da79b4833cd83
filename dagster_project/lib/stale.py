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

    specs: the assets of the code location that have no partitions. redo: assets that have to run again for a reason
    that Dagster does not know (a file is gone, a part has come), with that reason. What depends on a stale asset is
    stale. Inputs that are not in `specs` are passed over: an asset with partitions has a data version for each, and
    Dagster records a hash of them as what was read; `redo` speaks for what such assets make.
    """
    by_key = {spec.key: spec for spec in specs}
    inputs = {
        key: sorted(dep.asset_key for dep in spec.deps if dep.asset_key in by_key) for key, spec in by_key.items()
    }
    tags = _latest_tags(instance, by_key)
    stale: dict[dg.AssetKey, str] = {}
    for key in TopologicalSorter(inputs).static_order():
        reason = redo.get(key) or _reason(by_key[key], inputs[key], tags, stale)
        if reason:
            stale[key] = reason
    return stale


def _reason(
    spec: dg.AssetSpec,
    inputs: list[dg.AssetKey],
    tags: Mapping[dg.AssetKey, Mapping[str, str]],
    stale: Mapping[dg.AssetKey, str],
) -> str | None:
    own = tags.get(spec.key)
    if own is None:
        return "not materialized yet"
    if spec.code_version is not None and own.get(CODE_VERSION) != spec.code_version:
        return "its definition or its file changed"
    for parent in inputs:
        if parent in stale:
            return f"{parent.to_user_string()} is made again"
        read = own.get(INPUT_DATA_VERSION + parent.to_user_string())
        made = tags.get(parent, {}).get(DATA_VERSION)
        if made is not None and read != made:
            return f"{parent.to_user_string()} changed since"
    return None


def _latest_tags(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> dict[dg.AssetKey, Mapping[str, str]]:
    """Tags of the latest materialization of each asset that has one; one question to the storage for all of them."""
    tags = {}
    for record in instance.get_asset_records(list(keys)):
        event = record.asset_entry.last_materialization
        if event is not None and event.asset_materialization is not None:
            tags[record.asset_entry.asset_key] = event.asset_materialization.tags or {}
    return tags
