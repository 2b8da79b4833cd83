"""Result files of lm_eval and EvalPlus become values of the study's models; what is wrong in one is named."""

from __future__ import annotations

import copy
import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from models_train.benchmarks.imports import OTHER_COMMIT, Imported, import_results
from models_train.errors import UserError
from models_train.study.benchmarks import Benchmarks
from models_train.study.fingerprints import LocationError
from models_train.study.revisions import keep_commit
from models_train.study.study import load_study
from models_train.study.yaml_lines import StudyError
from tests.support.result_files import TASKS, evalplus_file, import_study, lm_eval_file, solution, write

LM_EVAL = {"path": "./results", "format": "lm_eval"}
EVALPLUS = {"path": "./evalplus_results", "format": "evalplus"}


def read(
    folder: Path,
    *imports: dict[str, Any],
    tasks: list[dict[str, Any]] | None = None,
    models: list[dict[str, Any]] | None = None,
) -> Imported:
    path = import_study(folder, list(imports), tasks, models)
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
    other = lm_eval_file("/models/other")
    other["results"]["winogrande"]["acc,none"] = 0.5
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
    assert first.pipeline == "lm_eval, winogrande 1, 5-shot, acc"
    assert found.results[1].pipeline == "lm_eval, gsm8k 3, 5-shot, exact_match,strict-match"
    assert first.standard_error == pytest.approx(1.23226)
    assert first.source == "./results/org__hub/results_2026-11-20T10-00-00.1.json"


def test_other_shots_are_a_close_match(tmp_path: Path) -> None:
    write(tmp_path / "results" / "results_1.json", changed("n-shot", "winogrande", value=0))
    found = read(tmp_path, LM_EVAL)
    assert {result.benchmark: result.match for result in found.results} == {"winogrande": "close", "gsm8k": "exact"}


@pytest.mark.parametrize(
    ("document", "pipeline"),
    [
        (changed("n-shot", "winogrande", value=0), "lm_eval, winogrande 1, 0-shot, acc"),
        (changed("versions", "winogrande", value=2), "lm_eval, winogrande 2, 5-shot, acc"),
        (changed("versions", value={}), "lm_eval, winogrande of unstated version, 5-shot, acc"),
        (lm_eval_file() | {"n-shot": {}}, "lm_eval, winogrande 1, shots not stated, acc"),
        (
            lm_eval_file() | {"chat_template": "{{ messages }}"},
            "lm_eval, winogrande 1, 5-shot, acc; a chat template was applied",
        ),
    ],
)
def test_another_version_prompt_or_number_of_shots_is_another_pipeline(
    tmp_path: Path, document: dict[str, Any], pipeline: str
) -> None:
    write(tmp_path / "results" / "results_1.json", document)
    assert {one.benchmark: one.pipeline for one in read(tmp_path, LM_EVAL).results}["winogrande"] == pipeline


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
        (lm_eval_file("org/hubb"), "the model 'org/hubb' is not one of the study's; is it hub?"),
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
    expected = {"HumanEval": 75.0, "HumanEval+": 50.0, "MBPP": 66.666667, "MBPP+": 33.333333}
    assert values(found) == {("hub", benchmark): value for benchmark, value in expected.items()}
    assert {(one.metric, one.n_examples) for one in found.results} == {("pass@1_pct", 164), ("pass@1_pct", 378)}
    assert {one.match for one in found.results} == {"exact"} and not found.close


def test_files_of_evalplus_before_0_2_and_of_the_base_tests_alone(tmp_path: Path) -> None:
    # Of two solutions one passes both kinds of tests: half a task.
    half = {
        "nfiles": 2,
        "base": [["success", [True]], ["success", [True]]],
        "plus": [["success", [True]], ["failed", [False]]],
    }
    none = {"nfiles": 1, "base": [["timed out", []]], "plus": [["timed out", []]]}
    old = {"date": "x", "hash": "y", "eval": {f"HumanEval/{n}": none if n % 2 else half for n in range(164)}}
    write(tmp_path / "evalplus_results" / "hub_temp_0.8" / "eval_results.json", old)
    for models in ({"hub_temp_0.8": "hub"}, {}):
        found = read(tmp_path, EVALPLUS | {"models": models}, tasks=[])
        assert values(found) == {("hub", "HumanEval"): 50.0, ("hub", "HumanEval+"): 25.0}
        assert {reason for _, reason in found.close} == {"answers were sampled, not greedy"}
    base_only = {"eval": {f"HumanEval/{n}": [{"base_status": "pass", "plus_status": None}] for n in range(164)}}
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


A, B = "1a" * 20, "2b" * 20
"""Two commits."""
STEPS = [
    {"model_id": "early", "hub_id": "org/steps", "revision": A},
    {"model_id": "late", "hub_id": "org/steps", "revision": B},
]
WINOGRANDE = [TASKS[0]]
MMLU = [{"name": "mmlu", "few_shot": 5, "topic": "General", "run": False}]


def mmlu_file(shots: dict[str, int | None], own: int | None = None, **more: Any) -> dict[str, Any]:
    """mmlu, its groups stem and other, and four tasks, with the shots of the tasks and of mmlu itself."""
    groups = {"mmlu": ["mmlu_stem", "mmlu_other"], "mmlu_stem": ["a", "b"], "mmlu_other": ["c", "d"]}
    stated = {name: value for name, value in (shots | {"mmlu": own}).items() if value is not None}
    return lm_eval_file() | {
        "results": {name: {"alias": name, "acc,none": 0.46, "acc_stderr,none": 0.01} for name in ("mmlu", *"abcd")},
        "groups": {"mmlu": {"alias": "mmlu", "acc,none": 0.46, "acc_stderr,none": 0.01}},
        "group_subtasks": groups,
        "configs": {},
        "versions": {},
        "n-shot": stated,
        "n-samples": {name: {"original": 100, "effective": 100} for name in "abcd"},
        "higher_is_better": {"mmlu": {"acc": True}},
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("shots", "own", "stored", "match"),
    [
        (dict.fromkeys("abcd", 5), None, "5", "exact"),
        (dict.fromkeys("abcd", 0), None, "0", "close"),
        ({"a": 5, "b": 5, "c": 5, "d": 0}, None, "0, 5", "close"),
        (dict.fromkeys("abcd", 5), 0, "5", "exact"),  # lm_eval 0.4.0 states 0 of every group
        ({"a": 5, "b": 5, "c": 5}, None, None, "close"),
        ({"a": 0}, 5, None, "close"),
        ({}, 5, "5", "exact"),
        ({}, None, None, "close"),
    ],
)
def test_shots_of_a_group_are_those_of_all_its_tasks(
    tmp_path: Path, shots: dict[str, int | None], own: int | None, stored: str | None, match: str
) -> None:
    write(tmp_path / "results" / "results_1.json", mmlu_file(shots, own))
    found = read(tmp_path, LM_EVAL, tasks=MMLU)
    (result,) = found.results
    assert (result.value, result.shots, result.match, result.n_examples) == (46.0, stored, match, 400)
    assert bool(found.close) == (match == "close"), "the reason is told"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"n-shot": {}}, "does not state the shots"),
        ({"n-shot": {"winogrande": "N/A"}}, "does not state the shots"),
        ({"n-shot": {"winogrande": "0"}}, "shots are 0, the study asks for 5"),
        ({"n-shot": {}, "configs": {"winogrande": {"num_fewshot": 10}}}, "shots are 10"),
        ({"chat_template": "{{ messages }}"}, "a chat template"),
        ({"chat_template_sha": "0a1b"}, "a chat template"),
        ({"system_instruction": "You are kind."}, "a system instruction"),
        ({"n-samples": None, "config": {"model_args": "pretrained=org/hub"}}, "on how many examples"),
    ],
)
def test_what_a_file_does_not_state_or_does_otherwise_is_no_exact_match(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    write(tmp_path / "results" / "results_1.json", lm_eval_file() | change)
    found = read(tmp_path, LM_EVAL, tasks=WINOGRANDE)
    assert [result.match for result in found.results] == ["close"]
    assert [reason in said for _, said in found.close] == [True]


def test_without_few_shot_in_the_study_shots_are_not_compared(tmp_path: Path) -> None:
    write(tmp_path / "results" / "results_1.json", lm_eval_file())
    found = read(tmp_path, LM_EVAL, tasks=[{key: TASKS[0][key] for key in ("name", "topic", "run")}])
    assert [(result.shots, result.match) for result in found.results] == [("5", "close")]


def test_a_file_before_0_4_states_shots_and_limit_of_all_tasks(tmp_path: Path) -> None:
    document = {
        "results": {"winogrande": {"acc": 0.6, "acc_stderr": 0.01}},
        "versions": {"winogrande": 0},
        "config": {"model": "hf-causal", "model_args": "pretrained=org/hub", "num_fewshot": 5, "limit": None},
    }
    write(tmp_path / "results" / "results_1.json", document)
    (result,) = read(tmp_path, LM_EVAL, tasks=WINOGRANDE).results
    assert (result.value, result.shots, result.match) == (60.0, "5", "exact")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            lm_eval_file() | {"configs": {"winogrande": {"num_fewshot": 0}}},
            r"says 5 \(n-shot\.winogrande\), but also 0",
        ),
        (mmlu_file(dict.fromkeys("abcd", 0), 5), "says 5 shots for mmlu, but 0 for its tasks"),
        (lm_eval_file() | {"model_name": "org/two"}, r"says org/two \(model_name\), but also org/hub"),
        (
            lm_eval_file() | {"config": {"model_args": f"pretrained=org/hub,revision={A}", "model_sha": B}},
            f"says revision {A}, but config.model_sha {B}",
        ),
        (
            lm_eval_file() | {"config": {"model_args": "pretrained=org/hub,revision=v1", "model_revision": "v2"}},
            r"says v1 \(config\.model_args: revision\), but also v2",
        ),
        (
            lm_eval_file() | {"configs": {"winogrande": {"metadata": {"version": 2}}}},
            r"says 1\.0 \(versions\.winogrande\), but also 2\.0",
        ),
        (
            mmlu_file({}) | {"groups": {"mmlu": {"acc,none": 0.5}}},
            "results.mmlu says acc,none 0.46, but groups.mmlu 0.5",
        ),
        (
            lm_eval_file() | {"n-samples": {"winogrande": {"original": 10, "effective": 1267}}},
            r"n-samples\.winogrande says 1,267 examples of 10",
        ),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, document: dict[str, Any], said: str) -> None:
    write(tmp_path / "results" / "results_1.json", document)
    with pytest.raises(UserError, match=rf"results_1\.json: .*{said}"):
        read(tmp_path, LM_EVAL, tasks=[*WINOGRANDE, *MMLU])


@pytest.mark.parametrize("of", ["winogrande", "b"])
def test_a_part_of_the_examples_is_refused(tmp_path: Path, of: str) -> None:
    """`lm_eval --samples` leaves config.limit empty; of a group, one task is enough."""
    document = lm_eval_file() if of == "winogrande" else mmlu_file(dict.fromkeys("abcd", 5))
    document["n-samples"][of]["effective"] = 3
    write(tmp_path / "results" / "results_1.json", document)
    with pytest.raises(
        UserError, match=r"results\.\w+: was measured on (3|303) examples, the study asks for (1,267|400)"
    ):
        read(tmp_path, LM_EVAL, tasks=[*WINOGRANDE, *MMLU])


def test_a_limit_above_the_number_of_examples_leaves_nothing_out(tmp_path: Path) -> None:
    document = changed("config", "limit", value=5000)
    write(tmp_path / "results" / "results_1.json", document)
    assert {result.match for result in read(tmp_path, LM_EVAL).results} == {"exact"}


def test_a_limit_of_the_study_is_compared_with_what_was_run(tmp_path: Path) -> None:
    limited = [TASKS[0] | {"limit": 100}]
    write(tmp_path / "results" / "results_1.json", lm_eval_file())
    assert [result.match for result in read(tmp_path, LM_EVAL, tasks=limited).results] == ["close"]
    document = changed("config", "limit", value=100)
    document["n-samples"]["winogrande"]["effective"] = 100
    write(tmp_path / "results" / "results_1.json", document)
    (result,) = read(tmp_path, LM_EVAL, tasks=limited).results
    assert (result.match, result.n_examples) == ("exact", 100)


def of_commit(value: float, arguments: Any, **config: Any) -> dict[str, Any]:
    document = lm_eval_file("org/steps")
    document["results"]["winogrande"]["acc,none"] = value
    document["config"] = {"model": "hf", "model_args": arguments, "limit": None} | config
    return document


@pytest.mark.parametrize(
    ("early", "late"),
    [
        (("pretrained=org/steps", {"model_sha": A}), ("pretrained=org/steps,revision=step9", {"model_sha": B})),
        ((f"pretrained=org/steps,revision={A}", {}), ({"pretrained": "org/steps", "revision": B.upper()}, {})),
        ((f"pretrained=org/steps,revision={A[:8]}", {}), ("pretrained=org/steps", {"model_revision": B[:7]})),
    ],
)
def test_models_of_one_repository_are_told_apart_by_commit(tmp_path: Path, early: Any, late: Any) -> None:
    for name, value, (arguments, config) in (("a", 0.5, early), ("b", 0.7, late)):
        write(tmp_path / "results" / name / "results_1.json", of_commit(value, arguments, **config))
    found = read(tmp_path, LM_EVAL, tasks=WINOGRANDE, models=STEPS)
    assert {(one.model_id, one.value, one.match) for one in found.results} == {
        ("early", 50.0, "exact"),
        ("late", 70.0, "exact"),
    }


def test_results_of_another_commit_are_not_taken(tmp_path: Path) -> None:
    write(tmp_path / "results" / "results_1.json", of_commit(0.5, "pretrained=org/steps", model_sha=A))
    with pytest.raises(UserError, match=f"measured on org/steps at {A}, but the study lists late at {B}"):
        read(tmp_path, LM_EVAL, tasks=WINOGRANDE, models=STEPS[1:])
    mapped = LM_EVAL | {"models": {"org/steps": "late"}}
    with pytest.raises(UserError, match=f"at {A}, but the study lists late"):
        read(tmp_path, mapped, tasks=WINOGRANDE, models=STEPS)
    found = read(tmp_path, LM_EVAL | {"unknown_models": "skip"}, tasks=WINOGRANDE, models=STEPS[1:])
    assert not found.results and found.skipped["files of other commits or forms of the study's models"] == 1


def test_a_file_without_commit_is_of_a_model_only_where_the_import_says_so(tmp_path: Path) -> None:
    write(tmp_path / "results" / "results_1.json", of_commit(0.5, "pretrained=org/steps"))
    with pytest.raises(UserError, match=r"lists several models \(early, late\), and does not tell their commits apart"):
        read(tmp_path, LM_EVAL, tasks=WINOGRANDE, models=STEPS)
    found = read(tmp_path, LM_EVAL | {"models": {"org/steps": "late"}}, tasks=WINOGRANDE, models=STEPS)
    assert [(one.model_id, one.match) for one in found.results] == [("late", "close")]
    found = read(tmp_path, LM_EVAL, tasks=WINOGRANDE, models=STEPS[1:])
    assert [(one.model_id, one.match) for one in found.results] == [("late", "close")]


def test_a_branch_is_mapped_to_a_model_by_name(tmp_path: Path) -> None:
    write(tmp_path / "results" / "results_1.json", of_commit(0.5, "pretrained=org/steps,revision=step9"))
    unpinned = [{"model_id": "last", "hub_id": "org/steps"}]
    for models in (STEPS, unpinned):
        with pytest.raises(UserError, match=r"at step9, but the study lists .* map `org/steps@step9: <model_id>`"):
            read(tmp_path, LM_EVAL, tasks=WINOGRANDE, models=models)
    mapped = LM_EVAL | {"models": {"org/steps@step9": "early"}}
    found = read(tmp_path, mapped, tasks=WINOGRANDE, models=STEPS)
    assert [(one.model_id, one.match) for one in found.results] == [("early", "close")]


def test_a_commit_without_one_in_the_study_is_not_compared(tmp_path: Path) -> None:
    unpinned = [{"model_id": "last", "hub_id": "org/steps"}]
    write(tmp_path / "results" / "results_1.json", of_commit(0.5, "pretrained=org/steps,revision=main", model_sha=A))
    assert [one.match for one in read(tmp_path, LM_EVAL, tasks=WINOGRANDE, models=unpinned).results] == ["exact"]
    write(tmp_path / "results" / "results_1.json", of_commit(0.5, f"pretrained=org/steps,revision={A}", model_sha=A))
    assert [one.match for one in read(tmp_path, LM_EVAL, tasks=WINOGRANDE, models=unpinned).results] == ["close"]


@pytest.mark.parametrize(("commit", "match"), [(A, "exact"), (B, "close")])
def test_the_commit_of_the_first_job_is_compared_where_the_study_states_none(
    tmp_path: Path, commit: str, match: str
) -> None:
    write(tmp_path / "results" / "results_1.json", of_commit(0.5, "pretrained=org/steps", model_sha=A))
    path = import_study(tmp_path, [LM_EVAL], WINOGRANDE, [{"model_id": "last", "hub_id": "org/steps"}])
    keep_commit(tmp_path, load_study(path, tmp_path).by_id["last"], commit)
    found = import_results(load_study(path, tmp_path), tmp_path)
    assert [one.match for one in found.results] == [match]
    assert {reason for _, reason in found.close} == ({OTHER_COMMIT} if match == "close" else set())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("pretrained=org/hub,load_in_8bit=True", "load_in_8bit=True"),
        ({"pretrained": "org/hub", "load_in_4bit": True}, "load_in_4bit=True"),
        ("pretrained=org/hub,gguf_file=hub.Q4_K_M.gguf", "gguf_file=hub"),
        ("pretrained=org/hub,quantization=fp8", "quantization=fp8"),
        ("pretrained=org/hub,autogptq=model.safetensors", "autogptq"),
        ("pretrained=org/hub,dtype=int8", "dtype=int8"),
        ("pretrained=org/hub,subfolder=checkpoint-10", "subfolder=checkpoint-10"),
        ("pretrained=org/hub,lora_local_path=/adapters/x", "lora_local_path"),
    ],
)
def test_other_forms_of_a_model_are_refused(tmp_path: Path, arguments: Any, said: str) -> None:
    write(tmp_path / "results" / "results_1.json", changed("config", "model_args", value=arguments))
    with pytest.raises(UserError, match=rf"another form of org/hub \({said}.*\) than the study's"):
        read(tmp_path, LM_EVAL)
    plain = {"pretrained": "org/hub", "dtype": "float16", "load_in_8bit": False, "quantization": None}
    write(tmp_path / "results" / "results_1.json", changed("config", "model_args", value=plain))
    assert {one.match for one in read(tmp_path, LM_EVAL).results} == {"exact"}


def test_an_adapter_is_a_model_of_its_own(tmp_path: Path) -> None:
    document = lm_eval_file("me/adapter")
    document["config"]["model_args"] = "pretrained=org/hub,peft=me/adapter"
    write(tmp_path / "results" / "results_1.json", document)
    with pytest.raises(UserError, match="the model 'me/adapter' is not one of the study's"):
        read(tmp_path, LM_EVAL)


def test_a_quantised_repository_is_not_mapped_to_the_model_itself(tmp_path: Path) -> None:
    write(tmp_path / "results" / "results_1.json", lm_eval_file("them/hub-GPTQ-Int4"))
    with pytest.raises(UserError, match="measured on them/hub-GPTQ-Int4, by its name quantised, not on hub"):
        read(tmp_path, LM_EVAL | {"models": {"them/hub-GPTQ-Int4": "hub"}})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (lm_eval_file() | {"model_name": "", "config": {"model_args": "", "limit": None}}, "names no model"),
        ({"config_general": {"model_name": "org/hub"}, "results": {"leaderboard|arc|5|0": {}}}, "of lighteval, not of"),
        ({"task_name": "arc", "task_config": {}, "metrics": {}}, "OLMES"),
        (evalplus_file(), r"EvalPlus \(format: evalplus\)"),
        (mmlu_file({}) | {"results": {"mmlu": {" ": " ", "alias": "mmlu"}}, "groups": {}}, "one by one: a, b, c, d"),
        (mmlu_file({}) | {"results": {"a": {"acc,none": 0.5}}, "groups": {}}, "no value of the group mmlu.*a, b, c, d"),
    ],
)  # fmt: skip
def test_files_that_people_have_are_refused_in_words(tmp_path: Path, document: dict[str, Any], said: str) -> None:
    write(tmp_path / "results" / "results_1.json", document)
    with pytest.raises(UserError, match=rf"^\./results/results_1\.json: .*{said}"):
        read(tmp_path, LM_EVAL, tasks=MMLU)


def test_packed_pointed_and_marked_files(tmp_path: Path) -> None:
    path = tmp_path / "results" / "results_1.json"
    path.parent.mkdir()
    content = json.dumps(lm_eval_file()).encode()
    for bad, said in (
        (gzip.compress(content), r"packed \(gzip\); unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "pointer of Git LFS"),
        (json.dumps(lm_eval_file()).encode("utf-16"), "is UTF-16; save it as UTF-8"),
    ):
        path.write_bytes(bad)
        with pytest.raises(UserError, match=said):
            read(tmp_path, LM_EVAL)
    path.write_bytes(b"\xef\xbb\xbf" + content)
    assert len(read(tmp_path, LM_EVAL).results) == 2
    (path.parent / "results_2.json.gz").write_bytes(gzip.compress(content))
    assert read(tmp_path, LM_EVAL).skipped.total() == 2, "a task of others, and the packed file"
    path.unlink()
    with pytest.raises(UserError, match=r"the folder has no results_\*\.json; unpack results_2\.json\.gz"):
        read(tmp_path, LM_EVAL)


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "results_1.json", lm_eval_file())
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "results")
    assert read(tmp_path, LM_EVAL).n_files == 1


@pytest.mark.parametrize(("dataset", "n", "of"), [("HumanEval", 12, 164), ("HumanEval", 163, 164), ("Mbpp", 100, 378)])
def test_evalplus_on_a_part_of_the_tasks_is_refused(tmp_path: Path, dataset: str, n: int, of: int) -> None:
    write(tmp_path / "evalplus_results" / "org--hub_vllm_temp_0.0_eval_results.json", evalplus_file(dataset, n=n))
    with pytest.raises(UserError, match=f"eval has {n} of the {of} tasks"):
        read(tmp_path, EVALPLUS, tasks=[])


def test_the_399_tasks_of_an_older_mbpp_are_a_close_match(tmp_path: Path) -> None:
    document = evalplus_file("Mbpp", with_rates=False)
    document["eval"] |= {f"Mbpp/{n}": [solution("pass", "pass")] for n in range(378, 399)}
    write(tmp_path / "evalplus_results" / "org--hub_vllm_temp_0.0_eval_results.json", document)
    results = read(tmp_path, EVALPLUS, tasks=[]).results
    assert {(one.n_examples, one.match) for one in results} == {(399, "close")}


def test_a_stated_pass_rate_is_the_counted_one(tmp_path: Path) -> None:
    document = evalplus_file() | {"pass_at_k": {"base": {"pass@1": 0.9}}}
    write(tmp_path / "evalplus_results" / "org--hub_vllm_temp_0.0_eval_results.json", document)
    with pytest.raises(UserError, match=r"pass@1 is 90 %, but 75 % of the solutions in the file passed"):
        read(tmp_path, EVALPLUS, tasks=[])


def test_nameless_files_of_evalplus_are_named_by_their_folders(tmp_path: Path) -> None:
    write(tmp_path / "evalplus_results" / "hub" / "humaneval" / "samples_eval_results.json", evalplus_file())
    write(tmp_path / "evalplus_results" / "local" / "humaneval" / "samples_eval_results.json", evalplus_file())
    found = read(tmp_path, EVALPLUS, tasks=[])
    assert {(one.model_id, one.benchmark) for one in found.results} == {
        (model, benchmark) for model in ("hub", "local") for benchmark in ("HumanEval", "HumanEval+")
    }
    write(tmp_path / "one" / "samples_eval_results.json", evalplus_file())
    found = read(tmp_path, EVALPLUS | {"path": "./one", "models": {"samples": "hub"}}, tasks=[])
    assert {one.model_id for one in found.results} == {"hub"}


def test_files_of_evalplus_name_no_commit_and_no_quantised_backend(tmp_path: Path) -> None:
    write(tmp_path / "evalplus_results" / "org--steps_vllm_temp_0.0_eval_results.json", evalplus_file())
    found = read(tmp_path, EVALPLUS, tasks=[], models=STEPS[:1])
    assert {one.match for one in found.results} == {"close"}
    with pytest.raises(UserError, match="does not tell their commits apart"):
        read(tmp_path, EVALPLUS, tasks=[], models=STEPS)
    write(tmp_path / "packed" / "org--hub_gptqmodel_temp_0.0_eval_results.json", evalplus_file())
    with pytest.raises(UserError, match="another form of org/hub"):
        read(tmp_path, EVALPLUS | {"path": "./packed"}, tasks=[])
