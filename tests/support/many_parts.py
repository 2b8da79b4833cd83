"""Many small parts in a store, and the kills of who writes them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from models_train.parts import is_whole, write_part
from models_train.store import Parts, Store
from tests.support.forked import Launcher
from warehouse.connection import memory
from warehouse.content_id import table_ids
from warehouse.contracts import TABLES
from warehouse.landing import create_raw_tables, rebuild

SCORES, COSTS = TABLES["document_scores"], TABLES["run_costs"]


def score_rows(model_id: str, shard: int, n_rows: int = 3) -> list[dict[str, Any]]:
    """Rows of a shard; equal for equal arguments."""
    texts = {field.name: "x" for field in SCORES.schema if field.type == pa.string()}
    numbers = {field.name: 1 for field in SCORES.schema if field.type in (pa.int64(), pa.float64())}
    own = {"model_id": model_id, "shard": f"{shard:05}", "is_truncated": False}
    row = {name: value for name, value in (texts | numbers | own).items() if name not in ("study_id", "run_id")}
    return [row | {"document_id": f"{shard}-{number}"} for number in range(n_rows)]


def write_shard(parts: Parts, model_id: str, shard: int, *, n_rows: int = 3, new: bool = True) -> Any:
    """Write the part of a shard, created where `new`; None where it is there."""
    rows = score_rows(model_id, shard, n_rows)
    return write_part(parts, SCORES, rows, study_id="s", run_id=f"{model_id}-{shard:05}", new=new)


def write_many(parts: Parts, n_models: int, n_shards: int) -> None:
    """Shards of many models, written at once by several writers as hosts do."""
    at = datetime(2026, 1, 1, tzinfo=UTC) if not isinstance(parts, Store) else parts.now()
    names = [(f"m{model:02}", shard) for model in range(n_models) for shard in range(n_shards)]

    def write(name: tuple[str, int]) -> None:
        rows, run_id = score_rows(*name), f"{name[0]}-{name[1]:05}"
        write_part(parts, SCORES, rows, study_id="s", run_id=run_id, written_at=at, new=True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, names))


def landed_ids(parts: Parts) -> dict[str, str]:
    """Hash of every raw table that is landed from the parts alone."""
    connection = memory()
    try:
        create_raw_tables(connection)
        rebuild(connection, parts)
        return dict(table_ids(connection, ("raw",)))
    finally:
        connection.close()


def main(arguments: Sequence[str]) -> None:
    """Write shards to a store: address, number of shards. Called by `tests/support/forked.py`, and killed."""
    address, n_shards = arguments
    store = Store.at(address)
    for shard in range(int(n_shards)):
        write_shard(store, "m", shard, n_rows=200)


def killed_writers(address: str, n_kills: int, n_shards: int, seconds: float) -> list[str]:
    """Kill a writer of shards again and again; returns the keys that were ever listed and could not be read whole."""
    store, source, halves = Store.at(address), random.Random(3), []
    with Launcher("tests.support.many_parts") as launcher:
        for _ in range(n_kills):
            for item in store.list("document_scores"):
                if source.random() < 0.5:
                    store.delete(item.key)
            launcher.call([address, str(n_shards)], source.uniform(0, seconds))
            halves += [item.key for item in store.list() if not is_whole(store.place(item.key))]
        launcher.call([address, str(n_shards)])
    return halves
