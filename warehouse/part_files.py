"""Parquet parts on disk: their metadata, the newest of each partition, and setting aside those no longer wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from models_train.errors import UserError, first_line
from warehouse.contracts import TABLES, Table

Value: TypeAlias = str | int | float | bool | None
Partition: TypeAlias = tuple[tuple[str, Value], ...]

REMEDY = "materialize the asset that writes it again"
RETIRED = ".retired"
_METADATA = ("table", "partition", "run_id", "written_at", "contract")
_SHARD, _MODEL, _WRITER = "shard", "model_id", "written_by"


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
    """Metadata of a part. Raises LandingError for a file that is missing, damaged or not a part."""
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
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        text = f"{path} is not a part: its metadata lacks {error}; remove it and {REMEDY}"
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

    They are not deleted: `restore_parts` brings back those that took long to make.
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


def retire_models(parts_dir: Path, study_id: str, kept_model_ids: Collection[str]) -> list[str]:
    """Set aside a study's parts of all models but `kept_model_ids`; returns `table/study/run` of each.

    Looks at the tables that are partitioned by model. A file that is not a part stays: landing names it.
    """
    return _move_parts(parts_dir, parts_dir / RETIRED, study_id, _MODEL, kept_model_ids, wanted=False)


def restore_parts(parts_dir: Path, study_id: str, model_ids: Collection[str]) -> list[str]:
    """Bring back what was set aside of models that the study lists (again); returns `table/study/run` of each.

    Only tables partitioned by model, since training or scoring a model takes hours. A part of the same run that is in
    its place stays.
    """
    return _move_parts(parts_dir / RETIRED, parts_dir, study_id, _MODEL, model_ids, wanted=True)


def retire_writers(parts_dir: Path, study_id: str, kept: Collection[str]) -> list[str]:
    """Set aside a study's parts by all writers but `kept`, in tables partitioned by writer; returns names as above."""
    return _move_parts(parts_dir, parts_dir / RETIRED, study_id, _WRITER, kept, wanted=False)


def restore_writers(parts_dir: Path, study_id: str, writers: Collection[str]) -> list[str]:
    """Bring back what was set aside of writers that the study has (again); returns names as above."""
    return _move_parts(parts_dir / RETIRED, parts_dir, study_id, _WRITER, writers, wanted=True)


def _move_parts(
    origin: Path, target: Path, study_id: str, column: str, values: Collection[str], *, wanted: bool
) -> list[str]:
    moved = []
    for path, value in _parts_by(origin, study_id, column):
        place = target / path.parent.parent.name / study_id
        if (value in values) == wanted and not (wanted and (place / path.name).exists()):
            _move(path, place)
            moved.append(f"{path.parent.parent.name}/{study_id}/{path.stem}")
    return moved


def _parts_by(folder: Path, study_id: str, column: str) -> Iterator[tuple[Path, Value]]:
    """Parts of a study in tables partitioned by a column, with its value of each; None of one from before that."""
    for table in TABLES.values():
        if column in table.partition_by:
            for path in sorted((folder / table.name / study_id).glob("*.parquet")):
                try:
                    partition = dict(read_part(path).partition)
                except LandingError:
                    continue
                yield path, partition.get(column)


def _move(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.replace(path, folder / path.name)
