"""Run ids: every setting, file and folder that changes a result changes its run id, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from models_train.study.fingerprints import (
    LocationError,
    content_of,
    donors,
    evaluation_run_id,
    evaluation_run_ids,
    resolve,
    sample_run_id,
    scored_run_id,
    scoring_run_id,
    training_run_id,
)
from models_train.study.models import StudyModel
from models_train.study.reward_benchmarks import ScoredRewardModel
from models_train.study.settings import Objective
from models_train.study.study import Study
from tests.support.studies import SETTINGS, changed, study_of

BOTH: tuple[Objective, ...] = ("bradley_terry", "regression")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the study file, with the files that SETTINGS names."""
    for name in ("preferences", "ratings", "test_set", "documents"):
        (tmp_path / f"{name}.jsonl").write_text(f"{name}\n")
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "config.json").write_text("{}")
    return tmp_path


def names(folder: Path, settings: dict[str, Any], model_id: str = "hub") -> dict[str, str]:
    """Every name of a study's model."""
    study = study_of(settings)
    model = next(model for model in study.models if model.model_id == model_id)
    assert study.training is not None and study.scoring is not None
    found = {
        "sample": sample_run_id(study.scoring.corpus, folder),
        "scoring": scoring_run_id(model, study.scoring, folder),
    }
    for objective in BOTH:
        found[f"training {objective}"] = training_run_id(model, study.training, objective, folder)
        found[f"evaluation {objective}"] = evaluation_run_id(model, study.training, objective, folder)
    return found


BT = {"training bradley_terry", "evaluation bradley_terry"}
REGRESSION = {"training regression", "evaluation regression"}
SAMPLE = {"sample", "scoring"}

CHANGES: list[tuple[str, Any, set[str]]] = [
    ("title", "Another", set()),
    ("models.0.params_b", 2.0, set()),
    ("models.0.stage", "instruct", set()),
    ("models.0.revision", "1" * 40, BT | REGRESSION | {"scoring"}),
    ("models.0.hub_id", "org/other", BT | REGRESSION | {"scoring"}),
    ("training.bradley_terry.learning_rates", [1e-6, 2e-6], BT),
    ("training.bradley_terry.max_tokens", 1024, BT),
    ("training.regression.epochs", 3, REGRESSION),
    ("training.search.seeds", [0, 1], BT | REGRESSION),
    ("training.seeds", [0, 1], set()),
    ("training", SETTINGS["training"] | {"seeds": [1], "seeds_of": ["local"]}, set()),
    ("training.precision", "float32", BT | REGRESSION),
    ("training.thoughts", "cut", BT | REGRESSION),
    ("training.tokens_per_pack", 4096, set()),
    ("training.objectives", ["regression"], set()),
    ("training.preferences.path", "./documents.jsonl", BT | REGRESSION),
    ("training.ratings.path", "./documents.jsonl", REGRESSION),
    ("training.test_set.path", "./documents.jsonl", {"evaluation bradley_terry", "evaluation regression"}),
    ("scoring.corpus.seed", 1, SAMPLE),
    ("scoring.corpus.documents_per_domain", 7, SAMPLE),
    ("scoring.corpus.source.path", "./ratings.jsonl", SAMPLE),
    ("scoring.engine", "vllm", {"scoring"}),
    ("scoring.max_document_tokens", 64, {"scoring"}),
    ("scoring.documents_per_shard", 5, {"scoring"}),
    ("scoring.share_within_family", False, set()),
    ("scoring.fixed_bins", {"min_k": {"low": -9, "high": 0}}, set()),
]


@pytest.mark.parametrize(("key", "value", "renamed"), CHANGES, ids=[key for key, _, _ in CHANGES])
def test_a_name_changes_with_what_the_result_depends_on(folder: Path, key: str, value: Any, renamed: set[str]) -> None:
    before, after = names(folder, SETTINGS), names(folder, changed(SETTINGS, key, value))
    assert {name for name in before if before[name] != after[name]} == renamed
    assert len(set(before.values())) == len(before)


@pytest.mark.parametrize(
    ("file", "renamed"),
    [
        ("preferences.jsonl", BT | REGRESSION),
        ("ratings.jsonl", REGRESSION),
        ("test_set.jsonl", {"evaluation bradley_terry", "evaluation regression"}),
        ("documents.jsonl", SAMPLE),
        ("local/config.json", BT | REGRESSION | {"scoring"}),
    ],
)
def test_a_name_changes_with_the_content_of_files(folder: Path, file: str, renamed: set[str]) -> None:
    before = names(folder, SETTINGS, "local")
    (folder / file).write_text("something else")
    after = names(folder, SETTINGS, "local")
    assert {name for name in before if before[name] != after[name]} == renamed


@pytest.mark.parametrize(
    ("change", "is_renamed"),
    [
        ({"hub_id": "org/second"}, True),
        ({"revision": "1" * 40}, True),
        ({"precision": "float32"}, True),
        ({"max_tokens": 100}, True),
        ({"merge_weights": {"a": 1.0, "b": 2.0}}, True),
        ({"merge_weights": {"a": 1.0, "b": -1.0}}, False),
        ({"remote_code": True}, True),
        ({"reward_id": "hub:second"}, True),
        ({"base_model": "hub", "objective": "regression", "family": "F", "params_b": 3.0, "scale": "bounded"}, False),
        ({"hub_id": None, "path": "./local"}, True),
    ],
)
def test_a_scored_reward_model_has_a_name_by_what_its_rewards_depend_on(
    folder: Path, change: dict[str, Any], is_renamed: bool
) -> None:
    own = {"reward_id": "hub:first", "hub_id": "org/first", "merge_weights": {"a": 1.0, "b": -1.0}}
    before, after = (scored_run_id(ScoredRewardModel.model_validate(one), folder) for one in (own, own | change))
    assert (before != after) == is_renamed


def test_rewards_have_a_name_per_benchmark(folder: Path) -> None:
    (folder / "pairs.jsonl").write_text("{}")
    sets = [{"name": name, "path": "pairs.jsonl"} for name in ("one", "two")]
    study = study_of(changed(SETTINGS, "benchmark_sets", sets))
    assert study.training is not None
    trained = training_run_id(study.models[0], study.training, "regression", folder)
    found = evaluation_run_ids(trained, study, folder)
    assert list(found) == ["rewardbench", "one", "two"] and len(set(found.values())) == 3
    assert found["rewardbench"] == evaluation_run_id(study.models[0], study.training, "regression", folder)
    (folder / "pairs.jsonl").write_text("{ }")
    after = evaluation_run_ids(trained, study, folder)
    assert [name for name in found if found[name] != after[name]] == ["one", "two"]
    assert not set(found.values()) & set(evaluation_run_ids("other", study, folder).values())


def test_auto_has_the_names_of_the_engines(folder: Path) -> None:
    """Scores of a study that says nothing of its engine have the names of those that name it."""
    found = {}
    for engine in (None, "auto", "packed", "vllm"):
        study = study_of(SETTINGS if engine is None else changed(SETTINGS, "scoring.engine", engine))
        assert study.scoring is not None
        found[engine] = [scoring_run_id(study.models[0], study.scoring, folder, one) for one in study.scoring.engines]
    assert found["packed"] == ["94d653d5ec34"] and found["vllm"] == ["7b21ae6ee677"]
    assert found[None] == found["auto"] == ["94d653d5ec34", "7b21ae6ee677"]


def test_names_do_not_depend_on_where_the_study_lies(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("elsewhere") / "study"
    folder.rename(other)
    moved = names(other, SETTINGS, "local")
    other.rename(folder)
    assert moved == names(folder, SETTINGS, "local")


def test_a_missing_file_is_an_error(folder: Path) -> None:
    (folder / "preferences.jsonl").unlink()
    with pytest.raises(LocationError, match=r"preferences\.jsonl"):
        names(folder, SETTINGS)


def family(*models: tuple[str, str, float | None, float | None, str], share: bool = True) -> Study:
    """A study of models, each given by model_id, family, params_b, tokens_t and stage."""
    keys = ("model_id", "family", "params_b", "tokens_t", "stage")
    listed = [dict(zip(keys, model, strict=True), hub_id=f"org/{model[0]}") for model in models]
    groups = [{"name": "all", "params_b_from": 0, "default": models[0][0]}]
    settings = changed(changed(SETTINGS, "models", listed), "size_groups", groups)
    return study_of(changed(settings, "scoring.share_within_family", share))


def test_the_largest_model_of_a_family_stands_for_those_with_as_many_tokens() -> None:
    study = family(
        ("a-1", "A", 1.0, 15.0, "base"),
        ("a-8", "A", 8.0, 15.0, "instruct"),
        ("a-8-old", "A", 8.0, 2.0, "base"),
        ("b-70", "B", 70.0, 15.0, "base"),
        ("a-3", "A", 3.0, 15.0, "base"),
        ("a-unknown", "A", 3.0, None, "base"),
    )
    own = {"a-8": "a-8", "a-8-old": "a-8-old", "b-70": "b-70", "a-unknown": "a-unknown"}
    assert donors(study) == {"a-1": "a-8", "a-3": "a-8"} | own


def test_of_equally_large_models_the_base_model_stands_for_the_others() -> None:
    study = family(("it", "A", 8.0, 15.0, "instruct"), ("base", "A", 8.0, 15.0, "base"), ("dpo", "A", 8.0, 15.0, "dpo"))
    assert set(donors(study).values()) == {"base"}
    study = family(("it", "A", 8.0, 15.0, "instruct"), ("dpo", "A", 8.0, 15.0, "dpo"))
    assert set(donors(study).values()) == {"it"}


def test_without_sharing_every_model_stands_for_itself() -> None:
    models = (("a-1", "A", 1.0, 15.0, "base"), ("a-8", "A", 8.0, 15.0, "base"))
    assert donors(family(*models, share=False)) == {"a-1": "a-1", "a-8": "a-8"}
    assert donors(family(*models)) == {"a-1": "a-8", "a-8": "a-8"}


@pytest.mark.parametrize(
    ("hub_id", "local"),
    [
        ("meta-llama/Llama-3.2-1B", False),
        ("gpt2", False),
        (".hidden/name", False),
        ("/models/a", True),
        ("./a", True),
        ("../a", True),
        ("~/a", True),
        ("$REWARDBASE_HOME/zoo/a", True),
        ("${HOME}/a", True),
    ],
)
def test_a_folder_is_distinguished_from_a_hub_id(hub_id: str, local: bool) -> None:
    model = StudyModel.model_validate({"model_id": "m", "hub_id": hub_id, "family": "f", "stage": "base"})
    assert model.is_local is local


def test_paths_begin_at_the_study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "study"
    (folder / "data").mkdir(parents=True)
    (tmp_path / "beside").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA", str(folder / "data"))
    monkeypatch.chdir("/")
    for path in ("data", "./data", "$DATA", "${DATA}", "~/study/data", str(folder / "data"), "data/../data"):
        assert resolve(path, folder) == folder / "data"
    assert resolve("../beside", folder) == tmp_path / "beside"


def test_a_missing_path_is_an_error_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(LocationError, match=r"\$NOT_SET/a: the variable in it is not set; set it, or write"):
        resolve("$NOT_SET/a", tmp_path)
    with pytest.raises(LocationError, match=f"./a: there is no {tmp_path}/a; correct the path in the study file"):
        resolve("./a", tmp_path)


def files(folder: Path, **contents: str) -> Path:
    for name, content in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_content_is_names_and_bytes_without_place_and_time(tmp_path: Path) -> None:
    one = files(tmp_path / "one", a="1", sub__b="2")
    other = files(tmp_path / "other", sub__b="2", a="1")
    os.utime(other / "a", (1, 1))
    assert content_of(one) == content_of(other) and len(content_of(one)) == 64
    files(other, **{".cache": "x", ".git__config": "y"})
    assert content_of(one) == content_of(other)
    different = {
        content_of(files(tmp_path / name, **contents))
        for name, contents in (
            ("c", {"a": "2", "sub__b": "1"}),
            ("d", {"a": "12", "sub__b": ""}),
            ("e", {"a": "1", "b": "2"}),
            ("f", {"a": "1"}),
            ("g", {"b": "1"}),
        )
    } | {content_of(one), content_of(one / "a")}
    assert len(different) == 7


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = files(tmp_path, a="1") / "a"
    before = content_of(path)
    assert content_of(path) == before
    path.write_text("2")
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    assert content_of(path) != before


def test_links_count_as_what_they_lead_to(tmp_path: Path) -> None:
    """A hub's cache holds links to its files."""
    real = files(tmp_path / "real", a="1")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "a").symlink_to(real / "a")
    assert content_of(linked) == content_of(real)
