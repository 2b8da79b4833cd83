"""Small studies of policies: a tiny random model, prompts, files of responses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tests.support.data_files import write
from tests.support.score_files import study_with
from tests.support.tiny_models import write_base

POLICY: dict[str, Any] = {
    "policy_id": "tiny-policy",
    "path": "policy",
    "responses": 3,
    "max_tokens": 12,
    "precision": "float32",
}
MEASURE, TEACH = 8, 4
SPENT = ("device_seconds", "peak_memory_bytes")
"""Columns that differ between equal samplings."""


def prompts(n: int = MEASURE + TEACH, **more: Any) -> list[dict[str, Any]]:
    """Rows of prompts of different lengths."""
    return [{"prompt": f"Question {number}" + " and so on" * (number % 4) + "?", **more} for number in range(n)]


def sampling_study(folder: Path, rows: Sequence[Mapping[str, Any]] | None = None, **policy: Any) -> Path:
    """A study of a policy and its prompts. policy: changes of its settings."""
    if not (folder / "policy").exists():
        write_base(folder / "policy")
    write(folder / "prompts.jsonl", prompts() if rows is None else rows)
    own = {"path": "prompts.jsonl", "name": "questions", "measure": MEASURE, "teach": TEACH}
    settings = POLICY | policy
    return study_with(folder, teachers={"policies": [settings], "prompts": own})


def import_study(folder: Path, *imports: Mapping[str, Any], **more: Any) -> Path:
    """A study of files of responses."""
    return study_with(folder, teachers={"responses": list(imports), **more})


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def arguments(study: Path, policy_id: str = "tiny-policy", home: Path | None = None) -> list[str]:
    """Of the job that samples."""
    return ["--study", str(study), "--home", str(home or study.parent / "home"), "--policy", policy_id]


def rows(home: Path, table: str) -> pl.DataFrame:
    """The parts of a table."""
    files = sorted((home / "parts" / table).glob("*/*.parquet"))
    return pl.read_parquet(files, hive_partitioning=False) if files else pl.DataFrame()


def results(home: Path) -> dict[str, Any]:
    """All rows of the parts, but for what they cost."""
    tables = sorted(path.name for path in (home / "parts").iterdir() if path.is_dir())
    return {name: rows(home, name).drop(SPENT, strict=False).to_dicts() for name in tables}
