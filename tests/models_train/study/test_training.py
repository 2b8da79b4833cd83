"""Settings of training and scoring in a study file: the paper's defaults, and the messages of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from models_train.study.reward_ids import trained_reward_id, trained_reward_ids, trained_sources
from models_train.study.study import Study, load_study
from models_train.study.training import BRADLEY_TERRY_RATES, REGRESSION_RATES, DataSource, Recipe, Training
from models_train.study.yaml_lines import StudyError
from tests.support.studies import SETTINGS, changed, study_of

REPOSITORY = Path(__file__).resolve().parents[3]


def loaded(tmp_path: Path, settings: dict[str, Any]) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return load_study(path)


def test_the_defaults_are_the_papers() -> None:
    """Section 3.1 and definitions, Section 9."""
    hub = DataSource(hub_id="a/b")
    training = Training(preferences=hub, ratings=hub, test_set=hub)
    one, other = training.recipe("bradley_terry"), training.recipe("regression")
    rates = {float(f"{n}e-7") for n in (5, 6, 7, 8, 9)} | {float(f"{n}e-6") for n in (1, 2, 3, 4, 5)}
    assert set(one.learning_rates) == set(BRADLEY_TERRY_RATES) == rates
    assert set(other.learning_rates) == set(REGRESSION_RATES)
    assert set(REGRESSION_RATES) == {float(f"{n}e-{power}") for n in (1, 3, 5, 7, 9) for power in (6, 7)}
    assert (one.epochs, other.epochs) == (1, 2)
    for recipe in (one, other):
        assert (recipe.global_batch, recipe.warmup_steps, recipe.checkpoint_every) == (64, 20, 20)
    assert training.search.method == "exhaustive" and training.search.seeds == (0,)
    assert training.objectives == ("bradley_terry", "regression")


def test_a_study_file_gives_every_setting(tmp_path: Path) -> None:
    study = loaded(tmp_path, SETTINGS)
    assert study.training is not None and study.scoring is not None
    assert study.training.recipe("bradley_terry").learning_rates == (1e-6,)
    assert study.training.ratings == DataSource(path="./ratings.jsonl")
    assert study.scoring.corpus.documents_per_domain == 200_000 and study.scoring.max_document_tokens == 2048
    without = {name: value for name, value in SETTINGS.items() if name not in ("training", "scoring")}
    assert loaded(tmp_path, without).training is None and loaded(tmp_path, without).scoring is None


def test_seeds_of_some_base_models_give_them_alone_a_further_reward_model() -> None:
    settings = changed(SETTINGS, "training.seeds", [0, 3])
    seeds = {"bradley_terry": [None, 3], "regression": [None, 3]}
    one = {"bradley_terry": [None], "regression": [None]}
    for of, expected in ((None, {"hub": seeds, "local": seeds}), (["local"], {"hub": one, "local": seeds})):
        study = study_of(settings if of is None else changed(settings, "training.seeds_of", of))
        assert study.training is not None
        wanted = {
            trained_reward_id(model, objective, seed)
            for model, objectives in expected.items()
            for objective, found in objectives.items()
            for seed in found
        }
        assert trained_reward_ids(study) == wanted
        assert {row["reward_id"]: row["seed"] for row in trained_sources(study)} == {
            name: 3 if name.endswith("/s3") else 0 for name in wanted
        }


def test_seeds_of_models_without_a_reward_model_are_refused(tmp_path: Path) -> None:
    settings = changed(SETTINGS, "training.seeds", [1])
    settings["models"] += [{**settings["models"][0], "model_id": "parent", "is_compared": False}]
    settings["candidates"] = [{**settings["models"][0], "model_id": "candidate", "publisher": "p"}]
    with pytest.raises(StudyError) as caught:
        loaded(tmp_path, changed(settings, "training.seeds_of", ["candidate", "hub", "parent"]))
    assert [line.split(": ", 1)[1] for line in str(caught.value).splitlines()] == [
        f"training.seeds_of[{place}]: {name!r} has no reward model, because it is a candidate or has is_compared: "
        "false; remove it"
        for place, name in ((0, "candidate"), (2, "parent"))
    ]
    # A model whose own entry has a problem is listed nevertheless.
    settings["models"][1]["params_b"] = "many"
    with pytest.raises(StudyError) as caught:
        loaded(tmp_path, changed(settings, "training.seeds_of", ["local"]))
    assert "training.seeds_of" not in str(caught.value)


def test_the_shipped_studies_load() -> None:
    paths = sorted((REPOSITORY / "dagster_project" / "studies").rglob("*.yaml"))
    assert paths
    for path in paths:
        load_study(path)


WRONG: list[tuple[str, Any, str]] = [
    ("training.preferences", {}, "needs either hub_id or path, one of them"),
    ("training.preferences", {"hub_id": "a/b", "path": "c"}, "needs either hub_id or path, one of them"),
    ("training.test_set.revision", "1" * 40, "has a revision, which goes with hub_id only; remove it"),
    ("training.preferences", {"hub_id": "a/b", "revision": "a..b"}, "is no revision; give a commit, branch or tag"),
    ("training.ratings", None, "lists the objective regression, which needs ratings; add them"),
    ("training.bradley_terry.learning_rates", [], "at least 1"),
    ("training.bradley_terry.learning_rates", [1e-6, 1e-6], "lists 1e-06 twice; remove one"),
    ("training.bradley_terry.learning_rates", [0.0], "greater than 0"),
    ("training.bradley_terry.learning_rates", [float("nan")], "finite"),
    ("training.bradley_terry.learning_rates", ["1e-6"], "learning_rates"),
    ("training.bradley_terry.epochs", 0, "greater than 0"),
    ("training.bradley_terry.global_batch", 1.5, "whole number"),
    ("training.bradley_terry.warmup_steps", -1, "greater than or equal to 0"),
    ("training.bradley_terry.max_tokens", 7, "greater than or equal to 8"),
    ("training.bradley_terry.over_long", "right_truncate", "'drop' or 'left_truncate'"),
    ("training.bradley_terry.weight_decay", -0.1, "greater than or equal to 0"),
    ("training.bradley_terry.adam_betas", [0.9], "adam_betas"),
    ("training.bradley_terry.adam_betas", [0.9, 1.0], "adam_betas"),
    ("training.bradley_terry.adam_epsilon", 0.0, "greater than 0"),
    ("training.objectives", [], "at least 1"),
    ("training.objectives", ["dpo"], "'bradley_terry' or 'regression'"),
    ("training.objectives", ["regression", "regression"], "twice"),
    ("training.search.rungs", [0.4, 0.15, 1.0], "must have rungs that ascend and end with 1"),
    ("training.search.rungs", [0.15, 0.4], "must have rungs that ascend and end with 1"),
    ("training.search.seeds", [], "at least 1"),
    ("training.search.seeds", [-1], "greater than or equal to 0"),
    ("training.search.seeds", [1, 1], "twice"),
    ("training.search.keep", 1.0, "less than 1"),
    ("training.seeds_of", [], "is empty; list at least 1 entry"),
    ("training.seeds_of", ["local"], "'local' gets no further reward model; give a seed that the search"),
    ("training.seeds_of", ["locl"], "training.seeds_of[0]: 'locl' is not among the models; did you mean 'local'?"),
    ("training.seeds_of", ["local", "local"], "lists local twice; remove one"),
    ("training.seeds_of", "local", "must be a list"),
    ("training.precision", "float16", "'bfloat16' or 'float32'"),
    ("training.tokens_per_pack", 0, "greater than 0"),
    ("training.learning_rate", 1e-6, "learning_rate"),
    ("scoring.corpus.domains", ["GitHub"], "'Github', 'Book', 'ArXiv', 'Wikipedia' or 'StackExchange'"),
    ("scoring.corpus.domains", ["Book", "Book"], "twice"),
    ("scoring.corpus.name", "My texts", "lower-case letters"),
    ("scoring.corpus.documents_per_domain", 0, "greater than 0"),
    ("scoring.engine", "hf", "'auto', 'packed' or 'vllm'"),
    ("scoring.max_document_tokens", 1, "greater than or equal to 2"),
]


@pytest.mark.parametrize(("key", "value", "said"), WRONG, ids=[f"{key}={value}" for key, value, _ in WRONG])
def test_a_wrong_setting_is_reported_with_its_line(tmp_path: Path, key: str, value: Any, said: str) -> None:
    with pytest.raises(StudyError) as caught:
        loaded(tmp_path, changed(SETTINGS, key, value))
    message = str(caught.value)
    assert said in message
    assert "Input should" not in message and "Value error" not in message
    near = line_of((tmp_path / "study.yaml").read_text(), key)
    for problem in message.splitlines():
        number = int(problem.removeprefix(f"{tmp_path}/study.yaml:").split(":")[0])
        assert near - 2 <= number <= near + 2 or "needs ratings" in problem


def line_of(text: str, key: str) -> int:
    """Line of a key, one within the other."""
    lines, number = text.splitlines(), 0
    for step in key.split("."):
        number = next(i for i, line in enumerate(lines) if i >= number and line.strip().startswith(f"{step}:"))
    return number + 1


def test_a_recipe_can_leave_gradients_unclipped() -> None:
    assert Recipe(learning_rates=(1e-6,), max_gradient_norm=None).max_gradient_norm is None
