"""Result files of lm_eval and EvalPlus become values of the study's models; what is wrong in one is named."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from models_train.benchmarks.imports import Imported, import_results
from models_train.errors import UserError
from models_train.study.benchmarks import Benchmarks
from models_train.study.fingerprints import LocationError
from models_train.study.study import load_study
from models_train.study.yaml_lines import StudyError
from tests.support.result_files import TASKS, evalplus_file, import_study, lm_eval_file, write

LM_EVAL = {"path": "./results", "format": "lm_eval"}
EVALPLUS = {"path": "./evalplus_results", "format": "evalplus"}


def read(folder: Path, *imports: dict[str, Any], tasks: list[dict[str, Any]] | None = None) -> Imported:
    path = import_study(folder, list(imports), tasks)
    return import_results(load_study(path), folder)


def values(found: Imported) -> dict[tuple[str, str], float]:
    return {(result.model_id, result.benchmark): round(result.value, 6) for result in found.results}


def changed(*way: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(lm_eval_file())
    inner = document
    for step in way[:-1]:
        inner = inner[step]
    inner[way[-1]] = value
    return document


def test_a_folder_of_lm_eval_has_models_and_times(tmp_path: Path) -> None:
    write(tmp_path / "results" / "org__hub" / "results_2026-11-20T10-00-00.1.json", lm_eval_file())
    write(tmp_path / "results" / "org__hub" / "results_2026-11-20T11-00-00.1.json", lm_eval_file())
    other = changed("results", "winogrande", "acc,none", value=0.5) | {"model_name": "/models/other"}
    write(tmp_path / "results" / "other" / "results_2026-11-20T10-00-00.1.json", other)
    write(tmp_path / "results" / "org__hub" / "samples_winogrande_2026-11-20T10-00-00.1.jsonl", "not a result")
    found = read(tmp_path, LM_EVAL | {"models": {"/models/other": "local"}})
    assert values(found) == {
        ("hub", "winogrande"): 74.033149,
        ("hub", "gsm8k"): 50.0,
        ("local", "winogrande"): 50.0,
        ("local", "gsm8k"): 50.0,
    }
    assert found.n_files == 3
    assert found.skipped["tasks that the study does not list"] == 3, "one subtask in each of three files"
    first = found.results[0]
    assert (first.metric, first.shots, first.match, first.n_examples) == ("acc_pct", "5", "exact", 1267)
    assert first.standard_error == pytest.approx(1.23226)
    assert first.source == "./results/org__hub/results_2026-11-20T10-00-00.1.json"


def test_other_shots_are_a_close_match(tmp_path: Path) -> None:
    write(tmp_path / "results" / "results_1.json", changed("n-shot", "winogrande", value=0))
    found = read(tmp_path, LM_EVAL)
    assert {result.benchmark: result.match for result in found.results} == {"winogrande": "close", "gsm8k": "exact"}


def test_older_files_say_the_model_among_its_arguments(tmp_path: Path) -> None:
    document = lm_eval_file()
    del document["model_name"]
    document["config"]["model_args"] = "pretrained=org/hub,dtype=bfloat16"
    document["results"]["winogrande"] = {"acc": 0.6, "acc_stderr": 0.01}  # before 0.4 no filter stood in the key
    write(tmp_path / "old.json", document)
    found = read(tmp_path, {"path": "./old.json", "format": "lm_eval"})
    assert values(found)["hub", "winogrande"] == 60
    assert found.results[0].standard_error == pytest.approx(1)


def test_a_metric_in_percent_is_taken_as_such(tmp_path: Path) -> None:
    document = changed("results", "squadv2", value={"f1,none": 61.5})
    write(tmp_path / "results" / "results_1.json", document)
    task = {"name": "squadv2", "metric": "f1", "topic": "Reading Comprehension", "scale": "percent", "run": False}
    assert values(read(tmp_path, LM_EVAL, tasks=[task])) == {("hub", "squadv2"): 61.5}
    with pytest.raises(UserError, match=r"squadv2\.f1,none: 61\.5 is not from 0 to 1; .*scale: percent"):
        read(tmp_path, LM_EVAL, tasks=[task | {"scale": "fraction"}])


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "results_1.json: is not JSON"),
        ([1], "holds a list, not an object"),
        ({"model_name": "org/hub"}, "the key 'results' is missing"),
        (changed("results", value=[]), "the key 'results' is a list, not an object"),
        (changed("results", "winogrande", value=0.7), "results.winogrande is a float, not an object"),
        (changed("model_name", value="org/hubb"), "the model 'org/hubb' is not one of the study's; is it hub?"),
        (changed("results", "winogrande", value={"acc_norm,none": 0.7, "alias": "w"}), "no metric 'acc'.*acc_norm"),
        (changed("results", "winogrande", "acc,none", value=math.nan), "winogrande.acc,none: nan is no value"),
        (changed("results", "winogrande", "acc,none", value="N/A"), "'N/A' is no number"),
        (changed("results", "winogrande", "acc,none", value=True), "True is no number"),
        (changed("results", "winogrande", "acc,none", value=-0.1), "-0.1 is not from 0 to 1; take another metric"),
        (changed("results", "winogrande", "acc,none", value=740.3), "740.3 is not from 0 to 1; take another metric"),
        (changed("higher_is_better", "winogrande", value={"acc": False}), "of acc the lower is the better"),
        (changed("config", "limit", value=10.0), "measured with limit 10.0, the study asks for all examples"),
        ({k: v for k, v in lm_eval_file().items() if k not in ("model_name", "config")}, "names no model"),
    ],
)
def test_what_is_wrong_in_a_file_of_lm_eval_is_named(tmp_path: Path, document: Any, said: str) -> None:
    write(tmp_path / "results" / "results_1.json", document)
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path, LM_EVAL)
    assert str(caught.value).startswith(("./results/results_1.json: ", str(tmp_path)))


def test_a_metric_under_several_filters_has_to_be_stated(tmp_path: Path) -> None:
    write(tmp_path / "results" / "results_1.json", lm_eval_file())
    task = TASKS[1] | {"metric": "exact_match"}
    with pytest.raises(UserError, match="exact_match,strict-match or exact_match,flexible-extract"):
        read(tmp_path, LM_EVAL, tasks=[task])


def test_two_values_of_one_benchmark_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "results" / "a" / "results_1.json", lm_eval_file())
    write(tmp_path / "results" / "b" / "results_2.json", changed("results", "winogrande", "acc,none", value=0.5))
    with pytest.raises(UserError, match=r"hub, winogrande, acc_pct: 74.*a/results_1.*50 by .*b/results_2"):
        read(tmp_path, LM_EVAL)


def test_models_of_others_may_be_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "results" / "results_1.json", lm_eval_file())
    write(tmp_path / "results" / "results_2.json", lm_eval_file("org/unknown"))
    found = read(tmp_path, LM_EVAL | {"unknown_models": "skip"})
    assert {result.model_id for result in found.results} == {"hub"}
    assert found.skipped["files of models that the study does not list"] == 1


def test_a_folder_without_result_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(UserError, match=r"\./results: the folder has no results_\*\.json"):
        read(tmp_path, LM_EVAL)
    with pytest.raises(LocationError, match="nowhere"):
        read(tmp_path, LM_EVAL | {"path": "./nowhere"})


@pytest.mark.parametrize("with_rates", [True, False])
@pytest.mark.parametrize("name", ["org--hub_vllm_temp_0.0_eval_results.json", "org--hub_hf_temp_0.0.eval_results.json"])
def test_files_of_evalplus(tmp_path: Path, name: str, with_rates: bool) -> None:
    write(tmp_path / "evalplus_results" / "humaneval" / name, evalplus_file(with_rates=with_rates))
    write(tmp_path / "evalplus_results" / "mbpp" / name, evalplus_file("Mbpp", with_rates=with_rates))
    found = read(tmp_path, EVALPLUS, tasks=[])
    half = {"HumanEval": 75.0, "HumanEval+": 50.0, "MBPP": 75.0, "MBPP+": 50.0}
    assert values(found) == {("hub", benchmark): value for benchmark, value in half.items()}
    assert {(result.metric, result.n_examples) for result in found.results} == {("pass@1_pct", 4)}


def test_files_of_evalplus_before_0_2_and_of_the_base_tests_alone(tmp_path: Path) -> None:
    old = {
        "date": "x",
        "hash": "y",
        "eval": {
            # Of two solutions one passes both kinds of tests: half a task.
            "HumanEval/0": {
                "nfiles": 2,
                "base": [["success", [True]], ["success", [True]]],
                "plus": [["success", [True]], ["failed", [False]]],
            },
            "HumanEval/1": {"nfiles": 1, "base": [["timed out", []]], "plus": [["timed out", []]]},
        },
    }
    write(tmp_path / "evalplus_results" / "hub_temp_0.8" / "eval_results.json", old)
    found = read(tmp_path, EVALPLUS | {"models": {"hub_temp_0.8": "hub"}}, tasks=[])
    assert values(found) == {("hub", "HumanEval"): 50.0, ("hub", "HumanEval+"): 25.0}
    base_only = {"eval": {"HumanEval/0": [{"base_status": "pass", "plus_status": None}]}}
    write(tmp_path / "base" / "hub_eval_results.json", base_only)
    assert values(read(tmp_path, EVALPLUS | {"path": "./base"}, tasks=[])) == {("hub", "HumanEval"): 100.0}


def test_the_summary_of_evalplus(tmp_path: Path) -> None:
    summary = {
        "hub": {"link": "x", "pass@1": {"humaneval": 61.6, "humaneval+": 56.7, "mbpp": 64.6, "mbpp+": None}},
        "local": {"pass@1_base": {"humaneval": 56.1, "mbpp": None}, "pass@1_plus": {"humaneval": 51.8, "mbpp": None}},
        "GPT-X": {"pass@1": {"humaneval": 99.0}},
    }
    write(tmp_path / "results.json", summary)
    found = read(tmp_path, {"path": "./results.json", "format": "evalplus", "unknown_models": "skip"}, tasks=[])
    assert values(found) == {
        ("hub", "HumanEval"): 61.6,
        ("hub", "HumanEval+"): 56.7,
        ("hub", "MBPP"): 64.6,
        ("local", "HumanEval"): 56.1,
        ("local", "HumanEval+"): 51.8,
    }


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"results": {}}, "neither the key 'eval'"),
        ({}, "neither the key 'eval'"),
        (evalplus_file() | {"eval": {}}, "eval has tasks of none"),
        (evalplus_file() | {"eval": {"BigCode/1": []}}, "eval has tasks of BigCode"),
        (
            evalplus_file() | {"pass_at_k": {"base": {"pass@1": 7.5}}},
            r"pass_at_k\.base\.pass@1: 7.5 is not from 0",
        ),
        (evalplus_file() | {"pass_at_k": {"base": {"pass@10": 0.5}}}, "None is no number"),
        ({"eval": {"HumanEval/0": []}}, r"eval\.HumanEval/0 is no list of solutions"),
        ({"eval": {"HumanEval/0": [{"solution": "x"}]}}, "base_status is missing"),
        ({"eval": {"HumanEval/0": {"nfiles": 1, "base": 3, "plus": []}}}, "hold no statuses"),
    ],
)
def test_what_is_wrong_in_a_file_of_evalplus_is_named(tmp_path: Path, document: Any, said: str) -> None:
    write(tmp_path / "evalplus_results" / "hub_eval_results.json", json.dumps(document))
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path, EVALPLUS, tasks=[])
    assert str(caught.value).startswith("./evalplus_results/hub_eval_results.json")


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="the benchmark winogrande twice"):
        Benchmarks.model_validate({"tasks": [TASKS[0], TASKS[0]]})
    with pytest.raises(ValueError, match="the benchmark HumanEval twice"):
        Benchmarks.model_validate({"tasks": [TASKS[0] | {"name": "HumanEval"}], "imports": [EVALPLUS]})
    with pytest.raises(ValueError, match="lists no tasks to take from them"):
        Benchmarks.model_validate({"imports": [LM_EVAL]})
    with pytest.raises(ValueError, match="few_shots"):
        Benchmarks.model_validate({"tasks": [TASKS[0] | {"few_shots": 3}]})


def test_an_import_maps_to_models_of_the_study_alone(tmp_path: Path) -> None:
    path = import_study(tmp_path, [LM_EVAL | {"models": {"x": "locale"}}])
    with pytest.raises(
        StudyError, match="'x' is mapped to 'locale', which the study does not list; did you mean 'local'"
    ):
        load_study(path)
