"""A study of two base models, preferences and sixty pairs of one's own, without RewardBench: the rewards land."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from models_train.jobs import import_scores, score_completions, train_reward_model
from tests.support import data_files
from tests.support.made_data import own_pairs
from tests.support.reward_studies import MODEL_ID, RECIPE, arguments, write_study
from tests.support.tiny_models import write_base

pytestmark = pytest.mark.slow


def rows(home: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(sorted((home / "parts" / table).glob("*/*.parquet")))


def test_sixty_own_pairs_are_enough(tmp_path: Path) -> None:
    home, pairs = tmp_path / "home", own_pairs(60)
    path = write_study(tmp_path, bradley_terry=RECIPE | {"learning_rates": [1e-3]}, objectives=["bradley_terry"])
    study = yaml.safe_load(path.read_text())
    write_base(tmp_path / "other", seed=1)
    study["models"].append(study["models"][0] | {"model_id": "other", "hub_id": "./other"})
    for name in ("test_set", "ratings"):
        del study["training"][name]
    study["benchmark_sets"] = [{"name": "my_pairs", "path": "pairs.jsonl"}]
    path.write_text(yaml.safe_dump(study))
    data_files.write(tmp_path / "pairs.jsonl", pairs)

    import_scores.main(["--study", str(path), "--home", str(home)])
    for model in (MODEL_ID, "other"):
        for job in (train_reward_model, score_completions):
            job.main(arguments(path, home, model=model))

    rewards, items = rows(home, "completion_rewards"), rows(home, "item_completions")
    assert set(rewards["benchmark"]) == set(items["benchmark"]) == {"my_pairs"}
    key = ["benchmark", "subset", "item_id", "completion"]
    for reward_id in (f"{MODEL_ID}/bradley_terry", "other/bradley_terry"):
        own = rewards.filter(reward_id=reward_id)
        assert own.height == 120 and set(own["status"]) == {"ok"} and own["reward"].n_unique() > 100
        assert own.join(items, on=key, how="anti").is_empty() and items.join(own, on=key, how="anti").is_empty()
    assert set(rows(home, "run_costs").filter(job="score_completions")["variant"]) == {"bradley_terry@my_pairs"}
