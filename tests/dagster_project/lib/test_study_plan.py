"""Benchmark values that a study file states of its candidates: usable ones become rows, others are named by line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.lib.study_plan import benchmark_writers, follow_models, wants, write_study_parts
from models_train.study.study import Study, load_study
from models_train.study.yaml_lines import StudyError
from tests.support.trained_studies import small_lab
from warehouse.contracts import TABLES

SEEDS = Path(__file__).resolve().parents[3] / "dbt" / "seeds"
STUDY = """\
study_id: small
title: One model and two candidates
synthetic: true
source: made for a test
size_groups:
  - {name: all, params_b_from: 0, default: Likely}
seeds:
  - {name: table_2_benchmarks, source: here, licence: none}
  - {name: benchmark_metrics, source: here, licence: none}
models:
  # parent of Likely-2
  - {model_id: Likely, hub_id: a/a, publisher: P, family: T, stage: base, params_b: 1, tokens_t: 1}
candidates:
  - {model_id: Likely-1, hub_id: a/b, publisher: P, family: T, stage: sft, params_b: 1}
  - model_id: Likely-2
    hub_id: a/c
    publisher: P
    family: T
    stage: sft
    params_b: 1
    benchmarks:
      - {benchmark: mmlu, metric: acc_pct, value: 60, source: made up}
      - benchmark: gsm8k_cot_llama
        metric: exact_match_pct
        value: 50
        source: made up
"""


def write(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    write_study_parts(folder, SEEDS, tmp_path / "parts")
    return tmp_path / "parts"


def problems_of(tmp_path: Path, text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(StudyError) as caught:
        write(tmp_path, text)
    assert not list(tmp_path.rglob("*.parquet"))
    return caught.value.problems


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def test_usable_values_become_rows(tmp_path: Path) -> None:
    (path,) = (write(tmp_path, STUDY) / "benchmark_results").rglob("*.parquet")
    rows = pl.read_parquet(path).select("model_id", "benchmark", "metric", "value").rows()
    assert rows == [
        ("Likely-2", "mmlu", "acc_pct", 60.0),
        ("Likely-2", "gsm8k_cot_llama", "exact_match_pct", 50.0),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "benchmark: mmlu",
            "benchmark: mmluu",
            "the benchmark 'mmluu' is not in table_2_benchmarks.csv; did you mean 'mmlu'?",
        ),
        # it has metrics, but is no benchmark of Table 2: it would be dropped on the way to the features
        (
            "benchmark: mmlu, metric: acc_pct",
            "benchmark: EvalPlus average, metric: avg_pct",
            "the benchmark 'EvalPlus average' is not in table_2_benchmarks.csv",
        ),
        (
            "benchmark: mmlu",
            "benchmark: nq_open",
            "'nq_open' is listed in Table 2, but no metric is listed for it in benchmark_metrics.csv: add one",
        ),
        (
            "metric: exact_match_pct",
            "metric: exact_macth_pct",
            "the metric 'exact_macth_pct' of gsm8k_cot_llama is not known; did you mean 'exact_match_pct'?",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_own_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in STUDY
    text = STUDY.replace(old, new)
    ((line, problem),) = problems_of(tmp_path, text)
    assert problem.startswith("candidate Likely-2: ")
    assert said in problem
    assert line == line_of(text, new)


RESULTS = """\
model_id,benchmark,metric,value,shots,pipeline,source_repo,source_path,source_commit,source_benchmark,match,note
Likely,mmlu,acc_pct,60,5,Board,r,p,,MMLU,exact,
Likely,mmlu,acc_pct,61,5,Card,r,q,,MMLU,exact,
Likely,mmlu,acc_pct,62,0,Zero,r,q,,MMLU,close,
Likely,mmlu,accuracy_pct,62,4,Swallow,r,q,,MMLU,close,
Likely,mmlu,acc_cot_pct,63,0,Loose,r,q,,MMLU,loose,
Likely,gsm8k_cot_llama,exact_match_pct,50,5,Board,r,p,,GSM8K,close,
"""


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("metric: acc_pct", "the value of mmlu could be of Board, Card, Zero; state its pipeline"),
        ('metric: acc_pct, shots: "0"', ""),
        ("metric: acc_pct, pipeline: Card", ""),
        ("metric: acc_pct, pipeline: Bord", "the pipeline 'Bord' of mmlu is not known; did you mean 'Board'?"),
        ("metric: accuracy_pct", ""),
        ("metric: acc_cot_pct", "the value of mmlu has the metric or shots of no published value; state its pipeline"),
    ],
)
def test_a_value_beside_published_ones_has_a_known_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: str, said: str
) -> None:
    monkeypatch.setattr("dagster_project.lib.study_plan.REPOSITORY", tmp_path)
    for name in ("table_2_benchmarks", "benchmark_metrics"):
        shutil.copy(SEEDS / f"{name}.csv", tmp_path)
    (tmp_path / "benchmark_results.csv").write_text(RESULTS, encoding="utf-8")
    seed = "  - {name: benchmark_results, source: here, licence: none}\nmodels:"
    (tmp_path / "small.yaml").write_text(STUDY.replace("models:", seed, 1).replace("metric: acc_pct", new))
    try:
        write_study_parts(tmp_path, tmp_path, tmp_path / "parts")
        problems = []
    except StudyError as error:
        problems = [text for _, text in error.problems]
    assert problems == ([f"candidate Likely-2: {said}"] if said else [])


def test_all_values_that_cannot_be_used_are_named_together(tmp_path: Path) -> None:
    text = STUDY.replace("benchmark: mmlu", "benchmark: nq_open").replace("gsm8k_cot_llama", "gsm9k")
    assert [line for line, _ in problems_of(tmp_path, text)] == [line_of(text, "nq_open"), line_of(text, "gsm9k")]


@pytest.mark.parametrize("names", [("table_2_benchmarks",), ("table_2_benchmarks", "benchmark_metrics")])
def test_values_without_the_seeds_that_explain_them_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    text = "".join(line for line in STUDY.splitlines(keepends=True) if not any(f"{{name: {n}" in line for n in names))
    if len(names) == 2:
        text = text.replace("seeds:", "seeds: []")
    ((line, problem),) = problems_of(tmp_path, text)
    assert f"the study lists no {' and no '.join(names)} seed, so" in problem
    assert f"list {' and '.join(names)} under seeds" in problem
    assert line == line_of(text, "benchmark: mmlu")


def test_a_study_that_is_left_out_is_checked_and_not_written(tmp_path: Path) -> None:
    write(tmp_path, STUDY.replace("study_id: small", "study_id: other"))
    (tmp_path / "studies" / "small.yaml").rename(tmp_path / "studies" / "other.yaml")
    (tmp_path / "studies" / "small.yaml").write_text(STUDY, encoding="utf-8")
    written = write_study_parts(tmp_path / "studies", SEEDS, tmp_path / "parts", leave_out=["small"])
    assert [facts.study_id for facts in written] == ["other"]
    assert not list(tmp_path.glob("parts/*/small/*.parquet"))
    with pytest.raises(StudyError):
        (tmp_path / "studies" / "small.yaml").write_text(STUDY.replace("mmlu", "mmluu"), encoding="utf-8")
        write_study_parts(tmp_path / "studies", SEEDS, tmp_path / "parts", leave_out=["small"])


def test_candidates_without_values_need_no_such_seeds(tmp_path: Path) -> None:
    text = STUDY[: STUDY.index("    benchmarks:")].replace("seeds:", "seeds: []")
    text = "".join(line for line in text.splitlines(keepends=True) if "licence: none" not in line)
    assert list(write(tmp_path, text).rglob("*.parquet"))


OWN = """\
benchmarks:
  tasks:
    - {name: mine, metric: acc_norm, topic: Math, few_shot: 2, run: false}
  imports:
    - {path: ./results, format: evalplus}
"""


def test_benchmarks_of_a_study_are_rows_and_candidates_may_state_values_of_them(tmp_path: Path) -> None:
    text = STUDY.replace("benchmark: mmlu, metric: acc_pct", "benchmark: mine, metric: acc_norm_pct") + OWN
    parts = write(tmp_path, text)
    (path,) = (parts / "benchmarks").rglob("*.parquet")
    rows = pl.read_parquet(path).select("benchmark", "framework", "task", "metric", "shots", "is_run").rows()
    assert rows[0] == ("mine", "lm_eval", "mine", "acc_norm_pct", "2", False)
    assert [row[0] for row in rows[1:]] == ["HumanEval", "HumanEval+", "MBPP", "MBPP+"]
    ((_, problem),) = problems_of(tmp_path / "other", text.replace("acc_norm_pct", "acc_pct"))
    assert "the metric 'acc_pct' of mine is not known; did you mean 'acc_norm_pct'?" in problem


def test_what_is_measured_on_responses_is_a_row_per_setting(tmp_path: Path) -> None:
    text = STUDY + "reward_models: [{reward_id: a, path: ./a}, {reward_id: b, path: ./b}]\n"
    text += "benchmark_sets: [{name: mine, path: ./mine}]\n"
    text += "teachers:\n  responses: [{path: ./responses.json, format: plain}]\n"
    text += "  best_of: [1, 3]\n  ensembles: [{over: seeds}, {over: bases, members: [a, b]}]\n"
    (path,) = (write(tmp_path, text) / "teacher_settings").rglob("*.parquet")
    rows = {name: json.loads(value) for name, value in pl.read_parquet(path).select("setting", "value").iter_rows()}
    members = [{"over": "seeds", "members": None}, {"over": "bases", "members": ["a", "b"]}]
    assert rows == {"best_of": [1, 3], "ensembles": members}
    (path,) = (write(tmp_path / "other", STUDY) / "teacher_settings").rglob("*.parquet")
    assert pl.read_parquet(path).height == 0


def test_values_of_ones_own_benchmarks_need_no_seeds(tmp_path: Path) -> None:
    text = "".join(line for line in STUDY.splitlines(keepends=True) if "licence: none" not in line) + OWN
    text = text.replace("seeds:", "seeds: []").replace("benchmark: mmlu, metric: acc_pct", "benchmark: MBPP, metric: x")
    problems = [problem for _, problem in problems_of(tmp_path, text)]
    assert "the metric 'x' of MBPP is not known; known are pass@1_pct" in problems[0]
    assert "the benchmark 'gsm8k_cot_llama' is not under benchmarks" in problems[1]


def test_results_that_a_study_wants_no_more_are_set_aside_and_come_back(tmp_path: Path) -> None:
    parts = write(tmp_path, STUDY)
    file = tmp_path / "studies" / "small.yaml"
    assert benchmark_writers(load_study(file)) == {"study file"}
    (stated,) = (parts / "benchmark_results").rglob("*.parquet")
    without = STUDY[: STUDY.index("    benchmarks:")]
    write(tmp_path, without)
    (said,) = follow_models(parts, [load_study(file)])
    assert said == f"benchmark_results/small/{stated.stem}: set aside, the study does not ask for it any more"
    assert not stated.exists()
    file.write_text(STUDY, encoding="utf-8")
    (said,) = follow_models(parts, [load_study(file)])
    assert said.endswith("restored, the study asks for it again") and stated.exists()
    file.write_text(STUDY + OWN.replace("run: false", "run: true"), encoding="utf-8")
    assert benchmark_writers(load_study(file)) == {
        "study file",
        "imports",
        "run of Likely",
        "run of Likely-1",
        "run of Likely-2",
    }


CELL = {"study_id": "small", "model_id": "coder"}
OF_CODER: dict[str, str | None] = {"study_id": "small", "reward_id": "coder/bradley_terry"}
OF_SEED: dict[str, str | None] = {"study_id": "small", "reward_id": "coder/bradley_terry/s1"}
OF_OTHER: dict[str, str | None] = {"study_id": "small", "reward_id": "hub:coder"}
OF_HUB: dict[str, str | None] = {"study_id": "small", "reward_id": "hub:other"}
COSTS_OF_HUB: dict[str, str | None] = {"study_id": "small", "model_id": "hub:other", "job": "score_reward_model"}
KINDS: dict[str, tuple[str, dict[str, str | None]]] = {
    "reward model": ("reward_model_searches", CELL | {"objective": "bradley_terry"}),
    "rewards": ("completion_rewards", OF_CODER | {"benchmark": "rewardbench"}),
    "source of rewards": ("reward_sources", OF_CODER),
    "rewards of a further seed": ("completion_rewards", OF_SEED | {"benchmark": "rewardbench"}),
    "rewards on a set": ("completion_rewards", OF_CODER | {"benchmark": "my pairs"}),
    "costs on a set": ("run_costs", CELL | {"job": "score_completions", "variant": "bradley_terry/s1@my pairs"}),
    "costs on the test set": ("run_costs", CELL | {"job": "score_completions", "variant": "bradley_terry"}),
    "items of a set": ("benchmark_items", {"study_id": "small", "benchmark": "my pairs"}),
    "hub rewards": ("completion_rewards", OF_HUB | {"benchmark": "rewardbench"}),
    "hub rewards on a set": ("completion_rewards", OF_HUB | {"benchmark": "my pairs"}),
    "source of hub rewards": ("reward_sources", OF_HUB),
    "costs of hub rewards": ("run_costs", COSTS_OF_HUB | {"variant": "my pairs"}),
    "costs of hub rewards on the test set": ("run_costs", COSTS_OF_HUB | {"variant": "rewardbench"}),
    "costs of a further seed": ("run_costs", CELL | {"job": "train_reward_model", "variant": "bradley_terry/s1"}),
    "items": ("benchmark_items", {"study_id": "small", "benchmark": "rewardbench"}),
    "imported rewards": ("completion_rewards", OF_OTHER | {"benchmark": "rewardbench"}),
    "source of imported rewards": ("reward_sources", OF_OTHER),
    "costs of training": ("run_costs", CELL | {"job": "train_reward_model", "variant": "bradley_terry"}),
    "sample": ("documents", {"study_id": "small", "corpus": "small_lab"}),
    "scores": ("document_scores", CELL | {"corpus": "small_lab", "engine": "packed", "shard": "00000"}),
    "costs of scoring": ("run_costs", CELL | {"job": "score_documents", "variant": "packed"}),
    "benchmarks": ("benchmark_results", {"study_id": "small", "written_by": "run of coder"}),
    "costs of benchmarks": ("run_costs", CELL | {"job": "run_benchmarks", "variant": "lm_eval"}),
    "leaderboards": ("leaderboard_entries", {"study_id": "small"}),
    "truth": ("lab_mixes", {"study_id": "small"}),
}
OF_MODEL = {kind for kind, (_, partition) in KINDS.items() if partition.get("model_id") == "coder"} | {"benchmarks"}
OF_SEEDS = {"rewards of a further seed", "costs of a further seed", "costs on a set"}
OF_MODEL |= {"rewards", "source of rewards", "rewards on a set", *OF_SEEDS}
TRAINED = {"reward model", "rewards", "source of rewards", "costs of training", "rewards on a set", *OF_SEEDS}
TRAINED |= {"costs on the test set"}
ON_SET = {"rewards on a set", "costs on a set", "hub rewards on a set", "costs of hub rewards"}
HUB = {"hub rewards", "hub rewards on a set", "source of hub rewards", "costs of hub rewards"}
ON_TEST_SET = {"hub rewards", "costs of hub rewards on the test set"}
HUB |= ON_TEST_SET
SCORED = {"sample", "scores", "costs of scoring"}


def without_model(study: dict[str, Any]) -> None:
    study["models"] = [model for model in study["models"] if model["model_id"] == "reader"]
    study["size_groups"][0]["default"] = "reader"
    study["lab"]["models"] = [model for model in study["lab"]["models"] if model["model_id"] == "reader"]


def without_comparison(study: dict[str, Any]) -> None:
    study["models"][0]["is_compared"] = False
    study["size_groups"][0]["default"] = "reader"


def with_a_larger_relative(study: dict[str, Any]) -> None:
    for model in study["models"]:
        model.update(family="one", tokens_t=1.0, params_b=2.0 if model["model_id"] == "reader" else 1.0)


TAKEN_OUT: dict[str, tuple[Callable[[dict[str, Any]], object], set[str]]] = {
    "nothing": (lambda study: None, set()),
    "title": (lambda study: study.update(title="Another"), set()),
    "settings": (lambda study: study["training"]["bradley_terry"].update(learning_rates=[1e-4]), set()),
    "model": (without_model, OF_MODEL),
    "donor": (with_a_larger_relative, {"scores"}),
    "comparison": (without_comparison, TRAINED | OF_MODEL - SCORED),
    "objective": (lambda study: study["training"].update(objectives=["regression"], ratings={"path": "r"}), TRAINED),
    "seed": (lambda study: study["training"].pop("seeds"), OF_SEEDS),
    "seed of the model": (lambda study: study["training"].update(seeds_of=["reader"]), OF_SEEDS),
    "training": (lambda study: study.pop("training"), TRAINED | ON_TEST_SET),
    "reward models": (lambda study: study.pop("reward_models"), HUB),
    "scoring": (lambda study: study.pop("scoring"), SCORED),
    "corpus": (lambda study: study["scoring"]["corpus"].update(name="other"), {"sample", "scores"}),
    "benchmarks": (lambda study: study.pop("benchmarks"), {"benchmarks", "costs of benchmarks"}),
    "leaderboards": (lambda study: study.pop("leaderboards"), {"leaderboards"}),
    "lab": (lambda study: study.pop("lab"), {"truth"}),
    "imports": (lambda study: study.pop("score_imports"), {"imported rewards", "source of imported rewards"}),
    "imports and training": (
        lambda study: (study.pop("score_imports"), study.pop("training")),
        {"imported rewards", "source of imported rewards", "items"} | TRAINED | ON_TEST_SET,
    ),
    "set": (lambda study: study.pop("benchmark_sets"), ON_SET),
    "imports and set": (
        lambda study: (study.pop("score_imports"), study.pop("benchmark_sets")),
        {"imported rewards", "source of imported rewards", "items of a set"} | ON_SET,
    ),
}


@pytest.mark.parametrize("what", TAKEN_OUT)
def test_what_is_taken_out_is_asked_for_no_more(what: str) -> None:
    change, gone = TAKEN_OUT[what]
    board = {"name": "b", "path": "./b.csv", "format": "csv", "snapshot_date": "2024-12-01"}
    settings: dict[str, Any] = small_lab() | {"leaderboards": [board]}
    settings["training"]["seeds"] = [0, 1]
    settings["benchmark_sets"] = [{"name": "my pairs", "path": "pairs.jsonl"}]
    settings["reward_models"] = [{"reward_id": "hub:other", "hub_id": "org/other"}]
    settings["score_imports"] = [{"path": "scores.json", "format": "rewardbench", "reward_id": "hub:coder"}]
    change(settings)
    study = Study.model_validate(settings)
    writers = benchmark_writers(study)
    assert {kind for kind, (table, part) in KINDS.items() if not wants(study, writers, TABLES[table], part)} == gone
