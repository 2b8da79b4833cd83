"""Data sets of a hub, fetched over HTTP from a small one on this machine, with the real repositories' file names."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest
import yaml
from huggingface_hub import constants, hf_hub_download

from models_train.data.helpsteer import load_preferences, load_ratings
from models_train.data.rewardbench import load_test_pairs
from models_train.data.sources import data_of
from models_train.errors import UserError
from models_train.jobs.training_job import training_job
from models_train.study import hub as hub_requests
from models_train.study.fingerprints import sample_run_id, training_run_id
from models_train.study.study import Study, load_study
from models_train.study.training import DataSource
from tests.support.data_files import benchmark_item, content, preference, rating
from tests.support.hub_server import COMMIT, Hub
from tests.support.studies import SETTINGS, changed

HELPSTEER2 = {
    "README.md": b"about the data",
    "train.jsonl.gz": content("train.jsonl.gz", [rating("p", 0), rating("p", 1), rating("q", 2)]),
    "validation.jsonl.gz": content("validation.jsonl.gz", [rating("v", 3)]),
    "preference/preference.jsonl.gz": content("p.gz", [preference("p", -2), preference("v", 1, "val")]),
    "disagreements/disagreements.jsonl.gz": content("d.gz", [{"prompt": "p", "helpfulness": [1, 2]}]),
}
REWARDBENCH = {
    "data/filtered-00000-of-00001.parquet": content("f.parquet", [benchmark_item("p", "hep-go", n) for n in range(5)]),
    "data/raw-00000-of-00001.parquet": content("r.parquet", [benchmark_item("raw", "hep-go", n) for n in range(9)]),
}
HERE = Path(".")
NEWEST = DataSource(hub_id="nvidia/HelpSteer2")
LATER = "89" * 20


def test_files_of_each_data_set_are_found_by_their_names_on_the_hub(serve: Callable[[object], Hub]) -> None:
    hub = serve({"nvidia/HelpSteer2": HELPSTEER2, "allenai/reward-bench": REWARDBENCH})
    preferences = load_preferences(DataSource(hub_id="nvidia/HelpSteer2"), HERE)
    assert [(one.strength, one.split) for one in preferences.records] == [(2, "train"), (1, "validation")]
    assert hub.fetched() == ["preference/preference.jsonl.gz"]

    ratings = load_ratings(DataSource(hub_id="nvidia/HelpSteer2", revision=COMMIT), HERE)
    assert ratings.split_rule == "file names"
    assert [one.split for one in ratings.records] == ["train"] * 3 + ["validation"]
    assert hub.fetched()[1:] == ["train.jsonl.gz", "validation.jsonl.gz"]

    pairs = load_test_pairs(DataSource(hub_id="allenai/reward-bench"), HERE)
    assert [pair.item_id for pair in pairs] == ["0", "1", "2", "3", "4"]
    assert hub.fetched()[3:] == ["data/filtered-00000-of-00001.parquet"]


def test_cached_files_are_read_without_the_hub(serve: Callable[[object], Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    source = DataSource(hub_id="nvidia/HelpSteer2", revision=COMMIT)
    hub = serve({"nvidia/HelpSteer2": HELPSTEER2})
    first = load_preferences(source, HERE)
    assert f"nvidia/HelpSteer2 at {COMMIT}, 1 file: 2 rows" in first.notes[0]
    n_asked = len(hub.asked)
    assert load_preferences(source, HERE) == first and len(hub.asked) == n_asked
    assert load_preferences(NEWEST, HERE) == first
    assert len(hub.asked) == n_asked + 1, "which commit is the newest"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_preferences(source, HERE) == load_preferences(NEWEST, HERE) == first


@pytest.mark.parametrize("revision", ["v1", None, LATER[:8]])
def test_a_revision_is_resolved_by_the_first_job_and_is_a_part_of_the_run_ids(
    serve: Callable[[object], Hub], tmp_path: Path, revision: str | None
) -> None:
    hub = serve({"made/data": HELPSTEER2, "made/pairs": REWARDBENCH})
    hub.refs |= {"v1": LATER, "main": LATER}
    stated = {"hub_id": "made/data", "revision": revision}
    settings = changed(SETTINGS, "training.preferences", stated)
    settings = changed(settings, "scoring.corpus.source", {"hub_id": "made/pairs", "revision": revision})
    path, home = tmp_path / "study.yaml", tmp_path / "home"
    path.write_text(yaml.safe_dump(settings))
    (tmp_path / "local").mkdir()

    def run_ids(study: Study) -> tuple[str, str]:
        assert study.training is not None and study.scoring is not None
        model = study.by_id["local"]
        trained = training_run_id(model, study.training, "bradley_terry", tmp_path)
        return trained, sample_run_id(study.scoring.corpus, tmp_path)

    study = load_study(path, home)
    assert study.training is not None and study.scoring is not None
    before = run_ids(study)
    job = training_job(path, "local", "bradley_terry", home)
    sampled = data_of(study.scoring.corpus.source, path, home)
    assert (job.training.preferences.revision, sampled.revision) == (LATER, LATER)
    hub.refs |= {"v1": COMMIT, "main": COMMIT}
    hub.asked.clear()
    after = run_ids(load_study(path, home))
    assert after[0] == job.run_id == training_job(path, "local", "bradley_terry", home).run_id and not hub.asked
    at_commit = changed(settings, "training.preferences.revision", LATER)
    path.write_text(yaml.safe_dump(changed(at_commit, "scoring.corpus.source.revision", LATER)))
    assert run_ids(load_study(path, tmp_path / "other home")) == after
    assert not set(before).intersection(after)


def test_a_revision_that_is_not_there_is_named(serve: Callable[[object], Hub], tmp_path: Path) -> None:
    serve({"made/data": HELPSTEER2})
    with pytest.raises(UserError, match=r"^made/data: the data set at v9 cannot be fetched .* Check hub_id and rev"):
        data_of(DataSource(hub_id="made/data", revision="v9"), tmp_path / "study.yaml", tmp_path)
    assert not list(tmp_path.glob("hub_commits/*"))


def test_a_hub_that_answers_errors_is_as_one_that_is_out_of_reach(
    serve: Callable[[object], Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = serve({"nvidia/HelpSteer2": HELPSTEER2})
    first = load_ratings(NEWEST, HERE)
    hub.broken = True
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client's own pauses are 23 s in all
    assert load_ratings(NEWEST, HERE) == first
    with pytest.raises(UserError, match=r"its file preference/preference.jsonl.gz cannot be fetched from http"):
        load_preferences(NEWEST, HERE)


def test_a_hub_that_is_out_of_order_for_a_moment_is_asked_again(
    serve: Callable[[object], Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = serve({"nvidia/HelpSteer2": HELPSTEER2})
    hub.broken = True
    monkeypatch.setattr(hub_requests, "SECONDS_BETWEEN_ATTEMPTS", (0.25,) * 8)
    timer = Timer(0.6, lambda: setattr(hub, "broken", False))
    timer.start()
    assert load_ratings(NEWEST, HERE).n_rows == 4
    timer.join()


@pytest.mark.parametrize("source", [NEWEST, DataSource(hub_id="nvidia/HelpSteer2", revision=COMMIT)])
def test_a_part_of_a_data_set_in_the_cache_is_not_taken_for_all_of_it(
    serve: Callable[[object], Hub], source: DataSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = serve({"nvidia/HelpSteer2": HELPSTEER2})
    hf_hub_download("nvidia/HelpSteer2", "train.jsonl.gz", repo_type="dataset", revision=source.revision)
    message = r"1 of its data files is in the cache here, but whether these are all is not known"
    monkeypatch.setattr(hub_requests, "SECONDS_BETWEEN_ATTEMPTS", (0,))
    hub.broken = True
    with pytest.raises(UserError, match=message):
        load_ratings(source, HERE)
    hub.broken = False
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"\(HF_HUB_OFFLINE is set\); " + message):
        load_ratings(source, HERE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert load_ratings(source, HERE).n_rows == 4


def test_a_repository_with_the_same_rows_in_two_forms_is_refused(serve: Callable[[object], Hub]) -> None:
    serve({"made/two": HELPSTEER2 | {"train.parquet": content("train.parquet", [rating("p", 0)])}})
    with pytest.raises(
        UserError, match=r"made/two: train.jsonl.gz and train.parquet differ only .*; fetch one of them"
    ):
        load_ratings(DataSource(hub_id="made/two"), HERE)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (DataSource(hub_id="nvidia/HelpSteer9"), "nvidia/HelpSteer9: the data set cannot be fetched from http://127"),
        (DataSource(hub_id="nvidia/HelpSteer2", revision="f" * 40), f"the data set at {'f' * 40} cannot be fetched"),
        (DataSource(hub_id="made/empty"), "made/empty: no data file, which ends with .jsonl"),
        (DataSource(hub_id="not a repository"), "not a repository: the data set cannot be fetched"),
    ],
)
def test_a_data_set_that_is_not_there_is_named_with_the_remedy(
    serve: Callable[[object], Hub], source: DataSource, words: str
) -> None:
    serve({"nvidia/HelpSteer2": HELPSTEER2, "made/empty": {"README.md": b""}})
    with pytest.raises(UserError) as error:
        load_preferences(source, HERE)
    assert words in str(error.value)


def test_an_unreachable_hub_is_reported_with_its_address(
    serve: Callable[[object], Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve({})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"cannot be fetched from http://127.0.0.1:.*HF_ENDPOINT"):
        load_preferences(DataSource(hub_id="nvidia/HelpSteer2"), HERE)
