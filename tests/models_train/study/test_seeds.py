"""Seed files: the shipped ones pass, and every kind of wrong figure stops the run with one clear line."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from models_train.errors import UserError
from models_train.study.models import SeedSource
from models_train.study.seeds import SEEDS, SeedFacts, check_seeds
from models_train.study.study import Study, load_study

REPOSITORY = Path(__file__).resolve().parents[3]
SHIPPED = REPOSITORY / "dbt" / "seeds"
STUDY = load_study(REPOSITORY / "dagster_project" / "studies" / "published.yaml")
OTHER = load_study(REPOSITORY / "dagster_project" / "studies" / "rewardbench2.yaml")
TEACHERS = load_study(REPOSITORY / "dagster_project" / "studies" / "teachers.yaml")


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED, tmp_path / "seeds")
    return tmp_path / "seeds"


def check(folder: Path, names: list[str] | None = None) -> dict[str, SeedFacts]:
    seeds = STUDY.seeds if names is None else tuple(SeedSource(name=name, source="a", licence="b") for name in names)
    return check_seeds(folder, STUDY.model_copy(update={"seeds": seeds}), "published.yaml")


def problems(folder: Path, names: list[str] | None = None) -> list[str]:
    with pytest.raises(UserError) as caught:
        check(folder, names)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]


def test_the_shipped_seeds_pass_and_their_facts_are_right() -> None:
    facts = check(SHIPPED)
    assert set(SEEDS) == {seed.name for study in (STUDY, OTHER, TEACHERS) for seed in study.seeds}
    assert set(facts) == {seed.name for seed in STUDY.seeds}
    for name, fact in facts.items():
        assert fact.path == SHIPPED / f"{name}.csv"
        assert fact.sha256 == hashlib.sha256(fact.path.read_bytes()).hexdigest()
        with fact.path.open(encoding="utf-8", newline="") as file:
            assert fact.n_rows == len(list(csv.DictReader(file)))
    assert [facts[name].n_rows for name in ("table_3_models", "benchmark_results")] == [40, 1510]


def cell(file: Path, row: int, column: str, value: str) -> None:
    """Put a value into a cell; the first row below the header is row 2, as an editor counts its line."""
    with file.open(encoding="utf-8", newline="") as opened:
        lines = list(csv.reader(opened))
    lines[row - 1][lines[0].index(column)] = value
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows(lines)


@pytest.mark.parametrize(
    ("seed", "column", "value", "said"),
    [
        ("table_4_regression", "chat", "140", "chat: '140' should be less than or equal to 100; correct it"),
        ("table_4_regression", "score", "140", "score: '140' should be less than or equal to 100"),
        ("table_4_regression", "score", "-0.1", "score: '-0.1' should be greater than or equal to 0"),
        (
            "table_5_bradley_terry",
            "score",
            "60.0",
            "score: '60.0' is not the mean of the four categories (59.30",
        ),
        ("table_4_regression", "chat", "nan", "chat: 'nan' is not a number"),
        ("table_4_regression", "chat", "inf", "chat: 'inf' is not a number"),
        ("table_4_regression", "chat", "96,1", "chat: '96,1' is not a number"),
        ("table_4_regression", "chat", "9_6", "chat: '9_6' is not a number"),
        ("table_4_regression", "chat", "\u0669", "is not a number"),
        ("table_4_regression", "chat", " 96.1", "begins or ends with a space"),
        ("table_4_regression", "chat", "N/A", "chat: 'N/A' is not a number"),
        ("table_4_regression", "chat", "", "chat: '' is empty; give it a value"),
        ("table_4_regression", "chat", "1e400", "chat: '1e400' must be a finite number"),
        ("table_3_models", "params_b", "3.82e9", "params_b: '3.82e9' should be less than or equal to 2000"),
        ("table_3_models", "likes", "1,143", "likes: '1,143' is not a whole number; write it like 12"),
        ("table_3_models", "params_b", "0", "params_b: '0' should be greater than 0"),
        ("table_3_models", "tokens_t", "-1", "tokens_t: '-1' should be greater than 0"),
        ("table_3_models", "downloads", "12.5", "downloads: '12.5' is not a whole number"),
        ("table_3_models", "release_month", "08/2024", "release_month: '08/2024' does not match the format 2024-09"),
        ("table_3_models", "publisher", "a\x07b", "holds a control or invisible character"),
        ("rewardbench_subsets", "weight", "0", "weight: '0' should be greater than 0"),
        ("rewardbench_subsets", "weight", "100.5", "weight: '100.5' is not a whole number"),
        (
            "rewardbench_subsets",
            "weight_in_category",
            "1.5",
            "'1.5' should be less than or equal to 1",
        ),
        ("rewardbench_subsets", "category", "Chat", "'Chat' should be 'chat', 'chat_hard'"),
        (
            "benchmark_results",
            "match",
            "exakt",
            "match: 'exakt' should be 'exact', 'close', 'loose' or 'duplicate'",
        ),
        ("benchmark_results", "value", "100.5", "value: '100.5' should be less than or equal to 100"),
        (
            "benchmark_results",
            "benchmark",
            "gsm9k",
            "unknown benchmark 'gsm9k': neither in table_2_benchmarks.csv",
        ),
        ("benchmark_results", "metric", "raw_acuracy_pct", "did you mean 'raw_accuracy_pct'?"),
        ("benchmark_metrics", "priority", "0", "priority: '0' should be greater than 0"),
        ("benchmark_metrics", "priority", "2", "duplicate (benchmark, priority)"),
        ("table_1_post_training", "model_id", "Llama-3.1-8b", "did you mean 'Llama-3.1-8B'?"),
        ("benchmark_results", "model_id", "nobody", "not in published.yaml; list it in published.yaml"),
    ],
)
def test_a_wrong_cell_is_named(seeds: Path, seed: str, column: str, value: str, said: str) -> None:
    row = 3 if (seed, column) == ("table_3_models", "params_b") else 2
    cell(seeds / f"{seed}.csv", row, column, value)
    lines = problems(seeds)
    found = [line for line in lines if said in line]
    assert len(found) == 1, lines
    at = 3 if said.startswith("duplicate") else row
    assert found[0].startswith(f"{seed}.csv:{at}: ")


def test_a_model_by_a_wrong_name_is_unknown_and_missed(seeds: Path) -> None:
    cell(seeds / "table_4_regression.csv", 2, "model_id", "Phi-3.5-mini-instrukt")
    assert problems(seeds) == [
        "table_4_regression.csv:2: unknown model 'Phi-3.5-mini-instrukt': not in published.yaml; "
        "did you mean 'Phi-3.5-mini-instruct'?",
        "table_4_regression.csv: no row for the compared model 'Phi-3.5-mini-instruct'; add one, "
        "or set is_compared: false in published.yaml",
    ]


def test_a_duplicate_source_is_named_with_its_twin(seeds: Path) -> None:
    file = seeds / "benchmark_results.csv"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join([*lines, lines[4]]), encoding="utf-8")
    (line,) = problems(seeds)
    assert line.startswith("benchmark_results.csv:1512: duplicate (model, benchmark, source): Yi-1.5-6B-Chat, ")
    assert line.endswith("is already in row 5; keep one of them")


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, 1)

    return change


FIRST = "table_4_regression.csv:1: "


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced(b",chat,", b",chatt,"), FIRST + "column 'chatt' is not expected; did you mean"),
        (replaced(b",chat,", b",chatt,"), FIRST + "column 'chat' is missing; add it"),
        (replaced(b",chat,", b",chat,chat,"), FIRST + "column 'chat' is there more than once"),
    ],
)
def test_a_wrong_header_is_named(seeds: Path, change: Callable[[bytes], bytes], said: str) -> None:
    assert any(line.startswith(said) for line in changed(seeds, change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced(b"\nPhi-3-small", b"\n\nPhi-3-small"), "table_4_regression.csv:3: row without values; delete it"),
        (lambda content: content + b",,,,,\n", "table_4_regression.csv:42: row without values; delete it"),
        (replaced(b",96.1,", b",96,1,"), "table_4_regression.csv:2: has 7 cells, the header has 6"),
        (replaced(b"\nPhi-3-small", b'\n"Phi-3-s"mall'), "table_4_regression.csv:3: is not valid CSV"),
        (replaced(b"\nPhi-3-small", b'\n"Phi-3-small'), "table_4_regression.csv:3: is not valid CSV"),
        (replaced(b"model_id", b'"model"_id'), FIRST + "is not valid CSV"),
        (replaced(b"\nPhi-3-small", b"\nPh\xef-3-small"), "table_4_regression.csv:3: is not UTF-8 text"),
        (replaced(b"96.1", b"96\0.1"), "table_4_regression.csv:2: holds NUL characters"),
        (lambda content: content.decode().encode("utf-16"), FIRST + "is not UTF-8 text"),
        (lambda content: content.decode().encode("utf-16-le"), FIRST + "holds NUL characters"),
        (lambda content: content.replace(b",", b";"), FIRST + "cells are separated by semicolons"),
        (lambda content: content.replace(b",", b"\t"), FIRST + "cells are separated by tabs"),
        (lambda content: b"sep=;\n" + content.replace(b",", b";"), FIRST + "is a mark for spreadsheets"),
        (lambda content: b"# mine\n" + content, FIRST + "names none of the columns"),
        (replaced(b"\n", b"\r\n"), "table_4_regression.csv:2: ends with '\\n', the lines above with '\\r\\n'"),
        (lambda content: b"\n", FIRST + "the file is empty"),
        (lambda content: content.split(b"\n")[0], "table_4_regression.csv: has no rows"),
    ],
)
def test_a_broken_file_is_named_in_one_line(seeds: Path, change: Callable[[bytes], bytes], said: str) -> None:
    (line,) = changed(seeds, change)
    assert line.startswith(said)


def changed(seeds: Path, change: Callable[[bytes], bytes]) -> list[str]:
    """The problems of the seeds, one of them changed."""
    file = seeds / "table_4_regression.csv"
    file.write_bytes(change(file.read_bytes()))
    return problems(seeds)


def test_line_ends_of_windows_and_a_byte_order_mark_are_read(seeds: Path) -> None:
    file = seeds / "table_4_regression.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert check(seeds)["table_4_regression"].n_rows == 40


def test_the_largest_whole_numbers_fit_the_columns_that_dbt_makes() -> None:
    seeds = yaml.safe_load((SHIPPED / "_seeds.yml").read_text(encoding="utf-8"))["seeds"]
    limits = {"integer": 2**31 - 1, "bigint": 2**63 - 1}
    found = []
    for seed in seeds:
        schema = SEEDS[seed["name"]].row.model_json_schema()["properties"]
        types = seed["config"]["column_types"]
        assert set(schema) == set(types)
        for column, kind in types.items():
            if (schema[column].get("type") == "integer") != (kind in limits):
                found.append(f"{seed['name']}.{column} is {kind}")
            elif kind in limits and schema[column]["maximum"] > limits[kind]:
                found.append(f"{seed['name']}.{column} does not fit")
    assert found == []


def test_missing_and_unknown_seeds(seeds: Path) -> None:
    (seeds / "table_4_regression.csv").unlink()
    names = ["table_4_regression", "table_3_model"]
    assert problems(seeds, names) == [
        "published.yaml: there is no seed named 'table_3_model'; did you mean 'table_3_models'?",
        "table_4_regression.csv: no such file; restore it, or remove the seed from the study file",
    ]
    assert set(check(seeds, ["table_5_bradley_terry"])) == {"table_5_bradley_terry"}


def test_cells_over_several_lines_keep_the_count_of_lines(seeds: Path) -> None:
    file = seeds / "table_2_benchmarks.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1] + '"two\nlines"'
    lines[2] = lines[2].replace("lm_eval", "lm-eval")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = problems(seeds)
    assert found[0].startswith("table_2_benchmarks.csv:2: note: ") and "invisible character" in found[0]
    assert found[1].startswith("table_2_benchmarks.csv:4: framework: 'lm-eval' should be 'lm_eval' or 'evalplus'")


def test_many_problems_are_counted(seeds: Path) -> None:
    file = seeds / "table_4_regression.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([lines[0], *(line + "x" for line in lines[1:])]) + "\n", encoding="utf-8")
    found = problems(seeds)
    assert len(found) == 21 and found[-1] == "and 20 more"


def test_an_average_of_rewardbench_2_is_that_of_its_six_domains(seeds: Path) -> None:
    assert check_seeds(seeds, OTHER, "rewardbench2.yaml")["rewardbench2_base_by_data"].n_rows == 20
    cell(seeds / "rewardbench2_base_by_data.csv", 2, "average", "64.0")
    with pytest.raises(UserError, match=r"average: '64.0' is not the mean of the six domains \(63.45, tolerance 0.1\)"):
        check_seeds(seeds, OTHER, "rewardbench2.yaml")


@pytest.mark.parametrize(
    ("study", "seed", "column", "value", "said"),
    [
        (TEACHERS, "razin_teachers", "on_policy_accuracy", "66", "'66' should be less than or equal to 1"),
        (TEACHERS, "razin_teachers", "reward_variance", "-0.1", "'-0.1' should be greater than or equal to 0"),
        (TEACHERS, "razin_teachers", "gold_gain", "n/a", "gold_gain: 'n/a' is not a number"),
        (TEACHERS, "razin_teachers", "reward_model", "on_policy_75", "duplicate (policy, gold, method, reward model)"),
        (TEACHERS, "razin_teachers", "source", "", "source: '' is empty"),
        (TEACHERS, "razin_correlations", "pearson_gold_gain", "1.2", "'1.2' should be less than or equal to 1"),
        (TEACHERS, "razin_correlations", "n", "0", "n: '0' should be greater than 0"),
        (TEACHERS, "razin_reward_models", "model_id", "gemma-2-2b", "did you mean 'gemma-2-2b-it'?"),
        (OTHER, "rewardbench2_table3", "average", "80.0", "is not the mean of the six domains"),
        (OTHER, "rewardbench2_table3", "kind", "model", "'model' should be 'rm' or 'judge'"),
        (OTHER, "rewardbench2_table8_downstream", "relation", "near", "'near' should be 'on', 'on_weak' or 'off'"),
        (OTHER, "rewardbench2_table8_downstream", "model_id", "Tulu 8B", "not in the study file"),
        (OTHER, "base_of_entry", "entry", "weqweasdas/RM-Gemma-2B", "duplicate entry"),
    ],
)
def test_a_wrong_figure_of_a_teacher_or_leaderboard_is_named(
    seeds: Path, study: Study, seed: str, column: str, value: str, said: str
) -> None:
    cell(seeds / f"{seed}.csv", 2, column, value)
    with pytest.raises(UserError) as caught:
        check_seeds(seeds, study, "the study file")
    assert f"{seed}.csv:" in str(caught.value) and said in str(caught.value)
