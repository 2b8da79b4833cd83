"""Parquet parts in a folder or bucket: their metadata, the newest of each partition, and setting others aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from models_train.errors import UserError, first_line
from models_train.footers import SUFFIX, fetch_footers, footer, is_part_key
from models_train.store import Folder, Item, Parts, Place, Store
from warehouse.contracts import (
    DOCUMENT_TABLES,
    LAB_TABLES,
    LEADERBOARD_TABLES,
    RESPONSE_TABLES,
    RETIRED,
    REWARD_MODEL_TABLES,
    SCORE_TABLES,
    TABLES,
    Table,
)
from warehouse.contracts.scores import COMPLETION_REWARDS, KEYED_BY_MODEL
from warehouse.contracts.studies import BENCHMARK_RESULTS

Value: TypeAlias = str | int | float | bool | None
Partition: TypeAlias = tuple[tuple[str, Value], ...]

REMEDY = "run `make run`, which makes it again"
CARRIED_OVER = (
    "the rewards in {parts} were written by an earlier version of this project; run `make rebuild`, which carries them "
    "over and trains nothing again"
)
_NEVER = datetime.fromtimestamp(0, UTC)
_SHARD = "shard"
LONG_WORK = {
    **LAB_TABLES,
    **REWARD_MODEL_TABLES,
    **SCORE_TABLES,
    **RESPONSE_TABLES,
    **DOCUMENT_TABLES,
    **LEADERBOARD_TABLES,
    BENCHMARK_RESULTS.name: BENCHMARK_RESULTS,
}
"""Tables whose parts follow what a study wants; those of others are written again whenever the study changes."""
Wanted: TypeAlias = Callable[[Table, Mapping[str, Value]], bool]
"""Whether a study wants a part, by its table and its partition; a part from before a column lacks that."""


class LandingError(UserError):
    """A part that cannot be landed. The message names the file and the remedy."""


@dataclass(frozen=True)
class Part:
    """Metadata of a part: table, partition (column and value), run, time, contract, number of rows."""

    path: Path | Place
    table: str
    partition: Partition
    run_id: str
    written_at: datetime
    contract: str
    n_rows: int
    schema: pa.Schema = field(compare=False, repr=False)

    @property
    def study_id(self) -> str:
        """Study that the part belongs to."""
        return str(dict(self.partition)["study_id"])

    @property
    def file(self) -> str:
        """Key within the folder of parts: `<table>/<study>/<run>.parquet`."""
        return "/".join(str(self.path).split("/")[-3:])

    @property
    def root(self) -> Parts:
        """Folder or store that the part lies in: that of the home, or of those set aside."""
        return self.path.parents[2] if isinstance(self.path, Path) else self.path.store


def read_part(path: Path | Place) -> Part:
    """Metadata of a part. Raises LandingError for a file that is missing, damaged or not a part."""
    store = Folder(path.parent) if isinstance(path, Path) else path.store
    key = path.name if isinstance(path, Path) else path.key
    return _part(store, store.find(key) or Item(key, 0, "", _NEVER))


def _part(store: Store, item: Item) -> Part:
    """Metadata of a listed part."""
    path = store.place(item.key)
    try:
        found = footer(store, item)
    except (OSError, pa.ArrowException) as error:
        text = f"{path} cannot be read as Parquet ({first_line(error)}); remove it and {REMEDY}"
        raise LandingError(text) from error
    said = found.metadata
    try:
        partition: dict[str, Value] = json.loads(said["partition"])
        facts = tuple((str(name), value) for name, value in partition.items())
        written_at = store.bounded(found.written_at, item)
        hash(facts)
        run_id, contract = said["run_id"], said["contract"]
        return Part(path, said["table"], facts, run_id, written_at, contract, found.n_rows, found.fields)
    except KeyError as error:
        text = f"{path} is no part of this project, whose metadata it lacks; move it out of the folder of parts"
        raise LandingError(text) from error
    except (ValueError, AttributeError, TypeError) as error:
        text = f"{path} is not a part: its metadata cannot be read ({first_line(error)}); remove it and {REMEDY}"
        raise LandingError(text) from error


def newest_parts(parts: Parts, table: Table, *, fitting: bool = False) -> list[Part]:
    """Per partition the part written last; with `fitting`, among those of the present contract.

    Of a table cut into shards only those of the run that wrote last count: another run may have cut the same
    documents differently, and then both would count twice. Raises LandingError for a file that is not a part.
    """
    store = Store.at(parts)
    found = [_part(store, item) for item in _items(store, table.name)]
    if fitting:
        found = [part for part in found if part.contract == table.fingerprint]
    newest = _newest_by(lambda part: part.partition, found)
    if _SHARD not in table.partition_by:
        return list(newest.values())
    last = _newest_by(_whole, newest.values())
    return [part for part in newest.values() if _run(part) == _run(last[_whole(part)])]


def _items(store: Store, folder: str) -> list[Item]:
    """The files of parts below a folder, with their footers at hand."""
    found = [item for item in store.list(folder) if is_part_key(item.key)]
    fetch_footers(store, found)
    return found


def former_rewards(parts: Parts) -> list[Part]:
    """Parts of rewards that are keyed by model and objective, as in earlier versions; those set aside, too.

    Skips files that are no parts: landing names them.
    """
    found = []
    for root in (Store.at(parts), Store.at(parts).below(RETIRED)):
        for item in _items(root, COMPLETION_REWARDS.name):
            try:
                part = _part(root, item)
            except LandingError:
                continue
            if is_former(part):
                found.append(part)
    return found


def is_former(part: Part) -> bool:
    """True for rewards that are keyed by model and objective."""
    return part.table == COMPLETION_REWARDS.name and tuple(dict(part.partition)) == KEYED_BY_MODEL


def refuse_former_rewards(parts: Parts) -> None:
    """Raise LandingError where rewards of earlier versions have to be carried over."""
    if former_rewards(parts):
        raise LandingError(CARRIED_OVER.format(parts=parts))


def _newest_by(key: Callable[[Part], Partition], parts: Iterable[Part]) -> dict[Partition, Part]:
    """The part written last for each key; of parts written at once the last in order."""
    newest: dict[Partition, Part] = {}
    for part in parts:
        known = newest.get(key(part))
        if known is None or part.written_at >= known.written_at:
            newest[key(part)] = part
    return newest


def _whole(part: Part) -> Partition:
    """Partition of a part without its shard."""
    return tuple(fact for fact in part.partition if fact[0] != _SHARD)


def _run(part: Part) -> str:
    """Run of a part whose run_id ends with its shard: `<run>-<shard>`."""
    return part.run_id.removesuffix(f"-{dict(part.partition).get(_SHARD)}")


def retire_parts(parts: Parts, study_ids: Collection[str]) -> list[str]:
    """Set aside the parts of all studies but `study_ids`, under `<parts>/.retired`; returns `table/study` of each.

    They are not deleted: `restore_wanted` brings back those that took long to make.
    """
    store = Store.at(parts)
    keys = [item.key for item in store.list() if item.key.count("/") >= 2]
    retired = []
    for name in TABLES:
        gone = [key for key in keys if key.startswith(f"{name}/") and key.split("/")[1] not in study_ids]
        for key in gone:
            store.move(key, f"{RETIRED}/{key}")
        studies = sorted({key.split("/")[1] for key in gone})
        for study_id in studies:
            store.prune(f"{name}/{study_id}")
        retired += [f"{name}/{study_id}" for study_id in studies]
    return retired


def retire_unwanted(parts: Parts, study_id: str, is_wanted: Wanted) -> list[str]:
    """Set aside a study's parts that it does not want any more; returns `table/study/run` of each.

    Looks at the tables of GPU work and of benchmarks, which take long to make. A file that is not a part stays:
    landing names it.
    """
    return _move_parts(Store.at(parts), "", RETIRED, study_id, is_wanted, wanted=False)


def restore_wanted(parts: Parts, study_id: str, is_wanted: Wanted) -> list[str]:
    """Bring back what was set aside and the study wants (again); returns `table/study/run` of each.

    A part of the same run that is in its place stays.
    """
    return _move_parts(Store.at(parts), RETIRED, "", study_id, is_wanted, wanted=True)


def _move_parts(store: Store, origin: str, target: str, study_id: str, is_wanted: Wanted, *, wanted: bool) -> list[str]:
    """origin, target: folders in the store of parts, or "" for the store itself."""
    moved = []
    root = store.below(origin) if origin else store
    for table in LONG_WORK.values():
        for item in _items(root, f"{table.name}/{study_id}"):
            try:
                partition = dict(_part(root, item).partition)
            except LandingError:
                continue
            to = f"{target}/{item.key}".lstrip("/")
            if is_wanted(table, partition) == wanted and not (wanted and store.exists(to)):
                store.move(f"{origin}/{item.key}".lstrip("/"), to)
                moved.append(item.key.removesuffix(SUFFIX))
    return moved
