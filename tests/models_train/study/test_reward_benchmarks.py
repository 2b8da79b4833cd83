"""Settings of benchmarks of reward models and of score imports: defaults, and the words on contradictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models_train.study.reward_benchmarks import BenchmarkSet
from models_train.study.reward_ids import stated_sources
from models_train.study.study import load_study
from models_train.study.yaml_lines import StudyError
from tests.support.score_files import entry, study_with

SETS = [{"name": "rewardmath", "path": "a"}, {"name": "mine", "path": "b", "kind": "pairs", "split": "test"}]
TRAINING = {"preferences": {"path": "p"}, "test_set": {"path": "t"}, "objectives": ["bradley_terry"]}


def told(tmp_path: Path, *imports: dict[str, Any], sets: Any = SETS, **more: Any) -> str:
    with pytest.raises(StudyError) as caught:
        load_study(study_with(tmp_path, imports, sets, **more))
    return str(caught.value)


def test_kind_by_name(tmp_path: Path) -> None:
    assert BenchmarkSet(name="rewardmath", path="x").rows_kind == "rewardmath"
    assert BenchmarkSet(name="mine", path="x").rows_kind is None
    assert BenchmarkSet(name="mine", path="x", kind="judgebench").rows_kind == "judgebench"
    study = load_study(study_with(tmp_path, [entry("x", "plain", benchmark="mine")], SETS))
    assert [one.name for one in study.benchmark_sets] == ["rewardmath", "mine"]
    assert study.score_imports[0].scale == "logit"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sets": [{"name": "rewardmath", "path": "a", "kind": "pairs"}]}, "has the kind pairs, but the name"),
        ({"sets": [{"name": "a", "path": "a"}, {"name": "a", "path": "b"}]}, "the benchmark 'a' is already listed at"),
        ({"sets": [{"name": "a"}]}, "needs either hub_id or path, one of them"),
        ({"sets": [{"name": "a", "path": "a", "revision": "main"}]}, "has a revision, which goes with hub_id only"),
        ({"sets": [{"name": "a", "path": "a", "kind": "triples"}]}, "benchmark_sets[0].kind: 'triples' should be"),
        ({"sets": [{"name": "a", "path": "a", "splits": "test"}]}, "benchmark_sets[0].splits: unknown key; did you"),
        ({"sets": [{"name": "rewardbench", "path": "a"}], "training": TRAINING},
         "benchmark_sets[0].name: 'rewardbench' is the test set of training already; remove this entry"),
        ({"sets": {"name": "a"}}, "must be a list"),
    ],
)  # fmt: skip
def test_sets_that_contradict(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    if "sets" in change and isinstance(change["sets"], dict):
        path = study_with(tmp_path)
        path.write_text(path.read_text().replace("benchmark_sets: []", "benchmark_sets: {name: a}"))
        with pytest.raises(StudyError, match=said):
            load_study(path)
        return
    assert said in told(tmp_path, **change)


def test_training_needs_a_test_set_or_a_set(tmp_path: Path) -> None:
    without = {name: value for name, value in TRAINING.items() if name != "test_set"}
    said = told(tmp_path, sets=[], training=without)
    assert "training: trains reward models, but the study names nothing to compare them on; name test pairs" in said
    assert said.endswith("as test_set here, or other benchmarks, such as pairs of your own, under benchmark_sets")
    assert "nothing to compare them on" not in told(tmp_path, sets=[{"name": "a"}], training=without), "one problem"
    for sets in ([{"name": "mine", "path": "a"}], [{"name": "rewardbench", "path": "a"}]):
        study = load_study(study_with(tmp_path, [], sets, training=without))
        assert study.test_set is None and study.reward_benchmarks == (sets[0]["name"],)
    study = load_study(study_with(tmp_path, [], SETS, training=TRAINING))
    assert study.reward_benchmarks == ("rewardbench", "rewardmath", "mine")


def scored(reward_id: str = "hub:other", **more: Any) -> dict[str, Any]:
    """An entry of reward_models."""
    return {"reward_id": reward_id, "hub_id": "org/other", **more}


def test_reward_models_by_default(tmp_path: Path) -> None:
    folder = {"reward_id": "mine", "path": "./rm", "merge_weights": {0: 1.0, "safe": -0.5}, "base_model": "tiny"}
    study = load_study(study_with(tmp_path, [], SETS, reward_models=[scored(), folder | {"remote_code": True}]))
    one, other = study.reward_models
    assert (one.precision, one.max_tokens, one.scale, one.is_local) == ("bfloat16", 4096, "logit", False)
    assert other.is_local and other.merge_weights == {"0": 1.0, "safe": -0.5}
    row, own = stated_sources(study)
    assert (row["reward_id"], row["kind"], row["hub_id"], row["model_id"]) == ("hub:other", "hub", "org/other", None)
    assert (own["kind"], own["model_id"], own["family"], own["params_b"]) == ("hub", "tiny", "Llama-3", 8.0)


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([{"reward_id": "x"}], "reward_models[0]: needs either hub_id or path, one of them"),
        ([scored(path="./rm")], "needs either hub_id or path, one of them"),
        ([{"reward_id": "x", "path": "./rm", "revision": "main"}], "has a revision, which goes with hub_id only"),
        ([scored(hub_id="./rm")], "has a folder as hub_id; give the folder as path instead"),
        ([scored("tiny/bradley_terry")], "are those of the reward models that are trained here; give it another"),
        ([scored(), scored()], "the reward model 'hub:other' is already listed at reward_models[0]; keep one of them"),
        (
            [scored("hub:RM")],
            "reward_models[0].reward_id: 'hub:RM' is also the reward_id of the scores of score_imports[0]; give one of",
        ),
        ([scored(remote_code=True)], "runs code of the repository, but states no commit as revision; add it, or"),
        ([scored(remote_code=True, revision="main")], "runs code of the repository, but states no commit"),
        ([scored(merge_weights={"a": 1.0})], "reward_models[0].merge_weights: needs a weight of each output, of which"),
        (
            [scored(merge_weights={"a": 0.0, "b": 0})],
            "merge_weights: has weights that are all 0; give one output another weight",
        ),
        (
            [scored(merge_weights={"a": float("nan"), "b": 1.0})],
            "reward_models[0].merge_weights.a: nan must be a finite",
        ),
        ([scored(merge_weights=[1.0, 2.0])], "reward_models[0].merge_weights: [1.0, 2.0]"),
        ([scored(max_tokens=2)], "reward_models[0].max_tokens: 2 should be greater than or equal to 8"),
        ([scored(precision="int8")], "reward_models[0].precision: 'int8' should be"),
        ([scored(tokens=3)], "reward_models[0].tokens: unknown key"),
    ],
)
def test_reward_models_that_contradict(tmp_path: Path, models: list[dict[str, Any]], said: str) -> None:
    assert said in told(tmp_path, entry("x", "rewardmath"), reward_models=models)


def test_reward_models_need_a_benchmark(tmp_path: Path) -> None:
    said = told(tmp_path, sets=[], reward_models=[scored()])
    assert "reward_models: the study names nothing to score reward models on; name a benchmark under benchmark" in said
    assert load_study(study_with(tmp_path, [], [], training=TRAINING, reward_models=[scored()])).reward_models


@pytest.mark.parametrize(
    ("imports", "said"),
    [
        ([entry("x", "csv")], "score_imports[0].format: 'csv' should be"),
        ([{"path": "x", "format": "plain"}], "score_imports[0].reward_id: missing; add this key"),
        (
            [entry("x", "plain", "a/regression")],
            "are those of the reward models that are trained here; give it another",
        ),
        ([entry("x", "plain", "a/bradley_terry/s1")], "give it another, such as 'import:a'"),
        ([entry("x", "plain", revision="main")], "has a revision, which goes with hub_id only; add hub_id"),
        (
            [entry("x", "plain", benchmark="mnie")],
            "the benchmark 'mnie' is not under benchmark_sets; did you mean 'mine'",
        ),
        ([entry("x", "plain", params_b=-1.0)], "score_imports[0].params_b: -1.0 should be greater than 0"),
        ([entry("x", "plain", params_b="8")], "must be a number, without quotes"),
        (
            [entry("x", "plain", family="Llama-3"), entry("y", "plain", family="Qwen2")],
            "score_imports[1].family: 'Qwen2', but score_imports[0] has 'Llama-3' for 'hub:RM'; one reward model is",
        ),
    ],
)
def test_imports_that_contradict(tmp_path: Path, imports: list[dict[str, Any]], said: str) -> None:
    assert said in told(tmp_path, *imports)
