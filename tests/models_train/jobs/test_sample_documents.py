"""The job that draws the documents, started as a person would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from tests.support import made_data
from tests.support.data_files import REPOSITORY, content, document
from tests.support.hub_server import served

pytestmark = pytest.mark.slow


def study_file(folder: Path, source: dict[str, str], n: int = 50) -> Path:
    """A study that scores documents, or none where the source is empty."""
    settings = {
        "study_id": "demo",
        "title": "Demo",
        "synthetic": True,
        "source": "made for a test",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": "tiny"}],
        "models": [{"model_id": "tiny", "hub_id": "./tiny", "family": "Tiny", "params_b": 0.1, "stage": "base"}],
    }
    if source:
        settings["scoring"] = {"corpus": {"name": "slim", "source": source, "documents_per_domain": n}}
    path = folder / "demo.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def run_job(study: Path, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "models_train.jobs.sample_documents", "--study", str(study), "--home", str(home)]
    return subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True, timeout=400, check=False
    )


def test_texts_and_part_are_written_once(tmp_path: Path) -> None:
    study = study_file(tmp_path, {"path": str(made_data.write_documents(tmp_path / "documents.jsonl.gz"))})
    done = run_job(study, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert "\nrows: 250\n" in done.stdout
    (texts,) = (tmp_path / "home" / "documents").glob("*/documents.parquet")
    (part,) = (tmp_path / "home" / "parts" / "documents" / "demo").glob("*.parquet")
    assert part.stem == texts.parent.name
    rows = pl.read_parquet(part)
    assert rows.select("document_id", "domain").equals(pl.read_parquet(texts).select("document_id", "domain"))
    assert rows["domain"].value_counts()["count"].to_list() == [50] * 5
    assert pq.read_metadata(part).metadata[b"rewardbase.table"] == b"documents"

    written = [path.stat().st_mtime_ns for path in (texts, part)]
    again = run_job(study, tmp_path / "home")
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout
    assert "\nrows: 250\n" in again.stdout
    assert [path.stat().st_mtime_ns for path in (texts, part)] == written

    part.unlink()
    assert run_job(study, tmp_path / "home").returncode == 0
    assert pl.read_parquet(part).equals(rows)
    assert texts.stat().st_mtime_ns == written[0]


def test_a_hub_is_asked_at_the_address_that_the_environment_names(tmp_path: Path) -> None:
    rows = [document(f"{name} {n}", name) for name in ("Github", "Wikipedia") for n in range(20)]
    files = {"train/chunk1/example_train_0.jsonl.zst": content("a.zst", rows)}
    study = study_file(tmp_path, {"hub_id": "cerebras/SlimPajama-627B"}, 15)
    with served({"cerebras/SlimPajama-627B": files}) as hub:
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "cache")}
        done = run_job(study, tmp_path / "home", NO_PROXY="127.0.0.1", **environment)
    assert done.returncode == 0, done.stderr
    assert "rows: 30\n" in done.stdout
    assert "documents missing, Book: 15" in done.stdout


def test_an_error_names_its_cause_and_nothing_is_written(tmp_path: Path) -> None:
    done = run_job(study_file(tmp_path, {}), tmp_path / "home")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the study demo scores no documents; add a group `scoring` to it" in done.stderr
    done = run_job(study_file(tmp_path, {"path": "./nowhere.jsonl"}), tmp_path / "home")
    assert done.returncode == 1
    assert "./nowhere.jsonl: there is no" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()
