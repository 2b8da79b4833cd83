"""A study that scores documents under a tiny model, made from files, and what its job leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from models_train.data.records import Document
from models_train.data.samples import write_sample
from models_train.study.fingerprints import sample_run_id, scoring_run_id
from models_train.study.study import load_study
from tests.support.data_files import REPOSITORY
from tests.support.tiny_models import write_base

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
"""The last digits of a sum depend on the number of threads."""
WORDS = ("the", "of", "way", "number", "café", "x = [i for i in range(9)]", "\n\n", "中文", "and", "it is")


def scoring_study(folder: Path, model: Path | None = None, **scoring: Any) -> Path:
    """A study file with one model, `tiny`, a folder. scoring: settings of it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "study_id": "demo",
        "title": "Demo",
        "synthetic": True,
        "source": "made in a test",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": "tiny"}],
        "models": [
            {
                "model_id": "tiny",
                "hub_id": str(model or write_base(folder / "tiny")),
                "family": "Tiny",
                "params_b": 0.1,
                "stage": "base",
            }
        ],
        "scoring": {
            "corpus": {"name": "texts", "source": {"path": "./documents.jsonl"}, "documents_per_domain": 50},
            "precision": "float32",
            "documents_per_shard": 5,
        }
        | scoring,
    }
    path = folder / "demo.yaml"
    path.write_text(yaml.safe_dump(settings))
    (folder / "documents.jsonl").touch()
    return path


def documents(n: int) -> list[Document]:
    """Short texts, of two domains."""
    texts = [" ".join(WORDS[(n * step) % len(WORDS)] for step in range(n % 23 + 3)) + f" {n}" for n in range(n)]
    found = [Document(document_id(text), ("Book", "Github")[len(text) % 2], text) for text in texts]
    return sorted(found, key=lambda document: document.document_id)


def document_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def put_sample(study: Path, home: Path, sample: Sequence[Document]) -> Path:
    """The sample as the job sample_documents leaves it; returns its folder."""
    scoring = load_study(study).scoring
    assert scoring is not None
    folder = home / "documents" / sample_run_id(scoring.corpus, study.parent)
    write_sample(folder, sample, {"rows": len(sample)})
    return folder


def arguments(study: Path, home: Path, model: str = "tiny") -> list[str]:
    return ["--study", str(study), "--model", model, "--home", str(home)]


def run_job(study: Path, home: Path, model: str = "tiny") -> subprocess.CompletedProcess[str]:
    """The job as a person starts it."""
    return subprocess.run(
        [sys.executable, "-m", "models_train.jobs.score_documents", *arguments(study, home, model)],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_id(study: Path) -> str:
    """Name of the scoring."""
    found = load_study(study)
    assert found.scoring is not None
    return scoring_run_id(found.models[0], found.scoring, study.parent)


def parts(home: Path) -> list[Path]:
    """Parts of finished shards."""
    return sorted((home / "parts" / "document_scores" / "demo").glob("*.parquet"))


def scores(home: Path) -> pl.DataFrame:
    """Rows of all shards, by document."""
    return pl.concat([pl.read_parquet(part) for part in parts(home)]).sort("document_id")


def costs(home: Path) -> dict[str, Any]:
    """The row of run_costs."""
    (part,) = (home / "parts" / "run_costs" / "demo").glob("*.parquet")
    (row,) = pl.read_parquet(part).to_dicts()
    return row | {"versions": json.loads(row["versions"])}
