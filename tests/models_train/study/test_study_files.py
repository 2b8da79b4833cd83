"""Study files: the shipped ones, and the messages of every kind of problem."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import ValidationError

from models_train.study.settings import Stage
from models_train.study.study import Study, load_studies, load_study
from models_train.study.yaml_lines import StudyError

REPOSITORY = Path(__file__).resolve().parents[3]
PUBLISHED = REPOSITORY / "dagster_project" / "studies" / "published.yaml"

SMALL = """\
study_id: small
title: Two models
synthetic: true
source: made for a test
size_groups:
  - {name: "<3", params_b_from: 0, params_b_below: 3, default: tiny}
  - {name: ">=3", params_b_from: 3, default: large}
seeds:
  - {name: table_4_regression, source: here, licence: none}
models:
  - model_id: tiny
    hub_id: someone/tiny
    family: T
    stage: base
    params_b: 1
  - model_id: large
    hub_id: someone/large
    family: T
    stage: instruct
    parent: tiny
    params_b: 3.0
    tokens_t: 2.5
"""


def problems_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError) as caught:
        load_study(path)
    message = str(caught.value)
    assert all(line.startswith(str(path)) for line in message.splitlines())
    return message.replace(str(path), "study.yaml")


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def test_small_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(SMALL, encoding="utf-8")
    study = load_study(path)
    assert study.model_ids == study.compared_model_ids == ("tiny", "large")
    assert study.models[1].params_b == 3.0 and study.models[0].publisher is None
    assert study.size_groups[1].params_b_below is None
    assert study.use_loose_benchmarks is False and study.seeds[0].paper_table is None


def test_published_study_is_the_papers() -> None:
    study = load_study(PUBLISHED)
    with (REPOSITORY / "dbt" / "seeds" / "table_3_models.csv").open(encoding="utf-8") as file:
        table_3 = {row["model_id"]: row for row in csv.DictReader(file)}
    assert len(study.models) == 42 and set(study.compared_model_ids) == set(table_3)
    by_id = {model.model_id: model for model in study.models}
    assert all(by_id[name].hub_id == row["hub_id"] for name, row in table_3.items())
    assert tuple(group.name for group in study.size_groups) == ("<3", ">=3 and <6", ">=6")
    for group in study.size_groups:  # the sizes of the defaults stand in the seed, not in the file
        params = float(table_3[group.default]["params_b"])
        assert group.params_b_from <= params < (group.params_b_below or float("inf"))
    chain = ["Llama-3.1-Tulu-3-8B"]
    while (parent := by_id[chain[-1]].parent) is not None:
        chain.append(parent)
    assert [by_id[name].stage for name in chain] == ["rlvr", "dpo", "sft", "base"]
    assert {model.stage for model in study.models} == set(get_args(Stage))
    assert [model.model_id for model in study.models if not model.is_compared] == [
        "Llama-3.1-8B",
        "Hermes-3-Llama-3.1-8B",
    ]


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("title: Two", "titel: Two", "titel", "unknown key; did you mean 'title'?"),
        ("title: Two", "titel: Two", "study_id", "title: missing; add this key"),
        (
            "    family: T\n    stage: base",
            "    famly: T\n    stage: base",
            "famly",
            "did you mean 'family'?",
        ),
        (
            "default: tiny",
            "defualt: tiny",
            '"<3"',
            "size_groups[0].defualt: unknown key; did you mean 'default'?",
        ),
        ("synthetic: true", 'synthetic: "true"', "synthetic", "must be true or false, without quotes"),
        ("params_b: 1", 'params_b: "1"', "params_b: ", "models[0].params_b: '1' must be a number"),
        ("params_b: 1", "params_b: -1", "params_b: -1", "-1 should be greater than 0"),
        ("params_b: 1", "params_b: .nan", "params_b: .nan", "must be a finite number"),
        ("params_b: 1", "params_b: .inf", "params_b: .inf", "must be a finite number"),
        ("title: Two models", "title:", "title", "has no value; give it one"),
        ("title: Two models", "title: 7", "title", "7 must be text; put it in quotes"),
        ("stage: base", "stage: based", "stage: based", "'base', 'sft', 'dpo', 'rlvr' or 'instruct'"),
        ("model_id: large", "model_id: tiny # again", "# again", "is already listed at models[0]"),
        ("parent: tiny", "parent: tinny", "parent", "not listed; did you mean 'tiny'?"),
        ("parent: tiny", "parent: large", "parent", "parents go in a circle: large -> large"),
        ("stage: base", "stage: base\n    parent: large", "parent: large", "tiny -> large -> tiny"),
        ("default: large", "default: lager", "lager", "not among the models; did you mean 'large'?"),
        ("stage: base", "stage: base\n    is_compared: false", '"<3"', "'tiny' has is_compared: false"),
        (
            "params_b: 1",
            "params_b: 3",
            '"<3"',
            "has 3B parameters and lies outside its group (from 0B to below 3B)",
        ),
        ("params_b_below: 3", "params_b_below: 4", '">=3"', "overlap; set params_b_below of '<3' to 3"),
        ("params_b_below: 3, ", "", '">=3"', "overlap; set params_b_below of '<3' to 3"),
        ("params_b_below: 3", "params_b_below: 2", '">=3"', "leave a gap from 2B to 3B"),
        ("params_b_from: 0", "params_b_from: 3", '"<3"', "3 is not above params_b_from (3)"),
        ("params_b_from: 0", "params_b_from: 2", "params_b: 1", "1B parameters lie in no size group"),
        ('name: ">=3"', 'name: "<3"', "from: 3, def", "the size group '<3' is already listed"),
        ("study_id: small", "study_id: Small-1", "study_id", "lower-case letters, digits and '_' only"),
        ("study_id: small", 'study_id: ""', "study_id", "is empty"),
        ("hub_id: someone/tiny", 'hub_id: "a\\eb"', "hub_id", "control or invisible character"),
        ("hub_id: someone/tiny", 'hub_id: "a\\u202eb"', "hub_id", "control or invisible character"),
        ("hub_id: someone/tiny", 'hub_id: " a"', "hub_id", "begins or ends with a space"),
        ("hub_id: someone/tiny", "hub_id: " + "a" * 201, "hub_id", "is 201 characters long; at most 200"),
        ("stage: base", "stage: base\n    revision: a..b", "revision", "is no revision; give a commit, branch or tag"),
        ("stage: base", "stage: base\n    stage: sft", "stage: sft", "is given more than once; keep one"),
    ],
)
def test_one_problem_is_named_with_its_line(tmp_path: Path, old: str, new: str, at: str, said: str) -> None:
    assert old in SMALL
    text = SMALL.replace(old, new, 1)
    message = problems_of(tmp_path, text)
    expected = [line for line in message.splitlines() if said in line]
    assert expected, message
    assert expected[0].startswith(f"study.yaml:{line_of(text, at)}: ") or "missing" in said, message


CANDIDATES = (
    SMALL.replace("params_b_from: 0", "params_b_from: 1")
    + """\
candidates:
  - {model_id: first, hub_id: a/b, publisher: P, family: T, stage: sft, params_b: 1.5, parent: tiny}
  - model_id: second
    hub_id: a/c
    publisher: P
    family: T
    stage: dpo
    params_b: 7
    parent: first
"""
)


def test_a_candidate_may_descend_from_models_and_candidates(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(CANDIDATES, encoding="utf-8")
    assert [candidate.parent for candidate in load_study(path).candidates] == ["tiny", "first"]


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("parent: first", "parent: second", "parent: second", "candidates[1].parent: parents go in a circle: second"),
        ("parent: tiny}", "parent: second}", "parent: second}", "candidates[0].parent: parents go in a circle: first"),
        ("parent: first", "parent: fisrt", "parent: fisrt", "candidates[1].parent: the parent 'fisrt' is not listed"),
        ("stage: base", "stage: base\n    parent: frist", "frist", "is not listed; did you mean 'first'?"),
        (
            "params_b: 7",
            "params_b: 0.5",
            "params_b: 0.5",
            "candidates[1].params_b: 0.5B parameters lie in no size group",
        ),
    ],
)
def test_candidates_follow_the_rules_of_models(tmp_path: Path, old: str, new: str, at: str, said: str) -> None:
    assert old in CANDIDATES
    text = CANDIDATES.replace(old, new, 1)
    found = [line for line in problems_of(tmp_path, text).splitlines() if said in line]
    assert found and found[0].startswith(f"study.yaml:{line_of(text, at)}: ")


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    text = SMALL.replace("title:", "titel:").replace("parent: tiny", "parent: nobody")
    text = text.replace("params_b: 1\n", 'params_b: "1"\n').replace("default: large", "default: huge")
    lines = problems_of(tmp_path, text).splitlines()
    assert len(lines) == 5
    numbers = [int(line.split(":")[1]) for line in lines]
    assert numbers == sorted(numbers)


def test_entries_with_a_problem_count_as_listed(tmp_path: Path) -> None:
    text = SMALL.replace("params_b: 1\n", "params_b: 0\n").replace("params_b: 3.0", "params_b: -1")
    assert problems_of(tmp_path, text).splitlines() == [
        f"study.yaml:{line_of(text, 'params_b: 0')}: models[0].params_b: 0 should be greater than 0; correct it",
        f"study.yaml:{line_of(text, 'params_b: -1')}: models[1].params_b: -1 should be greater than 0; correct it",
    ]


@pytest.mark.parametrize("name", ["models", "size_groups"])
def test_empty_lists_and_wrong_shapes(tmp_path: Path, name: str) -> None:
    settings = yaml.safe_load(SMALL)
    for value, said in (([], "list at least 1"), ({"a": 1}, "must be a list"), ([7], "'key: value' lines")):
        message = problems_of(tmp_path, yaml.safe_dump({**settings, name: value}))
        assert said in message, message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "study.yaml:1: holds no settings"),
        ("- 1\n", "study.yaml:1: holds no settings"),
        (
            "study_id: a\ntitle: b: c\n",
            "study.yaml:2: is not valid YAML: mapping values are not allowed here",
        ),
        ("models: [\n", "is not valid YAML"),
        ("\tstudy_id: a\n", "study.yaml:1: is not valid YAML"),
        ("a: 2024-13-45\n", "is not valid YAML: month must be in 1..12"),
        ("? [1]\n: 2\n", "study.yaml:1: is not valid YAML"),
        ("title: &a [*a]\n", "title: "),
        ("a: !!python/object/apply:os.getcwd []\n", "is not valid YAML: could not determine a constructor"),
    ],
)
def test_broken_yaml(tmp_path: Path, text: str, said: str) -> None:
    assert said in problems_of(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such file"):
        load_study(tmp_path / "nowhere.yaml")
    with pytest.raises(StudyError, match="cannot be read: Is a directory"):
        load_study(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"title: \xff\xfe")
    with pytest.raises(StudyError, match="is not UTF-8 text"):
        load_study(tmp_path / "bytes.yaml")


def test_contradictions_are_refused_without_a_file_too() -> None:
    settings = yaml.safe_load(SMALL)
    Study.model_validate(settings)
    settings["size_groups"][1]["default"] = "nobody"
    with pytest.raises(ValidationError, match="not among the models"):
        Study.model_validate(settings)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{model_id: tiny-b, arch", "{model_id: tiny-x, arch", "'tiny-x', which the study does not list; did"),
        ("{model_id: tiny-b, arch", "{model_id: tiny-c, arch", "is already listed at lab.models[1]"),
        ("stage: sft, parent: tiny-a}", "stage: base}", "must be one of sft, dpo, rlvr, not base"),
        ("stage: sft, parent: tiny-a}", "stage: sft}", "its parent must be a model of the lab, not None"),
    ],
)
def test_models_of_the_lab_are_compared_with_those_of_the_study(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = PUBLISHED.with_name("lab.yaml").read_text(encoding="utf-8")
    assert old in text
    assert said in problems_of(tmp_path, text.replace(old, new, 1))


@pytest.mark.parametrize("name", ["small (1).yaml", "small copy.yaml", "Small.yaml", "a.yaml", "z.yaml"])
def test_two_files_with_one_study_id_are_both_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / name).write_text("# A copy\n" + SMALL.replace("Two models", "Two other models"))
    first, second = sorted((name, "small.yaml"))
    with pytest.raises(StudyError) as caught:
        load_studies(tmp_path)
    line = 2 if second == name else 1
    assert str(caught.value) == (
        f"{tmp_path / second}:{line}: study_id: 'small' is also that of {first}; give one of them another, or move "
        "one of the files away"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("smal", "is no study of the folder; did you mean 'small'?"),
        ("mine", "is this study itself, whose models are learned from in any case; remove it"),
        ("bare", "has no results of RewardBench's four categories, and scores of another benchmark do not compare"),
        ("real", "cannot be learned from: 'mine' is synthetic and 'real' is not; remove it"),
    ],
)
def test_a_study_learns_only_from_studies_that_compare(tmp_path: Path, name: str, said: str) -> None:
    seeds = "seeds:\n  - {name: table_4_regression, source: here, licence: none}\n"
    other = seeds.replace("table_4_regression", "rewardbench2_base_by_data")
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "bare.yaml").write_text(SMALL.replace("study_id: small", "study_id: bare").replace(seeds, other))
    real = SMALL.replace("study_id: small", "study_id: real").replace("synthetic: true", "synthetic: false")
    (tmp_path / "real.yaml").write_text(real)
    mine = SMALL.replace("study_id: small", "study_id: mine")
    (tmp_path / "mine.yaml").write_text(mine + "also_learn_from: [small]\n")
    assert load_studies(tmp_path)[tmp_path / "mine.yaml"].also_learn_from == ("small",)
    (tmp_path / "mine.yaml").write_text(mine + f"also_learn_from: [small, {name}]\n")
    with pytest.raises(StudyError) as caught:
        load_studies(tmp_path)
    assert f"also_learn_from[1]: '{name}' {said}" in str(caught.value)


@pytest.mark.parametrize("study_id", ["Small", "' small'", "'small '", "SMALL", "'small\\n'"])
def test_ids_that_differ_by_case_or_spaces_only_are_refused(tmp_path: Path, study_id: str) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "other.yaml").write_text(SMALL.replace("study_id: small", f"study_id: {study_id}"))
    with pytest.raises(StudyError, match=r"other\.yaml:1: study_id: "):
        load_studies(tmp_path)


@pytest.mark.parametrize("name", ["small.yml", "small.YAML", "other.YML"])
def test_a_study_that_nothing_would_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / name).write_text(SMALL)
    with pytest.raises(StudyError, match=rf"{name}: holds a study and is not read, because study files end in \.yaml"):
        load_studies(tmp_path)


def test_files_that_are_no_studies_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "compose.yml").write_text("services: {}\n")
    (tmp_path / "._small.yaml").write_bytes(b"\x00\x05\x16\x07 of a file system")
    (tmp_path / ".#small.yaml").symlink_to("nowhere")
    assert [path.name for path in load_studies(tmp_path)] == ["small.yaml"]


def test_without_seeds_the_study_file_describes_each_model(tmp_path: Path) -> None:
    text = SMALL.replace("seeds:\n  - {name: table_4_regression, source: here, licence: none}\n", "")
    text = text.replace("    params_b: 1\n", "").replace("    params_b: 3.0", "    params_b: 3.0\n    publisher: S")
    (tmp_path / "small.yaml").write_text(text)
    with pytest.raises(StudyError) as caught:
        load_studies(tmp_path)
    lines = [line.removeprefix(f"{tmp_path / 'small.yaml'}:") for line in str(caught.value).splitlines()]
    assert lines == [
        "9: models[0]: 'tiny' states no publisher; add it",
        "9: models[0]: 'tiny' states no params_b; add it",
    ]
