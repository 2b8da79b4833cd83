"""Parts of rewards as the jobs write them, with the rows that say what gives them; and as earlier versions did."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models_train.parts import Rows, write_part
from models_train.study.reward_ids import source_row
from warehouse.contracts import TABLES
from warehouse.contracts.fields import MODEL_ID, OBJECTIVE, RUN_ID, STUDY_ID, Table, table
from warehouse.contracts.scores import COMPLETION_REWARDS
from warehouse.part_files import read_part

_COLUMNS = [COMPLETION_REWARDS.schema.field(name) for name in COMPLETION_REWARDS.schema.names]
_SHARED = [field for field in _COLUMNS if field.name not in (STUDY_ID.name, RUN_ID.name, "reward_id", "source")]
FORMER: Table = table(
    "completion_rewards",
    "Rewards as of commit 389da67.",
    ("model_id", "objective", "benchmark", "subset", "item_id", "completion", "attribute"),
    MODEL_ID,
    OBJECTIVE,
    *_SHARED,
    partition_by=("model_id", "objective"),
)


def write_rewards(parts: Path, model_id: str, objective: Any, rows: Rows, *, study_id: str, run_id: str) -> None:
    """The parts of a reward model's rewards and of its source. rows: of completion_rewards, with reward_id."""
    source = source_row(model_id, objective, seed=0)
    write_part(parts, TABLES["reward_sources"], [source], study_id=study_id, run_id=run_id)
    write_part(parts, TABLES["completion_rewards"], rows, study_id=study_id, run_id=run_id)


def make_former(parts: Path) -> None:
    """Turn the rewards in a folder of parts into those of an earlier version, which knew no sources and no items."""
    for path in sorted(parts.rglob("completion_rewards/*/*.parquet")):
        part, rows = read_part(path), pq.read_table(path, partitioning=None)
        model_id, _, objective = rows["reward_id"][0].as_py().rpartition("/")
        rows = rows.drop_columns(["reward_id", "source"])
        for name, value in (("model_id", model_id), ("objective", objective)):
            rows = rows.append_column(name, pa.repeat(pa.scalar(value), rows.num_rows))
        own: dict[str, Any] = {"study_id": part.study_id, "run_id": part.run_id, "written_at": part.written_at}
        write_part(path.parents[2], FORMER, rows, **own)
    for name in ("reward_sources", "benchmark_items", "item_completions"):
        for folder in parts.rglob(name):
            shutil.rmtree(folder)
