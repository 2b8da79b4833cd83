"""Checks as teachers: the mean of those that apply, equal to the gold rewards of the same responses."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from models_train.jobs import gold_rewards
from models_train.jobs.teacher_rewards import Teachers
from models_train.policies.prompts import load_prompts
from models_train.study.policy_runs import policy_runs, teacher_run_id
from models_train.study.study import load_study
from tests.models_train.jobs.test_gold_rewards import GOLD, PROMPTS, TEXTS, arguments, rows, study
from tests.support.data_files import write
from warehouse.contracts.responses import OK


def test_a_check_teaches_by_what_it_gives_as_gold(tmp_path: Path) -> None:
    path = study(tmp_path, {"checks": ["math_answer"], "gold_id": "right"}, {"labels": "./labels.jsonl"}, teachers={
        "teach": {"seeds": [0]}, "prompts": {"path": "./prompts.jsonl", "measure": 2, "teach": 1},
    })  # fmt: skip
    kinds = {name: dict(zip(("gold_kind", "gold"), gold, strict=True)) for name, gold in GOLD.items()}
    write(
        tmp_path / "prompts.jsonl",
        [
            {"prompt_id": name, "prompt": text, "split": "teach" if name == "free" else "measure"} | kinds.get(name, {})
            for name, text in PROMPTS.items()
        ],
    )
    write(tmp_path / "labels.jsonl", [{"policy_id": "p", "prompt_id": "sum", "response_no": 0, "label": 1}])
    read = load_study(path)
    assert [run.reward_id for run in policy_runs(read)] == ["right"], "labels are of given responses alone"
    assert len(teacher_run_id(read, "right", tmp_path)) == 12

    responses = [
        {"policy_id": "p", "prompt_set": "prompts", "prompt_id": name, "response_no": number, "text": text}
        | {"status": OK if text else "empty"}
        for name, texts in TEXTS.items()
        for number, text in enumerate(texts)
    ]
    prompts = {one.prompt_id: one for one in load_prompts(read, tmp_path).prompts}
    teachers = Teachers(read, path, tmp_path / "home", "p", prompts, responses)
    teacher = teachers.load("right")
    asked = [prompts[row["prompt_id"]] for row in responses]
    given = teacher(asked, [row["text"] for row in responses])
    gold_rewards.main(arguments(path))
    golds = rows(tmp_path, "response_rewards").filter(reward_id="right")
    wanted = {(row["prompt_id"], row["response_no"]): row["reward"] for row in golds.to_dicts()}
    assert given == [wanted[row["prompt_id"], row["response_no"]] for row in responses]
    assert given[:2] == [1.0, 0.0] and set(given[2:]) == {None}
    assert teachers.stored("right") == {("sum", 0): 1.0, ("sum", 1): 0.0}
    own = pl.DataFrame(teacher.rows(responses, prompts)).filter(prompt_id="sum")
    assert own["status"].to_list() == ["ok", "ok", "empty"]
