"""The raw tables: Arrow schema, key, partition and meaning of each; the one place for what a part holds.

A leaf of the import graph: of third-party packages it imports pyarrow alone, so that the science side
(`models_train`) and the database side (`warehouse`) can agree on a table without knowing each other.
"""

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
    def fingerprint(self) -> str:
        """16 hex digits over what a part must agree on: name, typed columns, nullability, key, partition."""
        columns = [[field.name, str(field.type), field.nullable] for field in self.schema]
        identity = [self.name, columns, list(self.key), list(self.partition_by)]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def describe(field: pa.Field) -> str:
    """Description of a contract's field."""
    return (field.metadata or {})[DESCRIPTION].decode()


def _text(name: str, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.string(), nullable, {DESCRIPTION: description})


def _number(name: str, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.float64(), nullable, {DESCRIPTION: description})


def _integer(name: str, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.int64(), nullable, {DESCRIPTION: description})


def _flag(name: str, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.bool_(), nullable, {DESCRIPTION: description})


_STUDY_ID = _text("study_id", "Study the row belongs to; `published` is the paper's own study.")
_RUN_ID = _text("run_id", "Run that wrote the row: a short hash of the content it was made from.")


def _table(name: str, description: str, key: tuple[str, ...], *fields: pa.Field) -> Table:
    schema = pa.schema([_STUDY_ID, *fields, _RUN_ID])
    return Table(name, schema, ("study_id", *key), ("study_id",), description)


STUDIES = _table(
    "studies",
    "One row per study: what it is, where its figures come from and which of them may be used.",
    (),
    _text("title", "Title of the study, as reports print it."),
    _flag("synthetic", "True where the study's figures are made here, not measured on real models."),
    _text("source", "Publication or place that the study's figures come from."),
    _flag(
        "use_loose_benchmarks",
        "True where benchmark values measured by another pipeline (match class `loose`) may be used.",
    ),
)

SIZE_GROUPS = _table(
    "size_groups",
    "One row per study and size group: its borders and its default base model (paper, Section 3.2).",
    ("size_group",),
    _text("size_group", "Name of the size group, such as `>=3 and <6` (billions of parameters)."),
    _integer("position", "Order of the group, 1 for the smallest models."),
    _number("params_b_from", "Smallest number of parameters of the group, in billions, inclusive."),
    _number(
        "params_b_below",
        "Upper border of the group in billions of parameters, exclusive; null where there is none.",
        nullable=True,
    ),
    _text("default_model_id", "Base model that the group's gains are measured against."),
)

BASE_MODELS = _table(
    "base_models",
    "One row per study and base model, as the study file lists it.",
    ("model_id",),
    _text("model_id", "Name of the base model, as the paper prints it."),
    _text("hub_id", "Repository of the model on its hub, or its path on disk."),
    _text("revision", "Commit of the hub repository; null where the study names none.", nullable=True),
    _text("publisher", "Who published the model; null where a seed gives it (Table 3).", nullable=True),
    _text("family", "Model generation, such as `Qwen2.5`."),
    _number("params_b", "Parameters in billions; null where a seed gives them (Table 3).", nullable=True),
    _number(
        "tokens_t",
        "Pre-training tokens in trillions; null where a seed gives them.",
        nullable=True,
    ),
    _text("stage", "Last training stage: base, sft, dpo, rlvr or instruct."),
    _text(
        "parent_model_id",
        "Model of the study that this one was trained from; or null.",
        nullable=True,
    ),
    _flag("is_compared", "True where the model is one of those the study ranks."),
)

STUDY_SEEDS = _table(
    "study_seeds",
    "One row per study and seed file: where its figures come from, under which licence, and what was read.",
    ("seed",),
    _text("seed", "Name of the seed."),
    _text("file", "Seed file, relative to the folder of the repository."),
    _text(
        "paper_table",
        "Table of the paper that the seed transcribes; null for none.",
        True,
    ),
    _text("source", "Where the figures come from."),
    _text("licence", "Licence or terms of the figures."),
    _integer("n_rows", "Rows of the seed file, without its header."),
    _text("sha256", "SHA-256 of the seed file's bytes, hexadecimal."),
)

TABLES: dict[str, Table] = {table.name: table for table in (STUDIES, SIZE_GROUPS, BASE_MODELS, STUDY_SEEDS)}
"""All raw tables by name."""
