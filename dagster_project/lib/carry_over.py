"""Carry the rewards of earlier versions over: parts keyed by model and objective become parts keyed by reward_id.

The rewards stay as they are, and so do the names of the parts and the order in which they were written; nothing is
trained or scored again. Sources and items, which these versions had no tables for, are made from the same parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import pyarrow as pa

from models_train.errors import first_line
from models_train.parts import content_hash, part_rows, read_table, write_part
from models_train.store import Parts, Store
from models_train.study.reward_ids import OF_MODEL, SCALES, source_row, source_run_id, trained_reward_id
from models_train.study.settings import Objective
from warehouse.contracts import PERFORMANCE_TABLES, STUDY_TABLES, TABLES
from warehouse.contracts.scores import BENCHMARK_ITEMS, COMPLETION_REWARDS, ITEM_COMPLETIONS, REWARD_SOURCES
from warehouse.contracts.studies import BASE_MODELS, BENCHMARK_RESULTS
from warehouse.part_files import LandingError, Part, former_rewards, newest_parts

REMEDY = "remove it and run `make rebuild` again; then `make run` scores that reward model again"
COMPLETIONS = ("chosen", "rejected")
"""Completions of every item in earlier versions, the right one first."""


def carry_over(parts_dir: Parts) -> int:
    """Write every part of rewards in the present form, those set aside included; returns their number.

    Interrupted, it goes on. Raises LandingError for a part that does not fit, which it names.
    """
    former = former_rewards(parts_dir)
    for part in former:
        _check(part)
    # The parts themselves last: as long as one is of the former kind, all of this is done again.
    for (root, study_id), parts in _by_study(former).items():
        _write_sources(root, study_id, {_cell(part) for part in parts})
        if str(root) == str(parts_dir):
            _write_items(root, study_id, max(parts, key=lambda part: part.written_at))
    for part in former:
        _rewrite(part)
    return len(former)


def stale_tables(parts_dir: Parts) -> list[str]:
    """Tables whose parts were written for other contracts, or that earlier versions did not have: `make run` makes
    them again from study files and kept results."""
    stale = {
        name
        for name, table in TABLES.items()
        if any(part.contract != table.fingerprint for part in newest_parts(parts_dir, table))
    }
    for tables in (STUDY_TABLES, PERFORMANCE_TABLES):
        studies = {name: {part.study_id for part in newest_parts(parts_dir, tables[name])} for name in tables}
        studies.pop(BENCHMARK_RESULTS.name, None)  # a study has them only where something writes them
        stale |= {name for name, found in studies.items() if found != set().union(*studies.values())}
    return sorted(stale)


def _by_study(parts: Iterable[Part]) -> Mapping[tuple[Parts, str], list[Part]]:
    """The parts by folder and study."""
    found: dict[tuple[Parts, str], list[Part]] = {}
    for part in parts:
        found.setdefault((part.root, part.study_id), []).append(part)
    return found


def _cell(part: Part) -> tuple[str, str]:
    own = dict(part.partition)
    return str(own["model_id"]), str(own["objective"])


def _rewrite(part: Part) -> None:
    """Replace a part: model and objective become the name of the reward model."""
    model_id, objective = _cell(part)
    rows = _rows(part)
    name = pa.repeat(pa.scalar(trained_reward_id(model_id, objective)), rows.num_rows)
    rows = rows.drop_columns(["model_id", "objective"])
    rows = rows.append_column("reward_id", name).append_column("source", pa.nulls(rows.num_rows, pa.string()))
    own: dict[str, Any] = {"study_id": part.study_id, "run_id": part.run_id, "written_at": part.written_at}
    path = write_part(part.root, COMPLETION_REWARDS, rows, **own)
    if path != part.path:
        Store.at(part.root).delete(part.file)


def _check(part: Part) -> None:
    """Raise LandingError where a part of the former kind has other columns than these had."""
    types = {field.name: field.type for field in COMPLETION_REWARDS.schema if field.name not in ("reward_id", "source")}
    wanted = types | {"model_id": pa.string(), "objective": pa.string()}
    if {field.name: field.type for field in part.schema} != wanted or _cell(part)[1] not in SCALES:
        raise LandingError(f"{part.path} does not fit the contract of its version; {REMEDY}")


def _rows(part: Part) -> pa.Table:
    """Rows of a part. Raises LandingError where it is damaged."""
    try:
        return read_table(part.path)
    except (OSError, pa.ArrowException) as error:
        raise LandingError(f"{part.path} cannot be read ({first_line(error)}); {REMEDY}") from error


def _write_sources(root: Parts, study_id: str, cells: Iterable[tuple[str, str]]) -> None:
    """The sources of trained reward models that have none yet; `make run` adds what only the study file knows."""
    known = {dict(part.partition)["reward_id"] for part in newest_parts(root, REWARD_SOURCES) if _is_of(part, study_id)}
    models = {
        row["model_id"]: {name: row[name] for name in OF_MODEL}
        for part in newest_parts(root, BASE_MODELS)
        if _is_of(part, study_id)
        for row in part_rows(part.path)
    }
    for model_id, objective in sorted(cells):
        row = source_row(model_id, cast(Objective, objective), **models.get(model_id, {}))
        if row["reward_id"] not in known:
            write_part(root, REWARD_SOURCES, [row], study_id=study_id, run_id=source_run_id(row))


def _write_items(root: Parts, study_id: str, last: Part) -> None:
    """The items of the rewards written last, without what only the texts tell."""
    names = ["benchmark", "subset", "item_id"]
    keys: list[dict[str, Any]] = _rows(last).group_by(names, use_threads=False).aggregate([]).to_pylist()
    of_item = {"category": None, "n_completions": 2, "n_correct": 1, "prompt_hash": None, "source": None}
    unknown = dict.fromkeys(("style", "generator", "generator_family", "n_bytes"))
    items = [key | of_item for key in keys]
    completions = [
        key | unknown | {"completion": name, "place": place, "is_correct": name == COMPLETIONS[0]}
        for key in keys
        for place, name in enumerate(COMPLETIONS, 1)
    ]
    for table, found in ((BENCHMARK_ITEMS, items), (ITEM_COMPLETIONS, completions)):
        if not any(_is_of(part, study_id) for part in newest_parts(root, table)):
            write_part(root, table, found, study_id=study_id, run_id=content_hash(keys))


def _is_of(part: Part, study_id: str) -> bool:
    return part.study_id == study_id
