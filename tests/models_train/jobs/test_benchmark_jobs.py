"""The jobs that run and import benchmarks: parts once, clear errors, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from models_train.jobs import import_benchmarks, run_benchmarks
from models_train.study.fingerprints import benchmark_run_id, import_run_id
from models_train.study.study import load_study
from models_train.synthetic.tasks import write_tasks
from tests.support.result_files import import_study, lm_eval_file, write
from tests.support.tiny_models import write_base

pytestmark = pytest.mark.slow

LM_EVAL = [{"path": "./results", "format": "lm_eval"}]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_tasks(folder / "tasks", seed=0, n_items=6)
    settings = {
        "study_id": "demo",
        "title": "Demo",
        "synthetic": True,
        "source": "made in a test",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": "tiny"}],
        "models": [
            {
                "model_id": "tiny",
                "hub_id": str(write_base(folder / "tiny")),
                "family": "T",
                "params_b": 1,
                "stage": "base",
            }
        ],
        "benchmarks": {
            "precision": "float32",
            "tasks": [{"name": name, "folder": "./tasks", "topic": "Lab"} for name in ("lab_sum", "lab_order")],
        },
    }
    path = folder / "demo.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def ran(study: Path, home: Path, capsys: pytest.CaptureFixture[str], model: str = "tiny") -> str:
    run_benchmarks.main(["--study", str(study), "--model", model, "--home", str(home)])
    return capsys.readouterr().out


def part(home: Path, table: str, run_id: str, study_id: str = "demo") -> list[dict[str, Any]]:
    return pl.read_parquet(home / "parts" / table / study_id / f"{run_id}.parquet").to_dicts()


def test_a_model_is_run_once(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ran(study, tmp_path, capsys)
    assert "lab_sum, acc_pct" in said
    loaded = load_study(study)
    assert loaded.benchmarks is not None
    run_id = benchmark_run_id(loaded.models[0], loaded.benchmarks, study.parent)
    rows = part(tmp_path, "benchmark_results", run_id)
    assert [(row["benchmark"], row["written_by"], row["n_examples"]) for row in rows] == [
        ("lab_sum", "run of tiny", 6),
        ("lab_order", "run of tiny", 6),
    ]
    (costs,) = part(tmp_path, "run_costs", run_id)
    assert (costs["job"], costs["variant"]) == ("run_benchmarks", "lm_eval") and costs["n_tokens"] > 100
    assert (tmp_path / "cache" / "datasets").exists(), "data sets go below the run-time folder"
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").rglob("*.parquet")}
    assert "the results are there; nothing to do" in ran(study, tmp_path, capsys)
    assert part(tmp_path, "benchmark_results", run_id) == rows
    renewed = [path for path, before in written.items() if path.stat().st_mtime_ns != before]
    assert [path.parent.parent.name for path in renewed] == ["benchmark_results"], "marked as the newest, run no more"


def test_finished_tasks_are_kept_when_one_is_added(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = yaml.safe_load(study.read_text())
    more = write(study.parent / "more.yaml", "")
    tasks = settings["benchmarks"]["tasks"]

    def run_with(**changed: Any) -> dict[str, Any]:
        tasks[-1] |= changed
        more.write_text(yaml.safe_dump(settings))
        ran(more, tmp_path, capsys)
        loaded = load_study(more)
        assert loaded.benchmarks is not None
        run_id = benchmark_run_id(loaded.models[0], loaded.benchmarks, study.parent)
        (costs,) = part(tmp_path, "run_costs", run_id)
        return {row["benchmark"]: row for row in part(tmp_path, "benchmark_results", run_id)} | {"costs": costs}

    first = run_with()
    # Another metric is read from what is there: the same cost, and no model is run.
    written = [file.stat().st_mtime_ns for file in (tmp_path / "benchmarks").iterdir()]
    other = run_with(metric="acc_norm")
    assert [file.stat().st_mtime_ns for file in (tmp_path / "benchmarks").iterdir()] == written
    assert other["costs"]["n_tokens"] == first["costs"]["n_tokens"]
    assert other["costs"]["device_seconds"] == first["costs"]["device_seconds"]
    assert other["lab_order"]["metric"] == "acc_norm_pct" and other["lab_sum"]["value"] == first["lab_sum"]["value"]
    # A limit of its own puts the task into a run of its own; the cost is that of both.
    added = run_with(limit=2)
    assert len(list((tmp_path / "benchmarks").iterdir())) == 3
    assert added["lab_order"]["n_examples"] == 2


def test_the_name_of_a_run_follows_what_it_depends_on(study: Path) -> None:
    loaded = load_study(study)
    benchmarks = loaded.benchmarks
    assert benchmarks is not None
    name = benchmark_run_id(loaded.models[0], benchmarks, study.parent)
    same = benchmarks.model_copy(
        update={"tasks": tuple(task.model_copy(update={"topic": "Other"}) for task in benchmarks.tasks)}
    )
    assert benchmark_run_id(loaded.models[0], same, study.parent) == name
    other = benchmarks.model_copy(update={"tasks": benchmarks.tasks[:1]})
    assert benchmark_run_id(loaded.models[0], other, study.parent) != name
    before = (study.parent / "tasks" / "lab_sum.jsonl").read_text()
    try:
        (study.parent / "tasks" / "lab_sum.jsonl").write_text(before.replace("compute", "reckon"))
        assert benchmark_run_id(loaded.models[0], benchmarks, study.parent) != name
    finally:
        (study.parent / "tasks" / "lab_sum.jsonl").write_text(before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"benchmarks": {"tasks": []}}, "the study demo runs no benchmarks"),
        ({"models": None}, "the study has no model 'tinny'; did you mean 'tiny'?"),
    ],
)
def test_what_cannot_be_run_is_said(study: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    settings = yaml.safe_load(study.read_text()) | {k: v for k, v in change.items() if v is not None}
    path = write(tmp_path / "demo.yaml", json.dumps(settings))
    model = "tiny" if "benchmarks" in change else "tinny"
    with pytest.raises(SystemExit, match=said):
        run_benchmarks.main(["--study", str(path), "--model", model, "--home", str(tmp_path)])
    assert not (tmp_path / "parts").exists()


def test_result_files_become_one_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = import_study(tmp_path, LM_EVAL)
    file = write(tmp_path / "results" / "results_1.json", lm_eval_file())
    import_benchmarks.main(["--study", str(path), "--home", str(tmp_path / "home")])
    said = capsys.readouterr().out
    assert "passed over 1 tasks that the study does not list" in said and "rows: 2" in said
    run_id = import_run_id(load_study(path), tmp_path)
    rows = part(tmp_path / "home", "benchmark_results", run_id, "tiny")
    assert {(row["model_id"], row["benchmark"], row["written_by"]) for row in rows} == {
        ("hub", "winogrande", "imports"),
        ("hub", "gsm8k", "imports"),
    }
    file.write_text(file.read_text().replace("0.5", "0.25"))
    assert import_run_id(load_study(path), tmp_path) != run_id


def test_what_is_no_exact_match_and_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = import_study(tmp_path, LM_EVAL)
    arguments = ["--study", str(path), "--home", str(tmp_path / "home")]
    document = lm_eval_file() | {"n-shot": {"winogrande": 0}}
    del document["results"]["gsm8k"]
    write(tmp_path / "results" / "results_1.json", document)
    import_benchmarks.main(arguments)
    said = capsys.readouterr().out
    assert "tiny, winogrande: 1 values count as a close match: shots are 0, the study asks for 5" in said
    assert "tiny, gsm8k: no file has a value of the task gsm8k" in said
    subjects = {f"hendrycksTest-{name}": {"acc": 0.5} for name in ("anatomy", "virology")}
    write(tmp_path / "results" / "results_1.json", lm_eval_file() | {"results": subjects})
    with pytest.raises(
        SystemExit, match=r"have hendrycksTest-anatomy, hendrycksTest-virology; lm_eval before 0\.4 gives"
    ):
        import_benchmarks.main(arguments)


def test_another_commit_of_a_model_is_another_import(tmp_path: Path) -> None:
    write(tmp_path / "results" / "results_1.json", lm_eval_file())
    pinned = [{"model_id": "hub", "hub_id": "org/hub", "revision": digit * 40} for digit in "ab"]
    studies = [load_study(import_study(tmp_path, LM_EVAL, models=[model])) for model in pinned]
    assert len({import_run_id(study, tmp_path) for study in studies}) == 2


def test_a_bad_file_leaves_what_was_there(tmp_path: Path) -> None:
    path = import_study(tmp_path, LM_EVAL)
    file = write(tmp_path / "results" / "results_1.json", lm_eval_file())
    arguments = ["--study", str(path), "--home", str(tmp_path / "home")]
    import_benchmarks.main(arguments)
    (before,) = (tmp_path / "home" / "parts").rglob("*.parquet")
    content = before.read_bytes()
    file.write_text("{")
    with pytest.raises(SystemExit, match="is not JSON"):
        import_benchmarks.main(arguments)
    file.write_text(json.dumps(lm_eval_file() | {"results": {"mmlu": {"acc,none": 0.5}}}))
    with pytest.raises(SystemExit, match="none of their results is of a task and a model of the study"):
        import_benchmarks.main(arguments)
    assert [one.read_bytes() for one in (tmp_path / "home" / "parts").rglob("*.parquet")] == [content]
