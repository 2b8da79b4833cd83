"""The benchmarks of the lab: equal for equal seeds, one right choice, not to be had from the choices alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import yaml

from models_train.synthetic.tasks import N_CHOICES, TASKS, LabTask, items, write_tasks
from models_train.synthetic.texts import REGION_OF, REMEDY_OF, TRADE_OF, documents

by_name = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def test_files_follow_the_seed(tmp_path: Path) -> None:
    counts = write_tasks(tmp_path / "tasks", 1, 5)
    assert counts == {f"tasks/{task.name}.jsonl": 5 for task in TASKS} and len(TASKS) >= 5
    first = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "tasks").iterdir()}
    write_tasks(tmp_path / "tasks", 1, 5)
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "tasks").iterdir()} == first
    write_tasks(tmp_path / "other", 2, 5)
    for task in TASKS:
        assert (tmp_path / "other" / f"{task.name}.jsonl").read_bytes() != first[f"{task.name}.jsonl"][0]
        config = yaml.safe_load(first[f"{task.name}.yaml"][0])
        assert config["task"] == task.name and config["dataset_kwargs"]["data_files"]["test"] == f"{task.name}.jsonl"
        rows = [json.loads(line) for line in first[f"{task.name}.jsonl"][0].splitlines()]
        assert all(row.keys() == {"context", "choices", "answer"} for row in rows)


@by_name
def test_choices_are_different_and_the_right_one_may_have_any_place(task: LabTask) -> None:
    asked = list(items(task, 0, 200))
    assert all(len(set(item.choices)) == N_CHOICES == len(item.choices) for item in asked)
    places = Counter(item.answer for item in asked)
    assert set(places) == set(range(N_CHOICES)) and min(places.values()) > 25
    assert len({item.context for item in asked}) > 40, "the questions are not always the same"


@pytest.mark.parametrize("task", TASKS[:5], ids=lambda task: task.name)
def test_the_right_continuation_is_that_of_a_held_out_document(task: LabTask) -> None:
    domain = {"github": "Github", "book": "Book", "arxiv": "ArXiv", "wikipedia": "Wikipedia"}.get(
        task.name.removeprefix("lab_cloze_"), "StackExchange"
    )
    seen = set(islice(documents(domain, 0), 3000))  # type: ignore[arg-type]
    for number, item in enumerate(items(task, 0, 30)):
        (text,) = islice(documents(domain, 2_000_000 + number), 1)  # type: ignore[arg-type]
        assert item.context + item.choices[item.answer] in text and text not in seen
        assert not any(item.context + one in text for one in item.choices if one != item.choices[item.answer])


def test_questions_have_the_right_answers() -> None:
    tasks = {task.name: task for task in TASKS}
    for item in items(tasks["lab_sum"], 3, 50):
        found = re.search(r"\((\d+) \+ (\d+)\) \\cdot (\d+) =$", item.context)
        assert found is not None
        a, b, c = map(int, found.groups())
        right = [choice for choice in item.choices if choice == f" {a + b} \\cdot {c}"]
        assert right == [item.choices[item.answer]]
    for item in items(tasks["lab_order"], 3, 50):
        one, other = re.findall(r"Long ago, (\w+) and (\w+) lived", item.context)[0]
        assert item.choices[item.answer].startswith(f" {one} and {other} kept")
    for name, fact, word in (
        ("lab_region", REGION_OF, r"= (\w+) ="),
        ("lab_trade", TRADE_OF, r"= (\w+) ="),
        ("lab_remedy", REMEDY_OF, r"My (\w+) does"),
    ):
        for item in items(tasks[name], 3, 50):
            (about,) = re.findall(word, item.context)
            assert item.choices[item.answer] == f" {fact[about]}."
