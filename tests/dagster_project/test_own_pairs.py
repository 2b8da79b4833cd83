"""A study of two base models, a reward model of a folder and sixty pairs of one's own, through `make run`.

It has no RewardBench. Its rewards land, and its answer is based on these pairs; a benchmark that is added is scored
alone, and one that is taken out is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import yaml
from transformers import LlamaConfig

from tests.support import data_files
from tests.support.made_data import own_pairs
from tests.support.own_classifiers import write_classifier
from tests.support.programs import run_program
from tests.support.reward_studies import RECIPE, write_study
from tests.support.score_files import best_of_4_items, write_json
from tests.support.tiny_models import SIZES, write_base

pytestmark = pytest.mark.slow
MY_PAIRS = {"name": "my_pairs", "path": "pairs.jsonl"}
REWARDS = ["hub:other", "other/bradley_terry", "tiny/bradley_terry"]


def write_own(folder: Path) -> dict[str, Any]:
    path = write_study(folder, bradley_terry=RECIPE | {"learning_rates": [1e-3]}, objectives=["bradley_terry"])
    study: dict[str, Any] = yaml.safe_load(path.read_text())
    write_base(folder / "base", seed=1)
    study["models"].append(study["models"][0] | {"model_id": "other", "hub_id": "./base", "params_b": 0.2})
    for name in ("test_set", "ratings"):
        del study["training"][name]
    write_classifier(folder / "rm", LlamaConfig(**SIZES))
    study["reward_models"] = [{"reward_id": "hub:other", "path": "./rm", "precision": "float32", "family": "Llama"}]
    data_files.write(folder / "pairs.jsonl", own_pairs(60))
    write_json(folder / "rb2.json", best_of_4_items())
    return study | {"benchmark_sets": [MY_PAIRS]}


def save(folder: Path, study: dict[str, Any]) -> None:
    (folder / "study.yaml").write_text(yaml.safe_dump(study))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    found = tmp_path_factory.mktemp("own") / "studies"
    save(found, write_own(found))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.programs.STUDIES", found)
        yield found


def run(home: Path) -> str:
    done = run_program("run", home)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(home: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


def assert_answer_of_pairs(home: Path, said: str) -> None:
    """The scores are those of plain counting, and the gain has the interval of a paired difference."""
    assert "share of the items of my_pairs whose right answer has the highest reward" in said
    won = """
        select reward_id, item_id,
            max(reward) filter (completion = 'correct_1') > max(reward) filter (completion = 'wrong_1')
        from raw.completion_rewards where reward_id != 'hub:other' group by all order by reward_id, item_id
    """
    wins = np.array([is_won for *_, is_won in ask(home, won)], float).reshape(2, 60)  # other, tiny
    found = ask(home, "select model_id, score, benchmark from marts.fct_reward_model_results order by 1")
    assert found == [
        (n, pytest.approx(100 * w.mean()), "my_pairs") for n, w in zip(("other", "tiny"), wins, strict=True)
    ]
    gain = "select gain_points, gain_low, gain_high, is_paired from marts.fct_size_group_gains where not is_default"
    ((points, low, high, is_paired),) = ask(home, gain)
    difference = wins[0] - wins[1]
    assert is_paired and points == pytest.approx(100 * difference.mean())
    error = 100 * difference.std(ddof=1) / np.sqrt(60)
    assert (high - low) / 2 == pytest.approx(1.959964 * error, rel=1e-5)


def test_rewards_on_own_pairs_land_and_follow_the_study(folder: Path, tmp_path: Path) -> None:
    home, scored = tmp_path / "home", "select distinct reward_id from raw.completion_rewards where benchmark = "
    said = run(home)
    assert "rewards of hub:other" in said and "reward model of tiny, bradley_terry" in said
    rewards = ask(home, "select reward_id, benchmark, count(*) from raw.completion_rewards group by all order by all")
    assert rewards == [(name, "my_pairs", 120) for name in REWARDS]
    kinds = ask(home, "select reward_id, kind from raw.reward_sources order by all")
    assert kinds == [(name, "hub" if name == "hub:other" else "trained") for name in REWARDS]
    scores = ask(home, "select reward_id, n, low < value from marts.fct_benchmark_scores where is_main order by 1")
    assert scores == [(name, 60, True) for name in REWARDS]
    assert_answer_of_pairs(home, said)
    costs = ask(home, "select model_id, variant from marts.fct_run_costs where job like 'score%' order by all")
    assert costs == [("hub:other", "my_pairs"), *((name, "bradley_terry@my_pairs") for name in ("other", "tiny"))]

    study = yaml.safe_load((folder / "study.yaml").read_text())
    trained = sorted(path.stat().st_mtime_ns for path in (home / "reward_models").rglob("*"))
    sets = [{"name": "my_pairs_2", "path": "pairs.jsonl"}, {"name": "rewardbench2", "path": "rb2.json"}]
    save(folder, study | {"benchmark_sets": sets, "reward_models": [], "answer_on": "rewardbench2"})
    said = run(home)
    assert "RewardBench 2" in said
    assert ask(home, scored + "'my_pairs'") == []
    for benchmark in ("my_pairs_2", "rewardbench2"):
        assert sorted(ask(home, f"{scored}'{benchmark}'")) == [(name,) for name in REWARDS[1:]]
    assert sorted(path.stat().st_mtime_ns for path in (home / "reward_models").rglob("*")) == trained
    assert ask(home, "select answer_benchmark, answer_chance from marts.dim_studies") == [("rewardbench2", 25.0)]
    means = """
        select model_id || '/' || objective, score from marts.fct_reward_model_results order by all
    """
    of_parts = """
        select reward_id, round(avg(value), 9) from marts.fct_benchmark_scores
        where benchmark = 'rewardbench2' and subset is not null and metric in ('best_of_4', 'ties_score')
        group by all order by all
    """
    assert ask(home, means) == [(name, pytest.approx(value)) for name, value in ask(home, of_parts)]
