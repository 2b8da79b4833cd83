"""Further seeds of training: reward models at the rate of the search, named and scored beside its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models_train.jobs import score_completions, train_reward_model
from models_train.study.fingerprints import evaluation_run_id, seed_run_id, training_run_id
from models_train.study.study import Study, load_study
from tests.support import data_files
from tests.support.made_data import test_pairs as made_pairs
from tests.support.reward_studies import MODEL_ID, RECIPE, arguments, write_study
from warehouse.part_files import Part, read_part

pytestmark = pytest.mark.slow
RATE: dict[str, Any] = {
    "bradley_terry": RECIPE | {"learning_rates": [1e-3]},
    "objectives": ["bradley_terry"],
    "search": {"seeds": [0]},
}


def ids(study: Study, folder: Path, seed: int | None) -> tuple[str, str]:
    """Run ids of a reward model and of its rewards."""
    assert study.training is not None
    model = study.by_id[MODEL_ID]
    trained = seed_run_id(training_run_id(model, study.training, "bradley_terry", folder), seed)
    return trained, evaluation_run_id(model, study.training, "bradley_terry", folder, seed)


def weights(home: Path, run_id: str) -> dict[str, torch.Tensor]:
    return load_file(home / "reward_models" / run_id / "model.safetensors")


def test_a_further_seed_is_trained_as_a_search_with_that_seed_would_and_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, home = write_study(tmp_path / "two", **RATE, seeds=[0, 7]), tmp_path / "home"
    data_files.write(study.parent / "test_set.jsonl", made_pairs(3)[::20])
    for job in (train_reward_model, score_completions):
        job.main(arguments(study, home))
    read, folder = load_study(study), study.parent
    first, further = ids(read, folder, None), ids(read, folder, 7)
    parts: dict[str, list[Part]] = {}
    for path in sorted((home / "parts").rglob("*.parquet")):
        parts.setdefault(path.parent.parent.name, []).append(read_part(path))
    rewards = {part.run_id: dict(part.partition)["reward_id"] for part in parts["completion_rewards"]}
    assert rewards == {first[1]: f"{MODEL_ID}/bradley_terry", further[1]: f"{MODEL_ID}/bradley_terry/s7"}
    assert [part.run_id for part in parts["reward_model_searches"]] == [first[0]], "the record of the search stays"
    assert len(parts["benchmark_items"]) == 1
    costs = {(dict(part.partition)["job"], dict(part.partition)["variant"]) for part in parts["run_costs"]}
    both = ("bradley_terry", "bradley_terry/s7")
    assert costs == {(job, one) for job in ("train_reward_model", "score_completions") for one in both}

    alone, other = write_study(tmp_path / "alone", **RATE | {"search": {"seeds": [7]}}), tmp_path / "other"
    train_reward_model.main(arguments(alone, other))
    trained = weights(home, further[0])
    expected = weights(other, ids(load_study(alone), alone.parent, None)[0])
    assert trained.keys() == expected.keys() and all(torch.equal(trained[name], expected[name]) for name in trained)
    assert not all(torch.equal(trained[name], one) for name, one in weights(home, first[0]).items())

    before = sorted((path, path.stat().st_mtime_ns) for path in home.rglob("*.parquet"))
    capsys.readouterr()
    for job in (train_reward_model, score_completions):
        job.main(arguments(study, home))
    said = capsys.readouterr().out
    assert sorted((path, path.stat().st_mtime_ns) for path in home.rglob("*.parquet")) == before
    assert f"{MODEL_ID}, bradley_terry, seed 7: the reward model is there; nothing to do" in said
    assert f"{MODEL_ID}, bradley_terry, seed 7: the rewards are there; nothing to do" in said
