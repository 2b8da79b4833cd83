"""The plan of a small study after a probe, against what its scoring took on this machine, one model after another."""

from __future__ import annotations

import json
import time
from pathlib import Path

import polars as pl
import pytest
import yaml
from transformers import LlamaConfig

from models_train.jobs.plan import main
from tests.support.scoring_studies import documents, put_sample, run_job, scoring_study
from tests.support.tiny_models import SIZES, write_base

pytestmark = pytest.mark.bench

WIDTHS = (64, 64, 128, 256)
"""Of the models, which are about as large as the lab's and larger."""


def test_a_plan_after_a_probe_is_within_25_percent(tmp_path: Path) -> None:
    study, home = scoring_study(tmp_path, documents_per_shard=1000), tmp_path / "home"
    settings = yaml.safe_load(study.read_text())
    (model,) = settings["models"]
    settings["models"] = []
    for number, width in enumerate(WIDTHS):
        name = f"m{number}-{width}"
        config = LlamaConfig(**SIZES | {"hidden_size": width, "intermediate_size": 2 * width + 8 * number})
        settings["models"].append(
            model
            | {"model_id": name, "hub_id": str(write_base(tmp_path / name, config)), "family": name}
            | {"params_b": 12 * width * width * 2 / 1e9}
        )
    settings["size_groups"][0]["default"] = settings["models"][0]["model_id"]
    study.write_text(yaml.safe_dump(settings))
    put_sample(study, home, documents(4000))
    main(["--study", str(study), "--home", str(home), "--gpus", "1", "--probe", "1"])
    planned = json.loads((home / "plans" / "demo.json").read_text())
    began = time.monotonic()
    for one in settings["models"]:
        done = run_job(study, home, one["model_id"])
        assert done.returncode == 0, done.stderr
    wall = time.monotonic() - began
    print(f"\nplanned {planned['wall_hours'] * 3600:.0f} s, took {wall:.0f} s")
    rows = pl.read_parquet(home / "parts" / "planned_costs" / "demo")
    assert rows.height == len(WIDTHS)
    assert abs(planned["wall_hours"] * 3600 / wall - 1) < 0.25
