"""What is due: nothing twice, nothing forgotten."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pytest
import yaml

from dagster_project.lib.due import (
    due_work,
    golds_due,
    gpu_work,
    imports_due,
    is_first,
    leaderboards_due,
    new_studies,
    samples_due,
    scores_due,
    studies_without_parts,
    study_files,
)
from dagster_project.lib.keys import (
    BENCHMARKS,
    COMPLETION_REWARDS,
    DOCUMENT_SCORES,
    HUB_REWARDS,
    REWARD_MODELS,
    SCORE_IMPORTS,
)
from dagster_project.lib.keys import GOLD_REWARDS as GOLD_ASSET
from models_train.jobs import import_scores
from models_train.parts import content_hash, renew_run, write_part
from models_train.study.fingerprints import (
    LocationError,
    benchmark_run_id,
    evaluation_run_id,
    evaluation_run_ids,
    import_run_id,
    items_run_id,
    leaderboards_run_id,
    sample_run_id,
    scored_run_id,
    scoring_run_id,
    trained_run_ids,
    training_run_id,
)
from models_train.study.golds import gold_parts, gold_rows, source_rows
from models_train.study.leaderboards import LeaderboardImport
from models_train.study.response_parts import responses_of, rewards_run_id
from models_train.study.reward_ids import source_run_id, stated_sources, trained_sources
from models_train.study.settings import Objective
from models_train.study.study import Study, load_study
from tests.support.buckets import Buckets, proxied
from tests.support.responses import PROMPT_SET, write_responses
from tests.support.score_files import best_of_4, best_of_4_items, entry, study_with, write_json, write_lines
from tests.support.studies import SETTINGS, study_of
from warehouse.contracts import TABLES
from warehouse.contracts.leaderboards import LEADERBOARD_ENTRIES
from warehouse.contracts.responses import GOLD_REWARDS
from warehouse.contracts.scores import REWARD_SOURCES
from warehouse.contracts.studies import BENCHMARK_RESULTS, IMPORTS, run_of
from warehouse.paths import Home

OBJECTIVES: tuple[Objective, ...] = ("bradley_terry", "regression")
MODEL = {"publisher": "us", "family": "one", "tokens_t": 1.0, "stage": "base", "hub_id": "./model"}


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A folder with one study file, its model folder and its data."""
    folder = tmp_path / "studies"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    for name in ("preferences", "ratings", "test", "texts"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"file": name}))
    study = {
        "study_id": "tiny",
        "title": "Tiny",
        "synthetic": True,
        "source": "made here",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": "small"}],
        "models": [MODEL | {"model_id": "small", "params_b": 1.0}, MODEL | {"model_id": "large", "params_b": 2.0}],
        "training": {
            "preferences": {"path": "preferences.jsonl"},
            "ratings": {"path": "ratings.jsonl"},
            "test_set": {"path": "test.jsonl"},
        },
        "scoring": {"corpus": {"name": "texts", "source": {"path": "texts.jsonl"}}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(study))
    return folder


def put(home: Home, table: str, run_id: str) -> Path:
    path = home.parts / table / "tiny" / f"{run_id}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a part")
    return path


def finish(folder: Path, home: Home) -> None:
    """Put every part that the study's jobs would write."""
    for path, study in study_files(folder).items():
        assert study.training and study.scoring
        for model in study.models:
            for objective in study.training.objectives:
                put(home, "reward_model_searches", training_run_id(model, study.training, objective, path.parent))
                put(home, "completion_rewards", evaluation_run_id(model, study.training, objective, path.parent))
            put(home, "run_costs", scoring_run_id(model, study.scoring, path.parent))
            put(home, "document_scores", scoring_run_id(model, study.scoring, path.parent) + "-00000")
        for table in ("benchmark_items", "item_completions"):
            put(home, table, items_run_id(study.training, path.parent))
        put(home, "documents", sample_run_id(study.scoring.corpus, path.parent))


def test_everything_is_due_at_first_and_nothing_when_done(studies: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    tasks = gpu_work(study_files(studies), home)
    assert [(task.assets, task.partition) for task in tasks] == [
        *(
            ((REWARD_MODELS, COMPLETION_REWARDS), f"tiny/{model}|{objective}")
            for model in ("small", "large")
            for objective in ("bradley_terry", "regression")
        ),
        ((DOCUMENT_SCORES,), "tiny/large"),
    ]
    assert samples_due(study_files(studies), home)
    finish(studies, home)
    assert gpu_work(study_files(studies), home) == []
    assert not samples_due(study_files(studies), home)
    assert len(gpu_work(study_files(studies), home, everything=True)) == 5


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("model/config.json", 5),
        ("preferences.jsonl", 4),
        ("ratings.jsonl", 2),
        ("test.jsonl", 4),
        ("texts.jsonl", 1),
    ],
)
def test_what_reads_a_changed_file_is_due_again(studies: Path, tmp_path: Path, changed: str, expected: int) -> None:
    home = Home(tmp_path / "home")
    finish(studies, home)
    (studies / changed).write_text(json.dumps({"other": "content", "in": changed}))
    tasks = gpu_work(study_files(studies), home)
    assert len(tasks) == expected
    if changed == "test.jsonl":
        assert {task.assets for task in tasks} == {(COMPLETION_REWARDS,)}, "the reward models are still good"
    assert samples_due(study_files(studies), home) == (changed == "texts.jsonl")


def test_lost_items_are_due_for_the_first_reward_model_alone(studies: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    finish(studies, home)
    shutil.rmtree(home.parts / "item_completions")
    (task,) = gpu_work(study_files(studies), home)
    assert (task.assets, task.partition) == ((COMPLETION_REWARDS,), "tiny/small|bradley_terry")


def test_a_further_seed_is_due_with_its_training(studies: Path, tmp_path: Path) -> None:
    home, path = Home(tmp_path / "home"), studies / "tiny.yaml"
    finish(studies, home)
    study = yaml.safe_load(path.read_text())
    study["training"] |= {"seeds": [0, 1], "objectives": ["regression"]}
    path.write_text(yaml.safe_dump(study))
    tasks = gpu_work(study_files(studies), home)
    assert [(task.assets, task.partition) for task in tasks] == [
        ((REWARD_MODELS, COMPLETION_REWARDS), f"tiny/{model}|regression") for model in ("small", "large")
    ]
    study["training"]["seeds_of"] = ["large"]
    path.write_text(yaml.safe_dump(study))
    assert [task.partition for task in gpu_work(study_files(studies), home)] == ["tiny/large|regression"]
    (read,) = study_files(studies).values()
    assert read.training is not None
    assert [read.training.further_seeds(model.model_id) for model in read.models] == [(), (1,)]
    for model in read.models[1:]:
        put(home, "completion_rewards", evaluation_run_id(model, read.training, "regression", studies, 1))
    assert gpu_work(study_files(studies), home) == []


def with_settings(path: Path, **settings: object) -> Study:
    """The study with other settings, read again; None takes one out."""
    data = yaml.safe_load(path.read_text()) | settings
    path.write_text(yaml.safe_dump({name: value for name, value in data.items() if value is not None}))
    return load_study(path)


def test_a_set_that_is_added_is_scored_and_nothing_is_trained(studies: Path, tmp_path: Path) -> None:
    """Not even for further seeds; every reward model is due until it is scored on each benchmark."""
    home, path = Home(tmp_path / "home"), studies / "tiny.yaml"
    data = yaml.safe_load(path.read_text())["training"] | {"seeds": [0, 1], "objectives": ["regression"]}
    study = with_settings(path, training=data)
    finish(studies, home)
    for model in study.models:
        assert study.training is not None
        put(home, "completion_rewards", evaluation_run_id(model, study.training, "regression", studies, 1))
    assert gpu_work({path: study}, home) == []
    for name in ("one", "two"):
        (studies / f"{name}.jsonl").write_text(json.dumps({"prompt": name, "chosen": "a", "rejected": "b"}))
    study = with_settings(path, benchmark_sets=[{"name": name, "path": f"{name}.jsonl"} for name in ("one", "two")])
    tasks = gpu_work({path: study}, home)
    assert [(task.assets, task.partition) for task in tasks] == [
        ((COMPLETION_REWARDS,), f"tiny/{model}|regression") for model in ("small", "large")
    ]
    assert scores_due({path: study}, home), "the items of the sets are due on their own"
    for trained in trained_run_ids(study, study.models[0], "regression", studies).values():  # of both: one folder
        assert gpu_work({path: study}, home)
        for run_id in evaluation_run_ids(trained, study, studies).values():
            put(home, "completion_rewards", run_id)
    assert gpu_work({path: study}, home) == []
    (studies / "two.jsonl").write_text(json.dumps({"prompt": "other", "chosen": "a", "rejected": "b"}))
    assert {task.assets for task in gpu_work({path: study}, home)} == {(COMPLETION_REWARDS,)}
    (studies / "two.jsonl").unlink()
    problems: list[str] = []
    assert gpu_work({path: study}, home, problems=problems) == []
    assert "tiny, small: two.jsonl: there is no" in problems[0]


def test_a_reward_model_of_a_folder_is_due_on_each_benchmark(studies: Path, tmp_path: Path) -> None:
    home, path = Home(tmp_path / "home"), studies / "tiny.yaml"
    finish(studies, home)
    (studies / "rm").mkdir()
    (studies / "rm" / "config.json").write_text("{}")
    (studies / "one.jsonl").write_text(json.dumps({"prompt": "one", "chosen": "a", "rejected": "b"}))
    model = {"reward_id": "hub:other", "path": "./rm"}
    study = with_settings(path, reward_models=[model])

    def due() -> list[tuple[str, tuple[dg.AssetKey, ...], str | None]]:
        return [(task.job, task.assets, task.partition) for task in gpu_work({path: study}, home)]

    def score() -> None:
        scored = scored_run_id(study.reward_models[0], studies)
        for run_id in evaluation_run_ids(scored, study, studies).values():
            put(home, "completion_rewards", run_id)

    task = ("score_reward_models", (HUB_REWARDS,), "tiny/hub:other")
    assert due() == [task], "on the test set"
    score()
    assert due() == []
    study = with_settings(path, training=None, scoring=None, benchmark_sets=[{"name": "one", "path": "one.jsonl"}])
    assert due() == [task]
    score()
    assert due() == []
    (studies / "rm" / "config.json").write_text('{"changed": true}')
    assert due() == [task]
    score()
    study = with_settings(path, reward_models=[model | {"max_tokens": 100}])
    assert due() == [task]
    score()
    assert gpu_work({path: study}, home, everything=True)
    shutil.rmtree(studies / "rm")
    problems: list[str] = []
    assert gpu_work({path: study}, home, problems=problems) == []
    assert "tiny, hub:other: ./rm: there is no" in problems[0]


def test_the_commit_of_a_hub_s_reward_model_is_a_fact_that_the_study_files_write(studies: Path, tmp_path: Path) -> None:
    home, path = Home(tmp_path / "home"), studies / "tiny.yaml"
    put(home, "studies", "0123456789ab")
    study = with_settings(
        path,
        training=None,
        scoring=None,
        reward_models=[{"reward_id": "hub:other", "hub_id": "org/other"}],
        benchmark_sets=[{"name": "one", "path": "one.jsonl"}],
    )

    def write(study: Study) -> None:
        for row in stated_sources(study):
            write_part(home.parts, TABLES["reward_sources"], [row], study_id="tiny", run_id=source_run_id(row))

    write(study)
    assert studies_without_parts(home, {path: study}) == set()
    fetched = study.model_copy(update={"reward_models": (study.reward_models[0].at_commit("1" * 40),)})
    assert studies_without_parts(home, {path: fetched}) == {"tiny"}
    write(fetched)
    assert studies_without_parts(home, {path: fetched}) == set()


def test_a_study_without_the_source_of_a_reward_model_has_no_parts(studies: Path, tmp_path: Path) -> None:
    """They would be missing in every mart; the check of the study files writes them."""
    home = Home(tmp_path / "home")
    put(home, "studies", "0123456789ab")
    read = study_files(studies)
    assert studies_without_parts(home, read) == {"tiny"}
    (study,) = read.values()
    rows = trained_sources(study)
    assert [row["reward_id"] for row in rows] == [
        f"{model}/{objective}" for model in ("small", "large") for objective in ("bradley_terry", "regression")
    ]
    for row in rows:
        assert studies_without_parts(home, read) == {"tiny"}
        put_source = partial(write_part, home.parts, TABLES["reward_sources"], study_id="tiny")
        put_source([row | {"data_id": None}], run_id=source_run_id(row | {"data_id": None}))
        assert studies_without_parts(home, read) == {"tiny"}, "facts that a carried-over reward does not have"
        put_source([row], run_id=source_run_id(row))
    assert studies_without_parts(home, read) == set()


def test_scores_by_either_engine_are_what_auto_asks_for(studies: Path, tmp_path: Path) -> None:
    """The engine is chosen by the machine that scores; `packed` and `vllm` ask for their own scores."""
    home, path = Home(tmp_path / "home"), studies / "tiny.yaml"
    finish(studies, home)
    for part in (home.parts / "run_costs").rglob("*.parquet"):
        part.unlink()
    (study,) = study_files(studies).values()
    assert study.scoring
    put(home, "run_costs", scoring_run_id(study.by_id["large"], study.scoring, studies, "vllm"))
    assert gpu_work(study_files(studies), home) == []
    data = yaml.safe_load(path.read_text())
    for engine, n_due in (("vllm", 0), ("packed", 1)):
        data["scoring"]["engine"] = engine
        path.write_text(yaml.safe_dump(data))
        assert len(gpu_work(study_files(studies), home)) == n_due


def test_a_study_with_a_damaged_part_is_not_new(studies: Path, tmp_path: Path) -> None:
    """Checking the study files again would not remove the part: the check would be due for ever."""
    home = Home(tmp_path / "home")
    assert studies_without_parts(home, study_files(studies)) == {"tiny"}
    put(home, "studies", "0123456789ab")
    put(home, "reward_sources", "0123456789ab")
    assert not studies_without_parts(home, study_files(studies))


def test_a_study_is_new_until_its_first_part(studies: Path, tmp_path: Path) -> None:
    """One whose work was interrupted has parts, which must not lie in the warehouse without their study."""
    home = Home(tmp_path / "home")
    assert new_studies(home, due_work(home, studies)) == {"tiny"}
    put(home, "reward_model_steps", "0123456789ab")
    assert new_studies(home, due_work(home, studies)) == set()


def test_a_snapshot_that_a_program_has_open_for_writing_is_not_the_first(studies: Path, tmp_path: Path) -> None:
    study = yaml.safe_load((studies / "tiny.yaml").read_text())
    del study["training"], study["scoring"]
    (studies / "done.yaml").write_text(yaml.safe_dump(study | {"study_id": "done"}))
    home = Home(tmp_path / "home").ensure()
    assert is_first(home, due_work(home, studies))
    assert is_first(home, replace(due_work(home, studies), before_gpu=[], gpu=[])), "no study needs work"
    part = put(home, "reward_model_steps", "0123456789ab")
    assert not is_first(home, due_work(home, studies)), "tiny is half done"
    part.unlink()
    part.parent.rmdir()
    with duckdb.connect(str(home.snapshots / "a.duckdb")) as writer:
        home.current.symlink_to("snapshots/a.duckdb")
        assert writer.execute("select 1").fetchall() and not is_first(home, due_work(home, studies))


def test_a_folder_that_is_gone_is_named(studies: Path, tmp_path: Path) -> None:
    (studies / "test.jsonl").unlink()
    with pytest.raises(LocationError, match=r"test\.jsonl.*correct the path"):
        gpu_work(study_files(studies), Home(tmp_path / "home"))


@pytest.fixture
def benchmarked(studies: Path) -> Path:
    """The study with benchmarks instead of training: two compared models and a candidate."""
    study = yaml.safe_load((studies / "tiny.yaml").read_text())
    del study["training"], study["scoring"]
    study["candidates"] = [MODEL | {"model_id": "wanted", "params_b": 3.0}]
    study["models"].append(MODEL | {"model_id": "stage", "params_b": 1.0, "is_compared": False})
    (studies / "tasks").mkdir()
    (studies / "tasks" / "one.yaml").write_text("task: one")
    (studies / "results.json").write_text("{}")
    study["benchmarks"] = {
        "tasks": [{"name": "one", "folder": "./tasks", "topic": "Test"}],
        "imports": [{"path": "./results.json", "format": "lm_eval"}],
    }
    (studies / "tiny.yaml").write_text(yaml.safe_dump(study))
    return studies


def put_result(home: Home, written_by: str, run_id: str) -> None:
    row = {name: None for name in ("standard_error", "n_examples", "shots", "pipeline")} | {
        "written_by": written_by, "model_id": "m", "benchmark": "one", "metric": "acc_pct", "value": 1.0,
        "match": "exact", "source": "x",
    }  # fmt: skip
    write_part(home.parts, BENCHMARK_RESULTS, [row], study_id="tiny", run_id=run_id)


def test_benchmarks_are_due_until_their_newest_part_is_of_the_present_settings(
    benchmarked: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    ((path, study),) = study_files(benchmarked).items()
    assert study.benchmarks is not None
    tasks = gpu_work({path: study}, home)
    assert [(task.job, task.assets, task.partition) for task in tasks] == [
        ("run_benchmarks", (BENCHMARKS,), f"tiny/{name}") for name in ("small", "large", "wanted")
    ]
    models = {model.model_id: model for model in (*study.models, *study.candidates)}
    names = [benchmark_run_id(models[name], study.benchmarks, path.parent) for name in study.benchmarked_model_ids]
    assert len(set(names)) == 3, "models of one folder have parts of their own"
    for name, run_id in zip(study.benchmarked_model_ids, names, strict=True):
        put_result(home, run_of(name), run_id)
    assert gpu_work({path: study}, home) == []
    assert len(gpu_work({path: study}, home, everything=True)) == 3
    # Settings tried in between leave a later part: the earlier one has to become the newest again.
    put_result(home, run_of("wanted"), "later")
    assert [task.partition for task in gpu_work({path: study}, home)] == ["tiny/wanted"]
    put_result(home, run_of("wanted"), names[-1])
    assert gpu_work({path: study}, home) == []


def test_imports_are_due_when_a_result_file_changes(benchmarked: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    studies = study_files(benchmarked)
    ((path, study),) = studies.items()
    assert imports_due(studies, home)
    put_result(home, IMPORTS, import_run_id(study, path.parent))
    assert not imports_due(studies, home)
    (benchmarked / "results.json").write_text("{ }")
    assert imports_due(studies, home)
    (benchmarked / "results.json").unlink()
    with pytest.raises(LocationError, match=r"results\.json.*correct the path"):
        imports_due(studies, home)


def test_leaderboards_are_due_when_a_file_changes(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    board = LeaderboardImport(name="b", path="./b.csv", format="csv", snapshot_date="2024-12-01")
    study = study_of(SETTINGS).model_copy(update={"leaderboards": (board,)})
    studies = {tmp_path / "tiny.yaml": study}
    with pytest.raises(LocationError, match=r"b\.csv.*correct the path"):
        leaderboards_due(studies, home)
    (tmp_path / "b.csv").write_text("Model,Score\na,90\n")
    assert leaderboards_due(studies, home)
    write_part(home.parts, LEADERBOARD_ENTRIES, [], study_id="tiny", run_id=leaderboards_run_id(study, tmp_path))
    assert not leaderboards_due(studies, home)
    (tmp_path / "b.csv").write_text("Model,Score\na,91\n")
    assert leaderboards_due(studies, home)


def test_scores_are_due_until_all_that_a_study_imports_is_there(tmp_path: Path) -> None:
    write_lines(tmp_path / "set.jsonl", best_of_4_items())
    for name in ("a", "b"):
        write_json(tmp_path / f"{name}.json", best_of_4())
    imports = [entry(f"{name}.json", "rewardbench2", f"hub:{name}") for name in ("a", "b")]
    path = study_with(tmp_path, imports, [{"name": "rewardbench2", "path": "set.jsonl"}])
    home = Home(tmp_path / "home")
    studies = {path: load_study(path)}
    import_scores.main(["--study", str(path), "--home", str(home.root)])
    assert not scores_due(studies, home)
    assert not due_work(home, tmp_path).before_gpu
    set_part, *_ = (home.parts / "benchmark_items" / "scores").glob("*.parquet")
    set_part.rename(tmp_path / "aside")
    assert scores_due(studies, home)
    (tmp_path / "aside").rename(set_part)
    write_json(tmp_path / "b.json", best_of_4(model="other"))
    assert scores_due(studies, home)
    (work,) = due_work(home, tmp_path).before_gpu
    assert (work.assets, work.title) == ((SCORE_IMPORTS,), "importing scores of reward models")
    (tmp_path / "b.json").unlink()
    assert "b.json: there is no" in due_work(home, tmp_path).problems[0]


def test_settings_that_were_tried_in_between_leave_work_that_marks_the_old_results_as_the_newest(
    studies: Path, tmp_path: Path
) -> None:
    """Every part is there; that of the settings tried in between is later, so it would count."""
    home = Home(tmp_path / "home")
    (path, study) = next(iter(study_files(studies).items()))
    assert study.training and study.scoring
    model = study.by_id["large"]
    rows = {"model_id": "large", "job": "score_documents", "variant": "packed", "n_tokens": 1, "device_seconds": 1.0}
    rows |= {"device": "cpu", "n_devices": 1, "is_gpu": False, "peak_memory_bytes": None, "versions": "{}"}
    run_id = scoring_run_id(model, study.scoring, path.parent)
    costs = TABLES["run_costs"]
    document_score(home, f"{run_id}-00000")
    write_part(home.parts, costs, [rows], study_id="tiny", run_id=run_id)

    def scoring() -> int:
        return sum(work.job == "score_documents" for work in gpu_work({path: study}, home))

    assert scoring() == 0
    assert study.scoring.documents_per_shard > 1
    sample = sample_run_id(study.scoring.corpus, path.parent)
    texts = [
        {"corpus": "texts", "document_id": f"{number}", "domain": "Book", "n_bytes": 1, "n_characters": 1}
        | {"content_hash": "x"}
        for number in range(study.scoring.documents_per_shard + 1)
    ]
    write_part(home.parts, TABLES["documents"], texts, study_id="tiny", run_id=sample)
    assert scoring() == 1, "the second shard is lost"
    document_score(home, f"{run_id}-00001")
    assert scoring() == 0
    document_score(home, "interrupted-00000")
    assert scoring() == 1, "a scoring that was interrupted leaves shards and no costs"
    renew_run(home.parts, "document_scores", "tiny", run_id)
    assert scoring() == 0
    write_part(home.parts, costs, [rows], study_id="tiny", run_id="other")
    assert scoring() == 1
    renew_run(home.parts, "run_costs", "tiny", run_id)
    assert scoring() == 0


def document_score(home: Home, run_id: str) -> None:
    table = TABLES["document_scores"]
    texts = {field.name: "x" for field in table.schema if field.type == pa.string()}
    numbers = {field.name: 1 for field in table.schema if field.type in (pa.int64(), pa.float64())}
    own = {"model_id": "large", "shard": run_id[-5:], "document_id": "d", "is_truncated": False}
    row = {name: value for name, value in (texts | numbers | own).items() if name not in ("study_id", "run_id")}
    write_part(home.parts, table, [row], study_id="tiny", run_id=run_id)


def test_due_work_of_parts_in_a_bucket_is_one_listing(
    studies: Path, tmp_path: Path, bucket: str, s3_server: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path, study) = next(iter(study_files(studies).items()))
    assert study.scoring
    run_id = scoring_run_id(study.by_id["large"], study.scoring, path.parent)
    rows = {"model_id": "large", "job": "score_documents", "variant": "packed", "n_tokens": 1, "device_seconds": 1.0}
    rows |= {"device": "cpu", "n_devices": 1, "is_gpu": False, "peak_memory_bytes": None, "versions": "{}"}
    found = []
    with proxied(s3_server) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        for place in ("", bucket):
            monkeypatch.setenv("REWARDBASE_PARTS", place)
            home = Home(tmp_path / "home")
            before = len(due_work(home, studies).gpu)
            document_score(home, f"{run_id}-00000")
            write_part(home.parts, TABLES["run_costs"], [rows], study_id="tiny", run_id=run_id)
            text = [{"corpus": "texts", "document_id": "1", "domain": "Book", "n_bytes": 1, "n_characters": 1}]
            sample = sample_run_id(study.scoring.corpus, path.parent)
            rows_of_texts = [one | {"content_hash": "x"} for one in text]
            write_part(home.parts, TABLES["documents"], rows_of_texts, study_id="tiny", run_id=sample)
            found.append((before, due_work(home, studies)))
        server.requests.clear()
        assert due_work(home, studies) == found[-1][1]
        assert server.requests == {"LIST": 1}
    assert found[0] == found[1]


def test_responses_that_are_there_are_due_for_each_reward_model_and_then_for_gold(
    studies: Path, tmp_path: Path
) -> None:
    """Of a policy run's policies the run itself scores the responses."""
    home, path = Home(tmp_path / "home"), studies / "tiny.yaml"
    finish(studies, home)
    (studies / "rm").mkdir()
    (studies / "rm" / "config.json").write_text("{}")
    write_lines(studies / "labels.jsonl", [{"policy_id": "p", "prompt_id": "one", "response_no": 0, "label": 1}])
    teachers = {
        "policies": [{"policy_id": "p", "model_id": "small"}],
        "prompts": {"path": "preferences.jsonl"},
        "gold": [{"labels": "labels.jsonl"}],
    }
    settings = {"teachers": teachers, "reward_models": [{"reward_id": "hub:other", "path": "./rm"}]}
    study = with_settings(path, **settings)
    for run_id in evaluation_run_ids(scored_run_id(study.reward_models[0], studies), study, studies).values():
        put(home, "completion_rewards", run_id)

    def due() -> list[tuple[str, str | None]]:
        works = gpu_work({path: study}, home)
        return [(work.job, work.partition) for work in works if work.job != "sample_policies"]

    def give(run_id: str, reward_id: str) -> None:
        row = {"reward_id": reward_id, "policy_id": "p", "prompt_set": PROMPT_SET, "prompt_id": "one", "response_no": 0}
        row |= {"attribute": "reward", "reward": 1.0, "n_tokens": 2, "is_truncated": False, "status": "ok"}
        write_part(home.parts, TABLES["response_rewards"], [row], study_id="tiny", run_id=run_id)

    assert due() == [] and golds_due({path: study}, home), "what the gold reward is can be said at once"
    for table, rows in ((GOLD_REWARDS, gold_rows(home.parts, study)), (REWARD_SOURCES, source_rows(home.parts, study))):
        run_id = content_hash(rows) if table is GOLD_REWARDS else source_run_id(rows[0])
        write_part(home.parts, table, rows, study_id="tiny", run_id=run_id)
    assert not golds_due({path: study}, home)
    write_responses(home.root, "tiny", "run:1", {"one": ["text"]}, kind="trained")
    assert due() == [] and not golds_due({path: study}, home)
    write_responses(home.root, "tiny", "p", {"one": ["text"]})
    models = [f"tiny/{model}|{objective}" for model in ("small", "large") for objective in OBJECTIVES]
    assert due() == [*(("train_reward_models", one) for one in models), ("score_reward_models", "tiny/hub:other")]
    assert {work.assets for work in gpu_work({path: study}, home) if work.job == "train_reward_models"} == {
        (COMPLETION_REWARDS,)
    }, "nothing is trained for them"
    (responses,) = responses_of(home.parts, study)
    for model in study.models:
        for objective in OBJECTIVES:
            trained = trained_run_ids(study, model, objective, studies)[None]
            give(rewards_run_id(study, trained, responses), f"{model.model_id}/{objective}")
    assert due() == [("score_reward_models", "tiny/hub:other")]
    give(rewards_run_id(study, scored_run_id(study.reward_models[0], studies), responses), "hub:other")
    assert due() == [] and golds_due({path: study}, home)
    (work,) = [work for work in due_work(home, studies).before_gpu if work.assets == (GOLD_ASSET,)]
    assert (work.study_ids, work.job) == (("tiny",), "refresh")
    (part,) = gold_parts(home.parts, study, studies)
    give(part.run_id, "labels")
    assert not golds_due({path: study}, home)
    write_lines(studies / "labels.jsonl", [{"policy_id": "p", "prompt_id": "one", "response_no": 0, "label": 2}])
    assert golds_due({path: study}, home), "another file of labels"
    only = {"teachers": teachers | {"rewards": ["hub:other"]}, "reward_models": settings["reward_models"]}
    shutil.rmtree(home.parts / "response_rewards")
    study = with_settings(path, **only)
    assert due() == [("score_reward_models", "tiny/hub:other")]
    (studies / "labels.jsonl").unlink()
    assert any("labels.jsonl: there is no" in problem for problem in due_work(home, studies).problems)
