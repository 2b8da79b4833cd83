"""Parquet parts on disk: their metadata, the newest of each partition, and setting aside those no longer wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from models_train.errors import UserError, first_line
from warehouse.contracts import (
    DOCUMENT_TABLES,
    LAB_TABLES,
    LEADERBOARD_TABLES,
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
_METADATA = ("table", "partition", "run_id", "written_at", "contract")
_SHARD = "shard"
LONG_WORK = {
    **LAB_TABLES,
    **REWARD_MODEL_TABLES,
    **SCORE_TABLES,
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

    path: Path
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
        """Path within the folder of parts: `<table>/<study>/<run>.parquet`."""
        return "/".join(self.path.parts[-3:])


def read_part(path: Path) -> Part:
    """Metadata of a part, read once per process and file. Raises LandingError for a file that is missing, damaged or
    not a part."""
    state = path.stat() if path.exists() else None
    return _read_part(path, *((state.st_ino, state.st_mtime_ns, state.st_size) if state else (0, 0, 0)))


@lru_cache(maxsize=65536)
def _read_part(path: Path, inode: int, changed_ns: int, size: int) -> Part:
    try:
        with pq.ParquetFile(path) as file:
            schema, n_rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        text = f"{path} cannot be read as Parquet ({first_line(error)}); remove it and {REMEDY}"
        raise LandingError(text) from error
    metadata: Mapping[bytes, bytes] = schema.metadata or {}
    try:
        said = {name: metadata[f"rewardbase.{name}".encode()].decode() for name in _METADATA}
        partition: dict[str, Value] = json.loads(said["partition"])
        facts = tuple((str(name), value) for name, value in partition.items())
        written_at = datetime.fromisoformat(said["written_at"]).astimezone(UTC)
        hash(facts)
    except KeyError as error:
        text = f"{path} is no part of this project, whose metadata it lacks; move it out of the folder of parts"
        raise LandingError(text) from error
    except (ValueError, AttributeError, TypeError) as error:
        text = f"{path} is not a part: its metadata cannot be read ({first_line(error)}); remove it and {REMEDY}"
        raise LandingError(text) from error
    return Part(Path(path), said["table"], facts, said["run_id"], written_at, said["contract"], n_rows, schema)


def newest_parts(parts_dir: Path, table: Table, *, fitting: bool = False) -> list[Part]:
    """Per partition the part written last; with `fitting`, among those of the present contract.

    Of a table cut into shards only those of the run that wrote last count: another run may have cut the same
    documents differently, and then both would count twice. Raises LandingError for a file that is not a part.
    """
    parts = [read_part(path) for path in sorted((parts_dir / table.name).glob("*/*.parquet"))]
    if fitting:
        parts = [part for part in parts if part.contract == table.fingerprint]
    newest = _newest_by(lambda part: part.partition, parts)
    if _SHARD not in table.partition_by:
        return list(newest.values())
    last = _newest_by(_whole, newest.values())
    return [part for part in newest.values() if _run(part) == _run(last[_whole(part)])]


def former_rewards(parts_dir: Path) -> list[Part]:
    """Parts of rewards that are keyed by model and objective, as in earlier versions; those set aside, too.

    Skips files that are no parts: landing names them.
    """
    found = []
    for root in (parts_dir, parts_dir / RETIRED):
        for path in sorted((root / COMPLETION_REWARDS.name).glob("*/*.parquet")):
            try:
                part = read_part(path)
            except LandingError:
                continue
            if is_former(part):
                found.append(part)
    return found


def is_former(part: Part) -> bool:
    """True for rewards that are keyed by model and objective."""
    return part.table == COMPLETION_REWARDS.name and tuple(dict(part.partition)) == KEYED_BY_MODEL


def refuse_former_rewards(parts_dir: Path) -> None:
    """Raise LandingError where rewards of earlier versions have to be carried over."""
    if former_rewards(parts_dir):
        raise LandingError(CARRIED_OVER.format(parts=parts_dir))


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


def retire_parts(parts_dir: Path, study_ids: Collection[str]) -> list[str]:
    """Set aside the parts of all studies but `study_ids`, under `<parts>/.retired`; returns `table/study` of each.

    They are not deleted: `restore_wanted` brings back those that took long to make.
    """
    retired = []
    for name in TABLES:
        for folder in sorted((parts_dir / name).glob("*")):
            if folder.is_dir() and folder.name not in study_ids:
                for path in sorted(folder.iterdir()):
                    _move(path, parts_dir / RETIRED / name / folder.name)
                folder.rmdir()
                retired.append(f"{name}/{folder.name}")
    return retired


def retire_unwanted(parts_dir: Path, study_id: str, is_wanted: Wanted) -> list[str]:
    """Set aside a study's parts that it does not want any more; returns `table/study/run` of each.

    Looks at the tables of GPU work and of benchmarks, which take long to make. A file that is not a part stays:
    landing names it.
    """
    return _move_parts(parts_dir, parts_dir / RETIRED, study_id, is_wanted, wanted=False)


def restore_wanted(parts_dir: Path, study_id: str, is_wanted: Wanted) -> list[str]:
    """Bring back what was set aside and the study wants (again); returns `table/study/run` of each.

    A part of the same run that is in its place stays.
    """
    return _move_parts(parts_dir / RETIRED, parts_dir, study_id, is_wanted, wanted=True)


def _move_parts(origin: Path, target: Path, study_id: str, is_wanted: Wanted, *, wanted: bool) -> list[str]:
    moved = []
    for table in LONG_WORK.values():
        place = target / table.name / study_id
        for path in sorted((origin / table.name / study_id).glob("*.parquet")):
            try:
                partition = dict(read_part(path).partition)
            except LandingError:
                continue
            if is_wanted(table, partition) == wanted and not (wanted and (place / path.name).exists()):
                _move(path, place)
                moved.append(f"{table.name}/{study_id}/{path.stem}")
    return moved


def _move(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.replace(path, folder / path.name)
