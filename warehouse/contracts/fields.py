"""Building blocks of a contract: described fields, and a table with its key and its partition."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import pyarrow as pa

DESCRIPTION = b"description"
"""Metadata key under which a field of a contract's schema carries its description."""


@dataclass(frozen=True)
class Table:
    """Contract of one raw table.

    `schema` has one described field per column; `key` names the columns that identify a row; `partition_by`
    names the columns whose values a part has in common: landing a part replaces the rows of its partition.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    partition_by: tuple[str, ...]
    description: str

    @property
    def filled_columns(self) -> pa.Schema:
        """Columns that a job fills: all but study_id and run_id, which are those of the part."""
        return pa.schema([field for field in self.schema if field.name not in (STUDY_ID.name, RUN_ID.name)])

    @property
    def fingerprint(self) -> str:
        """16 hex digits over name, typed columns, nullability, key and partition, which a part must share."""
        columns = [[field.name, str(field.type), field.nullable] for field in self.schema]
        identity = [self.name, columns, list(self.key), list(self.partition_by)]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def describe(field: pa.Field) -> str:
    """Description of a contract's field."""
    return (field.metadata or {})[DESCRIPTION].decode()


def text(name: str, description: str, nullable: bool = False) -> pa.Field:
    """Column of text."""
    return pa.field(name, pa.string(), nullable, {DESCRIPTION: description})


def number(name: str, description: str, nullable: bool = False) -> pa.Field:
    """Column of float64; NaN and infinity are refused."""
    return pa.field(name, pa.float64(), nullable, {DESCRIPTION: description})


def integer(name: str, description: str, nullable: bool = False) -> pa.Field:
    """Column of int64."""
    return pa.field(name, pa.int64(), nullable, {DESCRIPTION: description})


def flag(name: str, description: str, nullable: bool = False) -> pa.Field:
    """Column of true and false."""
    return pa.field(name, pa.bool_(), nullable, {DESCRIPTION: description})


STUDY_ID = text("study_id", "Study the row belongs to; `published` is the paper's own study.")
RUN_ID = text("run_id", "Run that wrote the row: a short hash of the content it was made from.")
MODEL_ID = text("model_id", "Name of the base model.")
OBJECTIVE = text("objective", "How the reward model was trained: regression or bradley_terry.")


def table(
    name: str, description: str, key: tuple[str, ...], *fields: pa.Field, partition_by: tuple[str, ...] = ()
) -> Table:
    """A raw table; study_id leads its key and its partition, run_id ends its columns.

    key, partition_by: without study_id. A part holds one value of every column in partition_by.
    """
    schema = pa.schema([STUDY_ID, *fields, RUN_ID])
    return Table(name, schema, ("study_id", *key), ("study_id", *partition_by), description)


def by_name(*tables: Table) -> dict[str, Table]:
    """The tables by their names."""
    return {one.name: one for one in tables}
