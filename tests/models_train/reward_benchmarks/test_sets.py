"""Benchmarks that a study names: items of each kind in every form of file, and the words on rows that do not fit."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_train.errors import UserError
from models_train.reward_benchmarks.items import Benchmark, Item, family_of
from models_train.reward_benchmarks.sets import load_benchmark
from models_train.study.reward_benchmarks import BenchmarkSet
from tests.support import real_data
from tests.support.data_files import benchmark_item, preference, write
from tests.support.hub_server import COMMIT, Hub
from tests.support.score_files import best_of_4_items, judged, styled, write_json, write_lines


def load(folder: Path, name: str, **more: Any) -> Benchmark:
    return load_benchmark(BenchmarkSet(name=name, **({"path": "data"} | more)), folder)


def told(folder: Path, name: str, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, name, **more)
    return str(caught.value)


def shape(item: Item) -> list[tuple[str, bool, str | None, str | None, str | None]]:
    return [(one.name, one.is_correct, one.text, one.generator, one.style) for one in item.completions]


def test_rewardbench(tmp_path: Path) -> None:
    write(tmp_path / "data" / "filtered-00000-of-00001.parquet", [benchmark_item("Hi", "donotanswer", 3)])
    write(tmp_path / "data" / "raw-00000-of-00001.parquet", [benchmark_item("Hi", "donotanswer", 4)])
    (item,) = load(tmp_path, "rewardbench").items.values()
    assert item.key == ("donotanswer", "3")
    assert shape(item) == [("chosen", True, "good", "a", None), ("rejected", False, "bad", "b", None)]


def test_rewardbench_2(tmp_path: Path) -> None:
    rows = best_of_4_items()
    rows[0]["models"] = ["human", "Qwen/Qwen2.5-72B-Instruct", "x", "y"]
    write_json(tmp_path / "data" / "test.json", rows)
    items = load(tmp_path, "rewardbench2").items
    assert list(items) == [("Math", "1"), ("Math", "2"), ("Ties", "ref:0"), ("Ties", "tied:0")]
    assert [one.name for one in items["Ties", "tied:0"].completions] == ["correct_1", "correct_2", "wrong_1"]
    assert [one.generator for one in items["Math", "1"].completions] == rows[0]["models"]
    assert {item.category for item in items.values()} == {"Math", "Ties"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_correct": 2}, "row 1: num_correct is 2, but chosen has 1; correct the row, or remove it"),
        ({"rejected": []}, "row 1: chosen and rejected need one completion each at least"),
        ({"chosen": "one text"}, "row 1, column chosen: 'one text' is no list; correct the row, or remove it"),
        ({"rejected": ["b", None]}, "row 1, column rejected: text 2: is null; give it a text, or remove the row"),
        ({"subset": "ties"}, "row 1: '1' is no id of the subset Ties, which are ref:<ID> and tied:<ID>; correct it"),
        ({"id": "2"}, "row 2: the subset Math has '2' already in row 1 of data/test.jsonl; keep one, or give each its"),
        ({"id": None}, "row 1, column id: None is neither a whole number nor a name; give the item its id"),
    ],
)
def test_rows_of_rewardbench_2_that_do_not_fit(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    rows = best_of_4_items()
    write_lines(tmp_path / "data" / "test.jsonl", [rows[0] | change, *rows[1:]])
    assert said in told(tmp_path, "rewardbench2")


def test_rewardmath_has_a_row_per_solution(tmp_path: Path) -> None:
    solutions = [("modified_with_GPT-4", ["No."]), ("human_to_GPT-4", ["Add.", "So 4."]), ("", "['Guess 5.']")]
    rows = [
        {"problem": "2+2?", "eval_solution": steps, "solution_reference": who, "problem_id": 7, "id": place}
        for place, (who, steps) in enumerate(solutions)
    ]
    write_json(tmp_path / "data" / "RewardMATH_direct.json", rows)
    (item,) = load(tmp_path, "rewardmath").items.values()
    assert item.key == ("rewardmath", "7")
    assert shape(item) == [
        ("correct_1", True, "Add.\nSo 4.", "human_to_GPT-4", None),
        ("wrong_1", False, "No.", "modified_with_GPT-4", None),
        ("wrong_2", False, "Guess 5.", None, None),
    ]
    write_json(tmp_path / "data" / "RewardMATH_direct.json", [rows[0], rows[2]])
    assert "row 1: the problem has 0 right and 2 wrong solutions; it needs one right one" in told(
        tmp_path, "rewardmath"
    )


def test_rm_bench_with_its_styles_and_pooled_safety(tmp_path: Path) -> None:
    write_json(tmp_path / "data" / "safety-refuse_filtered.json", [styled(1)])
    write_json(tmp_path / "data" / "chat_filtered.json", [styled(1)])
    items = load(tmp_path, "rm_bench").items
    assert {key: item.category for key, item in items.items()} == {
        ("chat", "1"): "chat",
        ("safety-refuse", "1"): "safety",
    }
    assert [(one.name, one.style) for one in items["chat", "1"].completions] == [
        ("correct_1", "concise"), ("correct_2", "detailed"), ("correct_3", "markdown"),
        ("wrong_1", "concise"), ("wrong_2", "detailed"), ("wrong_3", "markdown"),
    ]  # fmt: skip
    write_json(tmp_path / "data" / "chat_filtered.json", [styled(1, chosen=["only", "two"])])
    assert "row 1, column chosen: has 2 completions, not 3 (concise, detailed, markdown)" in told(tmp_path, "rm_bench")
    write_json(tmp_path / "data" / "total.json", [styled(1, domain="math")])
    (item,) = load(tmp_path, "rm_bench", path="data/total.json").items.values()
    assert item.key == ("math", "1")
    write_json(tmp_path / "data" / "total.json", [styled(1)])
    assert "total.json: its rows have no domain, and its name" in told(tmp_path, "rm_bench", path="data/total.json")


def test_judgebench_puts_the_right_response_first(tmp_path: Path) -> None:
    write_lines(tmp_path / "data" / "gpt.jsonl", [judged(1), judged(2, label="B>A", source="livebench-math")])
    first, second = load(tmp_path, "judgebench").items.values()
    assert first.key == ("mmlu-pro-law", "pair-1") and first.category == "mmlu-pro"
    assert [(one.name, one.text) for one in second.completions] == [("correct_1", "second"), ("wrong_1", "first")]
    assert second.category == "livebench-math" and second.completions[0].generator == "gpt-4o-2024-05-13"
    write_lines(tmp_path / "data" / "gpt.jsonl", [judged(1, label="A=B")])
    assert "row 1, column label: 'A=B' is no label; it is A>B or B>A" in told(tmp_path, "judgebench")


MESSAGES = [{"role": "user", "content": "Hi"}]


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


PAIRS: dict[str, dict[str, Any]] = {
    "plain": {"prompt": "Hi", "chosen": "good", "rejected": "bad"},
    "TRL": {"prompt": MESSAGES, "chosen": answer("good"), "rejected": answer("bad")},
    "Skywork": {"chosen": MESSAGES + answer("good"), "rejected": MESSAGES + answer("bad")},
    "UltraFeedback": {"prompt": "Hi", "chosen": MESSAGES + answer("good"), "rejected": MESSAGES + answer("bad"),
                      "score_chosen": 8.0, "score_rejected": 2.0},
    "HelpSteer3": {"context": MESSAGES, "response1": "bad", "response2": "good", "overall_preference": 2},
    "IFBench": {"text_chosen": MESSAGES + answer("good"), "text_rejected": str(MESSAGES + answer("bad"))},
    "literals": {"prompt": str(MESSAGES), "chosen": str(answer("good")), "rejected": "bad"},
    "a list of one": {"prompt": "Hi", "chosen": ["good"], "rejected": ["bad"]},
}  # fmt: skip


@pytest.mark.parametrize("form", PAIRS)
@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "json", "json.gz", "parquet"])
def test_pairs_in_every_form(tmp_path: Path, form: str, ending: str) -> None:
    path = tmp_path / "data" / f"mine.{ending}"
    if ".json." in f".{ending}." and "jsonl" not in ending:
        write_json(path, [PAIRS[form]])
        path.write_bytes(gzip.compress(path.read_bytes()) if ending.endswith("gz") else path.read_bytes())
    else:
        write(path, [PAIRS[form]])
    (item,) = load(tmp_path, "mine").items.values()
    assert [one[:3] for one in shape(item)] == [("correct_1", True, "good"), ("wrong_1", False, "bad")]
    assert item.prompt is not None and item.prompt[0].text == "Hi" and item.subset == "mine"


def test_pairs_with_ids_subsets_and_domains(tmp_path: Path) -> None:
    rows = [PAIRS["plain"] | {"id": 1, "domain": "law"}, PAIRS["plain"] | {"id": 1, "domain": "code"}]
    write_lines(tmp_path / "data" / "mine.jsonl", rows)
    items = load(tmp_path, "mine").items
    assert {key: item.category for key, item in items.items()} == {("law", "1"): "law", ("code", "1"): "code"}
    write_lines(tmp_path / "data" / "mine.jsonl", [PAIRS["plain"] | {"id": 1, "domain": "", "subset": 7}])
    ((subset, _),) = load(tmp_path, "mine").items
    assert subset == "7"
    write_lines(tmp_path / "data" / "mine.jsonl", [rows[0], rows[0]])
    assert "row 2: the subset law has '1' already in row 1 of data/mine.jsonl" in told(tmp_path, "mine")


@pytest.mark.parametrize("said", ["['a', 'b']", '["good"]', "[{'a': 1}]", "[{", "[1, 2]"])
def test_answers_that_look_like_lists_are_texts(tmp_path: Path, said: str) -> None:
    write_lines(tmp_path / "data" / "mine.jsonl", [PAIRS["plain"] | {"chosen": said}])
    (item,) = load(tmp_path, "mine").items.values()
    assert item.completions[0].text == said


def test_ties_and_repeated_pairs_are_counted(tmp_path: Path) -> None:
    rows = [preference("a"), preference("a"), preference("b", strength=0), preference("c", strength=2)]
    write_lines(tmp_path / "data" / "mine.jsonl", rows)
    found = load(tmp_path, "mine")
    assert len(found.items) == 2
    assert found.notes == (
        "mine: rows left out, because they are ties (strength 0, equal scores or equal responses): 1",
        "mine: repeated rows, counted once: 1",
    )
    write_lines(tmp_path / "data" / "mine.jsonl", [rows[2]])
    assert "no item can be used (1 rows left out, because they are ties" in told(tmp_path, "mine")


def test_best_of_k_items(tmp_path: Path) -> None:
    row = {"item_id": "x", "prompt": "Hi", "chosen": ["a", "b"], "rejected": ["c", "d", "e"], "category": "odd"}
    write_lines(tmp_path / "data" / "mine.jsonl", [row])
    (item,) = load(tmp_path, "mine", kind="best_of_k").items.values()
    assert [one.name for one in item.completions] == ["correct_1", "correct_2", "wrong_1", "wrong_2", "wrong_3"]
    assert (item.item_id, item.category) == ("x", "odd")
    write_lines(tmp_path / "data" / "mine.jsonl", [row | {"prompt": None}])
    assert "row 1: several completions need a column prompt; add it" in told(tmp_path, "mine")
    write_lines(tmp_path / "data" / "mine.jsonl", [row | {"rejected": ["a", "c"]}])
    assert "1 rows left out, because a text is both chosen and rejected" in told(tmp_path, "mine")
    write_lines(tmp_path / "data" / "mine.jsonl", [row | {"rejected": []}])
    assert "row 1, column rejected: [] is neither text nor a list of turns or of texts" in told(tmp_path, "mine")


def test_one_split_by_file_or_by_column(tmp_path: Path) -> None:
    write_lines(tmp_path / "data" / "train.jsonl", [PAIRS["plain"] | {"id": 1}])
    write_lines(tmp_path / "data" / "test-00000-of-00001.jsonl", [PAIRS["plain"] | {"id": 2}])
    assert [key[1] for key in load(tmp_path, "mine", split="test").items] == ["2"]
    (tmp_path / "data" / "train.jsonl").unlink()
    assert [key[1] for key in load(tmp_path, "mine", split="test").items] == ["2"]
    one = write_lines(
        tmp_path / "one.jsonl", [PAIRS["plain"] | {"id": i, "split": ["train", "dev"][i]} for i in (0, 1)]
    )
    assert [key[1] for key in load(tmp_path, "mine", path=one.name, split="dev").items] == ["1"]
    said = told(tmp_path, "mine", path=one.name, split="test")
    assert said == (
        "one.jsonl: no file, folder or row is of the split 'test'; the column split has dev, train: correct the setting"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "data/mine.json: is empty; fetch or make it again"),
        (b"[1, 2]", "row 1: 1 is not a row; a row is {column: value, ...}"),
        (b'[{"prompt": "Hi"', "data/mine.json: is not JSON (Expecting"),
        (b"[]", "data: no item can be used; give rows of mine"),
        (b'"text"', "data/mine.json: 'text' is no list of rows"),
        (b"version https://git-lfs.github.com/spec/v1", "is a pointer of Git LFS"),
        (b"\x1f\x8b broken", "the file is damaged or of another kind"),
        (b"\xff\xfe{\0", "is text in UTF-16"),
        (b'{"prompt": "caf\xe9"}', "data/mine.json: is neither Parquet nor text in UTF-8; convert it to JSON"),
        (b"prompt,chosen\nHi,good\n", "data/mine.json: is neither JSON, JSONL nor Parquet; convert it"),
        (b'{"question": "Hi", "chosen": "a"}', "missing; the row has question, chosen; wanted are"),
        (b'{"prompt": "Hi", "chosen": "a", "rejected": "b"}\n{"prompt"', "row 2: is not JSON"),
    ],
)
def test_files_that_are_no_data(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "data" / "mine.json"
    path.parent.mkdir()
    path.write_bytes(content)
    assert said in told(tmp_path, "mine")


def test_a_folder_without_records(tmp_path: Path) -> None:
    write_json(tmp_path / "data" / "dataset_info.json", {})
    (tmp_path / "data" / "mine.csv").write_text("a,b")
    assert told(tmp_path, "mine").startswith("data: no file with records, which ends with .json, .json.gz")


def test_a_json_file_that_holds_one_row_or_text_with_separators(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "Hi\u2028there", "chosen": "a", "rejected": "b"}, ensure_ascii=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.jsonl").write_text(row + "\n" + row.replace("Hi", "Ho") + "\n", encoding="utf-8")
    assert len(load(tmp_path, "mine").items) == 2


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("meta-llama/Meta-Llama-3-8B-Instruct", "Llama-3"),
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1"),
        ("GRM-Llama3-8B-rewardmodel-ft", "Llama-3"),
        ("llama-7b", "Llama"),
        ("google/gemma-2-27b-it", "Gemma-2"),
        ("google/gemma-7b-it", "Gemma"),
        ("google/gemma-2b-it", "Gemma"),
        ("Qwen/Qwen1.5-7B-Chat", "Qwen1.5"),
        ("Qwen2.5-72B", "Qwen2.5"),
        ("microsoft/Phi-3-medium-4k-instruct", "Phi-3"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "Mistral"),
        ("gpt-4o-2024-05-13", "GPT"),
        ("human", None),
        (None, None),
    ],
)
def test_family_by_name(name: str | None, family: str | None) -> None:
    assert family_of(name) == family


@pytest.mark.real_data
def test_real_pairs_of_rewardbench() -> None:
    items = load_benchmark(BenchmarkSet(name="rewardbench", path=str(real_data.TEST_PAIRS)), Path()).items
    assert len(items) == 1850 and sum(subset == "math-prm" for subset, _ in items) == 447


def test_a_set_of_a_hub_at_its_commit(tmp_path: Path, serve: Callable[..., Hub]) -> None:
    files = {"README.md": b"", "total_dataset.json": json.dumps([styled(1, domain="code")]).encode()}
    serve({"org/rm-bench": files})
    found = load(tmp_path, "rm_bench", path=None, hub_id="org/rm-bench", revision=COMMIT)
    assert list(found.items) == [("code", "1")] and found.source == f"org/rm-bench@{COMMIT}"
