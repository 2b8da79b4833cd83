"""The job that makes a lab: data sets, models and their truth; a second run makes no model again."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from models_train.config import load_study
from models_train.jobs.make_lab import main
from models_train.run_ids import lab_run_id

STAGES = {"origin": None, "tuned": "origin"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Study file and home of a lab of one pre-trained model and a further stage."""
    folder = tmp_path_factory.mktemp("lab")
    shape = {"architecture": "qwen2", "hidden": 32, "layers": 1}
    mix = {"mix": {"Github": 1.0}, "pretraining_tokens": 9000}
    models = [{"model_id": name, **shape, **({} if parent else mix)} for name, parent in STAGES.items()]
    settings = {
        "study_id": "small", "title": "Small", "synthetic": True, "source": "a test",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": "origin"}],
        "models": [
            {"model_id": name, "hub_id": f"$REWARDBASE_HOME/lab/small/models/{name}", "family": "f",
             "stage": "sft" if parent else "base", "parent": parent}
            for name, parent in STAGES.items()
        ],
        "lab": {"vocabulary": 300, "documents_per_domain": 3, "preferences": 4, "ratings": 4, "validation": 2,
                "test_pairs_per_subset": 1, "models": models},
    }  # fmt: skip
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    main(["--study", str(path), "--home", str(folder / "home"), "--workers", "1"])
    return path, folder / "home"


def test_the_truth_is_landed_with_the_parameters_of_the_models(made: tuple[Path, Path]) -> None:
    path, home = made
    run_id = lab_run_id(load_study(path))
    mixes = pl.read_parquet(home / "parts" / "lab_mixes" / "small" / f"{run_id}.parquet")
    assert mixes.filter(domain="Github")["share"].to_list() == [1.0, 1.0]
    assert set(mixes["pretrained_model_id"]) == {"origin"}
    # 300 embeddings of 32, tied; attention with biases of q, k, v; a gated layer of 96; three norms.
    expected = 300 * 32 + 4 * 32 * 32 + 3 * 32 + 3 * 32 * 96 + 3 * 32
    assert set(mixes["parameters_m"]) == {expected / 1e6}
    for table in ("lab_attribute_weights", "lab_settings"):
        assert (home / "parts" / table / "small" / f"{run_id}.parquet").exists()


def test_a_second_run_makes_no_model_again(made: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, home = made
    weights = {file: file.stat().st_mtime_ns for file in (home / "lab").rglob("*.safetensors")}
    assert len(weights) == 2
    main(["--study", str(path), "--home", str(home), "--workers", "1"])
    assert {file: file.stat().st_mtime_ns for file in (home / "lab").rglob("*.safetensors")} == weights
    assert "origin (0.02M parameters) was there" in capsys.readouterr().out
