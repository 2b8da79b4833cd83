"""Score files of every format matched with their items; what does not fit is named with file and row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from models_train.errors import UserError
from models_train.reward_benchmarks.imports import Imported, reward_sources
from models_train.study.study import load_study
from tests.support import real_data
from tests.support.data_files import write
from tests.support.score_files import (
    best_of_4,
    best_of_4_items,
    entry,
    imported,
    judged,
    pair_items,
    pair_scores,
    problem,
    rewards_of,
    study_with,
    styled,
    write_json,
    write_lines,
)


def told(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        imported(path)
    return str(caught.value)


def of_file(folder: Path, of: str, content: Any, sets: Any = (), **more: Any) -> Path:
    """A study with one score file, of columns or rows."""
    write = write_json if isinstance(content, Mapping) else write_lines
    write(folder / "scores.json", content)
    return study_with(folder, [entry("scores.json", of, **more)], sets)


def test_rewardbench_by_its_own_ids(tmp_path: Path) -> None:
    found = imported(of_file(tmp_path, "rewardbench", pair_scores(2, scores_chosen=[[0.5], [[1.5]]])))
    assert rewards_of(found, "rewardbench") == {
        ("hep-python", "0"): {"chosen": 0.5, "rejected": 0.0},
        ("hep-python", "1"): {"chosen": 1.5, "rejected": 1.0},
    }
    rows = found.rows("hub:RM", "rewardbench").to_pylist()
    assert rows[0] | {"source": None} == {
        "reward_id": "hub:RM", "benchmark": "rewardbench", "subset": "hep-python", "item_id": "0",
        "completion": "chosen", "attribute": "reward", "reward": 0.5, "n_tokens": None, "is_truncated": False,
        "status": "ok", "source": None,
    }  # fmt: skip
    assert rows[0]["source"].startswith("scores.json@") and len(rows) == 4


def test_scores_alone_are_matched_by_their_order(tmp_path: Path) -> None:
    write_lines(tmp_path / "rb" / "filtered.jsonl", pair_items(3))
    sets = [{"name": "rewardbench", "path": "rb"}]
    lines = [{"chosen": 1.0, "rejected": 0.0}, {"chosen": [2.0], "rejected": [3.0]}, {"chosen": 4, "rejected": 5}]
    found = imported(of_file(tmp_path, "rewardbench", lines, sets))
    assert rewards_of(found, "rewardbench")["hep-python", "1"] == {"chosen": 2.0, "rejected": 3.0}
    assert found.notes == ["hub:RM: scores.json: rows have no ids, and were matched by their order"]
    assert "scores.json, row 1: the 2 rows have no ids, and rewardbench (rb@" in (
        said := told(of_file(tmp_path, "rewardbench", lines[:2], sets))
    )
    assert "has 3 items, so they cannot be matched by order; import a file with ids" in said
    assert said.count("scores.json") == 1
    said = told(of_file(tmp_path, "rewardbench", lines))
    assert "row 1: has no id; add rewardbench to benchmark_sets" in said and said.count("has no id") == 1


def test_scores_of_own_pairs_from_the_command_line(tmp_path: Path) -> None:
    rows = [{"prompt": f"P{i}", "chosen": "good", "rejected": "bad", "id": f"i{i}"} for i in range(2)]
    write_lines(tmp_path / "mine.jsonl", rows)
    outputs = [{"prompt": f"P{i}", "scores_chosen": i, "scores_rejected": 0.5, "results": 1} for i in range(2)]
    path = of_file(tmp_path, "rewardbench", outputs, [{"name": "mine", "path": "mine.jsonl"}], benchmark="mine")
    assert rewards_of(imported(path), "mine")["mine", "i1"] == {"correct_1": 1.0, "wrong_1": 0.5}


def test_rewardbench_2_with_ties(tmp_path: Path) -> None:
    found = imported(of_file(tmp_path, "rewardbench2", best_of_4()))
    rewards = rewards_of(found, "rewardbench2")
    assert rewards["Ties", "tied:0"] == {"correct_1": 3.0, "correct_2": 2.5, "wrong_1": 1.0}
    assert list(rewards["Math", "1"].values()) == [1.0, 0.5, 0.0, -1.0]
    assert found.benchmark("rewardbench2").items["Ties", "ref:0"].category == "Ties"
    write_json(tmp_path / "rb2" / "test.json", best_of_4_items())
    sets = [{"name": "rewardbench2", "path": "rb2"}]
    assert rewards_of(imported(of_file(tmp_path, "rewardbench2", best_of_4(), sets)), "rewardbench2") == rewards


def test_rewardmath_without_a_set_is_named_by_its_prompts(tmp_path: Path) -> None:
    rows = [problem(1, [0.5, 0.25, 0.5, 0.0]), problem(2, "[1, 2, 3, 4]", solution_reference=str(list("abcd")))]
    rows[1]["solution_reference"] = "['human_to_GPT-4', 'gpt-3.5-turbo-0125', '', 'x']"
    found = imported(of_file(tmp_path, "rewardmath", rows))
    assert list(rewards_of(found, "rewardmath").values()) == [
        {"correct_1": 0.5, "wrong_1": 0.25, "wrong_2": 0.5, "wrong_3": 0.0},
        {"correct_1": 1.0, "wrong_1": 2.0, "wrong_2": 3.0, "wrong_3": 4.0},
    ]
    first, second = found.benchmark("rewardmath").items.values()
    assert first.item_id == first.prompt_hash and len(first.item_id) == 16
    assert second.completions[2].generator is None


def test_repeated_problems_count_once_where_they_agree(tmp_path: Path) -> None:
    rows = [problem(1, [2, 1, 1, 1]), problem(2, [1, 2, 3, 4]), problem(1, [2, 1, 1, 1])]
    found = imported(of_file(tmp_path, "rewardmath", rows))
    assert len(rewards_of(found, "rewardmath")) == 2
    assert found.notes == [
        "hub:RM: scores.json: 3 rows, 2 of them distinct; a problem that is repeated with the same scores counts once"
    ]
    rows[2]["score"] = [2, 1, 1, 0]
    said = told(of_file(tmp_path, "rewardmath", rows))
    assert said == "scores.json, row 3: has the problem of row 1 with other scores; keep one of them"


def test_problems_of_a_file_have_equally_many_solutions(tmp_path: Path) -> None:
    rows = [problem(1, [4, 3, 2, 1]), problem(2, [2, 1], solution_reference=["human_to_GPT-4", "x"])]
    said = told(of_file(tmp_path, "rewardmath", rows))
    assert said.startswith("scores.json, row 2: has 2 solutions, and row 1 has 4; all problems of a file have equally")


def test_pairwise_judges_win_lose_and_do_not_decide(tmp_path: Path) -> None:
    row = problem(1, ["A", "A", None], chosen_position=["A", "B", "B"])
    row["solution_reference"] = row["solution_reference"][1:]
    found = imported(of_file(tmp_path, "rewardmath", [row]))
    (rewards,) = rewards_of(found, "rewardmath").values()
    assert rewards == {"correct_1": 0.0, "wrong_1": -1.0, "wrong_2": 1.0, "wrong_3": 0.0}
    assert found.notes == ["hub:RM: scores.json: judgments that are neither A nor B, and count as ties: 1"]
    row["chosen_position"] = ["A", "B"]
    assert "row 1: has 3 judgments and 2 positions" in told(of_file(tmp_path, "rewardmath", [row]))
    row["chosen_position"] = ["A", "B", "C"]
    assert "row 1: position 3: 'C' is neither A nor B" in told(of_file(tmp_path, "rewardmath", [row]))


@pytest.mark.parametrize(
    ("aggregation", "wanted"),
    [("prod", 0.1), ("last", 0.4), ("min", 0.25), ("max", 1.0), ("mean", 0.55), ("geometric_mean", 0.1 ** (1 / 3))],
)
def test_scores_of_steps_are_aggregated_as_the_name_says(tmp_path: Path, aggregation: str, wanted: float) -> None:
    rows = [problem(1, [[0.25, 1.0, 0.4], [0.5], [0.5], [0.5]])]
    path = of_file(tmp_path, "rewardmath", rows, reward_id=f"prm:x/{aggregation}")
    (rewards,) = rewards_of(imported(path), "rewardmath", f"prm:x/{aggregation}").values()
    assert math.isclose(rewards["correct_1"], wanted, rel_tol=1e-12)


def test_scores_of_steps_need_an_aggregation(tmp_path: Path) -> None:
    said = told(of_file(tmp_path, "rewardmath", [problem(1, [[0.5, 1.0], [1.0], [1.0], [1.0]])], reward_id="prm:x"))
    assert said == (
        "scores.json, row 1: score 1: has scores of steps; end the reward_id with their aggregation, such as "
        "prm:x/prod (prod, last, min, max, mean, geometric_mean)"
    )
    one = [{"problem": "P", "output": {"step_scores": [0.5, 0.5]}, "solution_type": kind, "problem_id": 0}
           for kind in ("rejected", "chosen")]  # fmt: skip
    one[0]["output"] = {"step_scores": [0.5]}
    found = imported(of_file(tmp_path, "rewardmath", one, reward_id="prm:x/prod"))
    assert list(rewards_of(found, "rewardbench", "prm:x/prod").values()) == [{"chosen": 0.25, "rejected": 0.5}]
    negative = [problem(1, [[-0.5, 1.0], [1.0], [1.0], [1.0]])]
    said = told(of_file(tmp_path, "rewardmath", negative, reward_id="prm:x/geometric_mean"))
    assert "score 1: has the score -0.5 of a step; a geometric mean needs scores from 0" in said
    one_step = [problem(1, [[0.5], [[0.25]], [1.0], [0.0]])]
    (rewards,) = rewards_of(imported(of_file(tmp_path, "rewardmath", one_step)), "rewardmath").values()
    assert list(rewards.values()) == [0.5, 0.25, 1.0, 0.0]
    empty = [problem(1, [[], [1.0], [1.0], [1.0]])]
    assert "score 1: has no step" in told(of_file(tmp_path, "rewardmath", empty, reward_id="prm:x/prod"))


def test_two_solutions_are_a_pair_of_rewardbench(tmp_path: Path) -> None:
    rows = [problem(1, [1.0, 0.0], solution_reference=["human_to_GPT-4", "modified_with_GPT-4"])]
    other = [problem(1, [0.0, 2.0], solution_reference=["chosen", "rejected"])]
    write_json(tmp_path / "a.json", rows)
    write_json(tmp_path / "b.json", other)
    found = imported(study_with(tmp_path, [entry("a.json", "rewardmath"), entry("b.json", "rewardmath", "hub:B")]))
    (item,) = found.benchmark("rewardbench").items.values()
    assert item.subset == "math-prm" and [one.generator for one in item.completions] == rows[0]["solution_reference"]
    assert list(rewards_of(found, "rewardbench", "hub:B").values()) == [{"chosen": 0.0, "rejected": 2.0}]


def test_rewardmath_is_matched_with_its_set_by_the_problem(tmp_path: Path) -> None:
    authors = ["human_to_GPT-4", "x", "y"]
    solutions = [{"problem": f"Problem {n}?", "eval_solution": ["s"], "solution_reference": who, "problem_id": 100 + n}
                 for n in (1, 2) for who in authors]  # fmt: skip
    write_json(tmp_path / "set.json", solutions)
    sets = [{"name": "rewardmath", "path": "set.json"}]
    rows = [problem(n, [3, 2, n], solution_reference=authors) for n in (2, 1)]
    found = imported(of_file(tmp_path, "rewardmath", rows, sets))
    assert rewards_of(found, "rewardmath")["rewardmath", "101"] == {"correct_1": 3.0, "wrong_1": 2.0, "wrong_2": 1.0}
    other = [problem(1, [3, 2, 1], solution_reference=["human_to_GPT-4", "x", "z"]), rows[0]]
    said = told(of_file(tmp_path, "rewardmath", other, sets))
    assert (
        "row 1: the item '101' of rewardmath has another author of wrong_2 (z instead of y), unlike in set.json@"
        in said
    )
    said = told(of_file(tmp_path, "rewardmath", [problem(3, [3, 2, 1], solution_reference=authors)], sets))
    assert "row 1: rewardmath (set.json@" in said and "does not have an item with this prompt" in said


def test_rm_bench_and_judgebench(tmp_path: Path) -> None:
    write_json(tmp_path / "out" / "chat_filtered_RM_2024.json", [styled(1, score_chosen=[[1.0], [2.0], [3.0]])])
    write_json(tmp_path / "out" / "safety-refuse_filtered_RM_2024.json", [styled(1)])
    write_lines(tmp_path / "jb.jsonl", [judged(1, scores=(2.0, 1.0)), judged(2, label="B>A", scores=(2.0, 1.0))])
    found = imported(study_with(tmp_path, [entry("out", "rm_bench"), entry("jb.jsonl", "judgebench")]))
    assert found.n_files == 3
    rm_bench = rewards_of(found, "rm_bench")
    assert list(rm_bench) == [("chat", "1"), ("safety-refuse", "1")]
    assert list(rm_bench["chat", "1"].values()) == [1.0, 2.0, 3.0, 0.5, 2.5, 2.0]
    judgebench = rewards_of(found, "judgebench")
    assert judgebench["mmlu-pro-law", "pair-1"] == {"correct_1": 2.0, "wrong_1": 1.0}
    assert judgebench["mmlu-pro-law", "pair-2"] == {"correct_1": 1.0, "wrong_1": 2.0}


def test_plain_rows(tmp_path: Path) -> None:
    rows = [
        {"item_id": item, "completion": name, "reward": value, "benchmark": "rewardmath"}
        for item, values in (("p", (1.0, 2.0, 3.0)), ("q", (0, 1, 2)))
        for name, value in zip(("wrong_1", "correct_1", "wrong_2"), values, strict=True)
    ]
    for ending in ("jsonl.gz", "parquet"):
        write(tmp_path / f"scores.{ending}", rows)
        found = imported(study_with(tmp_path, [entry(f"scores.{ending}", "plain")]))
        rewards = rewards_of(found, "rewardmath")
        assert rewards["rewardmath", "p"] == {"correct_1": 2.0, "wrong_1": 1.0, "wrong_2": 3.0}
    mine = [{"prompt": f"P{i}", "chosen": "good", "rejected": "bad", "id": f"i{i}"} for i in range(2)]
    write_lines(tmp_path / "mine.jsonl", mine)
    sets = [{"name": "mine", "path": "mine.jsonl"}]
    plain = [{"item_id": f"i{i}", "completion": c, "reward": i} for i in (0, 1) for c in ("chosen", "rejected")]
    assert rewards_of(imported(of_file(tmp_path, "plain", plain, sets)), "mine")["mine", "i1"] == {
        "correct_1": 1.0,
        "wrong_1": 1.0,
    }


Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"scores_chosen": [0.5, None]}, "row 2, column scores_chosen: has no reward; score it again"),
        ({"scores_chosen": [0.5, math.nan]}, "row 2, column scores_chosen: nan is not a finite number; score it again"),
        ({"scores_chosen": [0.5, -math.inf]}, "row 2, column scores_chosen: -inf is not a finite number"),
        ({"scores_chosen": [0.5, "1.5"]}, "row 2, column scores_chosen: '1.5' is text; write the reward as a number"),
        ({"scores_chosen": [0.5, True]}, "row 2, column scores_chosen: True is no number"),
        ({"scores_chosen": [0.5, [1.0, 2.0]]}, "row 2, column scores_chosen: is a list of 2 values; a completion has"),
        ({"scores_chosen": [0.5, []]}, "row 2, column scores_chosen: is a list of 0 values"),
        ({"scores_chosen": [0.5, 10**400]}, "is not a finite number"),
        ({"scores_chosen": [0.5]}, "scores.json: column scores_chosen has 1 values, and id 2; make the file again"),
        ({"id": [0, 0]}, "row 2: the item '0' of hep-python has a reward of hub:RM already in row 1 of scores.json"),
        ({"id": [0, None]}, "row 2, column id: None is neither a whole number nor a name"),
        ({"id": [0, 7]}, "row 2: rewardbench (rb@"),
        ({"subset": ["hep-python", "hep-go"]}, "does not have the item '1' in the subset hep-go"),
        ({"text_chosen": ["<s>other", "<s>more"], "text_rejected": ["x", "y"]},
         "scores.json: 4 of its 4 texts do not hold the completions that rb@"),
    ],
)  # fmt: skip
def test_rows_of_rewardbench_that_do_not_fit(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    write_lines(tmp_path / "rb" / "filtered.jsonl", pair_items(2))
    path = of_file(tmp_path, "rewardbench", pair_scores(2, **columns), [{"name": "rewardbench", "path": "rb"}])
    assert said in told(path)


def test_missing_items_are_named_and_whole_subsets_may_be_missing(tmp_path: Path) -> None:
    items = pair_items(5)
    write_lines(tmp_path / "rb" / "filtered.jsonl", [*items, items[0] | {"subset": "donotanswer"}])
    sets = [{"name": "rewardbench", "path": "rb"}]
    assert len(rewards_of(imported(of_file(tmp_path, "rewardbench", pair_scores(5), sets)), "rewardbench")) == 5
    said = told(of_file(tmp_path, "rewardbench", pair_scores(1), sets))
    assert said == (
        "scores.json: 4 items of rewardbench have no reward of hub:RM, in subsets of which others have one: '1' (row 2 "
        "of rb/filtered.jsonl), '2' (row 3 of rb/filtered.jsonl), '3' (row 4 of rb/filtered.jsonl), ...; score them, "
        "too, or take these subsets out"
    )


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"num_correct": [1, 4, 1, 2]}, "row 2, column scores: has 4 scores, and num_correct is 4; a wrong completion"),
        ({"num_correct": [1, 0, 1, 2]}, "row 2, column num_correct: 0 is not a whole number from 1"),
        ({"id": ["1", "2", "3", "tied:0"]}, "row 3, column id: '3' is no id of the subset Ties"),
        ({"scores": [[1.0, 0.5, 0.0], [0.0, 1.0, 0.5, 0.25], [2.0, 0.5, 0.0], [3.0, 2.5, 1.0]]},
         "row 1: the item '1' of Math has no wrong_3, unlike in rb2@"),
        ({"scores": [1.0, 0.5, 0.0, 2.0]}, "row 1, column scores: 1.0 is no list"),
        ({"scores": [[1.0, [0.5, 1.0], 0, 0]] * 4}, "row 1, column scores: score 2: is a list of 2 values"),
    ],
)  # fmt: skip
def test_rows_of_rewardbench_2_that_do_not_fit(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    write_json(tmp_path / "rb2" / "test.json", best_of_4_items())
    path = of_file(tmp_path, "rewardbench2", best_of_4(**columns), [{"name": "rewardbench2", "path": "rb2"}])
    assert said in told(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": [1, 2, 3]}, "row 1: has 3 scores of 4 solutions; correct the row, or remove it"),
        ({"score": "nothing"}, "row 1, column score: 'nothing' is no list"),
        ({"score": [1, 2, 3, math.nan]}, "row 1: score 4: nan is not a finite number"),
        ({"score": [1, 2, 3, "4"]}, "row 1: score 4: '4' is text"),
        ({"solution_reference": ["x", "human_to_GPT-4", "y", "z"]}, "row 1: its first solution is by 'x'; the right"),
        ({"solution_reference": ["human_to_GPT-4", "human_to_GPT-4", "y", "z"]}, "row 1: has two right solutions"),
        ({"problem": ""}, "row 1, column problem: is empty"),
    ],
)
def test_rows_of_rewardmath_that_do_not_fit(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in told(of_file(tmp_path, "rewardmath", [problem(1, [1, 2, 3, 4]) | change]))


def test_rows_of_rm_bench_and_judgebench_that_do_not_fit(tmp_path: Path) -> None:
    row = styled(1, domain="chat", score_rejected=[1.0, 2.0])
    assert "row 1, column score_rejected: has 2 scores, not 3" in told(of_file(tmp_path, "rm_bench", [row]))
    poem = styled(1, domain="poems")
    assert "row 1, column domain: 'poems' is no domain of RM-Bench, which" in told(
        of_file(tmp_path, "rm_bench", [poem])
    )
    judge = [judged(1) | {"judgments": [{"judgment": {"response": "[[A>B]]"}, "decision": "A>B"}] * 2}]
    said = told(of_file(tmp_path, "judgebench", judge))
    assert "row 1, column judgments: have no scores; only output files of reward models" in said
    one_sided = judged(1) | {"judgments": [{"judgment": {"scores": [2.0, 1.0]}}] * 2}
    said = told(of_file(tmp_path, "judgebench", [one_sided]))
    assert "has the scores [2.0, 1.0] in one order and [1.0, 2.0] in the other" in said


def test_plain_rows_that_do_not_fit(tmp_path: Path) -> None:
    row = {"item_id": "p", "completion": "chosen", "reward": 1.0}
    both = [row, row | {"completion": "rejected"}]
    assert "scores.json: its rows have no column benchmark, and the study has 0 benchmark sets" in told(
        of_file(tmp_path, "plain", both)
    )
    said = told(of_file(tmp_path, "plain", [one | {"benchmark": "rewardbnech"} for one in both]))
    assert said == (
        "scores.json, row 1, column benchmark: the benchmark 'rewardbnech' is not under benchmark_sets; did you mean "
        "'rewardbench'?"
    )
    said = told(of_file(tmp_path, "plain", [row, row], benchmark="rewardbench"))
    assert "row 2, column item_id, completion: the item 'p' has a reward of chosen already in row 1" in said
    said = told(of_file(tmp_path, "plain", [row], benchmark="rewardbench"))
    assert "row 1: the item 'p' has rewards of chosen; without a benchmark set it needs rewards of chosen and" in said
    said = told(of_file(tmp_path, "plain", [row, row | {"completion": "wrong_2"}], benchmark="rewardmath"))
    assert "row 1: the item 'p' has rewards of correct_1, wrong_2; without a benchmark set it needs" in said
    write_lines(tmp_path / "mine.jsonl", [{"prompt": "P", "chosen": "good", "rejected": "bad", "id": "p"}])
    sets = [{"name": "mine", "path": "mine.jsonl"}]
    assert "row 1: the item 'p' of mine has no wrong_1, unlike in mine.jsonl@" in told(
        of_file(tmp_path, "plain", [row], sets)
    )
    said = told(of_file(tmp_path, "plain", [row, row | {"completion": "worse"}], sets))
    assert "the item 'p' of mine has the completion 'worse' in place of one of correct_1, wrong_1, unlike in" in said


def test_files_of_one_reward_model_add_up_unless_they_overlap(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", pair_scores(2))
    write_json(tmp_path / "b.json", best_of_4())
    two = [entry("a.json", "rewardbench"), entry("b.json", "rewardbench2")]
    assert set(imported(study_with(tmp_path, two)).rewards) == {("hub:RM", "rewardbench"), ("hub:RM", "rewardbench2")}
    write_json(tmp_path / "b.json", pair_scores(3))
    said = told(study_with(tmp_path, [entry("a.json", "rewardbench"), entry("b.json", "rewardbench")]))
    assert "b.json, row 1: the item '0' of hep-python has a reward of hub:RM already in row 1 of a.json; keep" in said


def test_files_of_different_versions_without_a_set(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", best_of_4())
    scores = best_of_4()["scores"]
    write_json(tmp_path / "b.json", best_of_4(scores=[scores[0][:3], *scores[1:]]))
    two = [entry("a.json", "rewardbench2"), entry("b.json", "rewardbench2", "hub:B")]
    said = told(study_with(tmp_path, two))
    assert "b.json, row 1: the item '1' of Math has no wrong_3, unlike in row 1 of" in said
    write_json(tmp_path / "b.json", {name: v if isinstance(v, str) else v[1:] for name, v in best_of_4().items()})
    said = told(study_with(tmp_path, two))
    assert "b.json: 1 items of rewardbench2 have no reward of hub:B, in subsets of which others have one: '1'" in said
    assert said.endswith("; where files name items differently, add rewardbench2 to benchmark_sets")


def test_a_test_set_of_training_is_the_set(tmp_path: Path) -> None:
    write_lines(tmp_path / "test.jsonl", pair_items(2))
    training = {"preferences": {"path": "none"}, "test_set": {"path": "test.jsonl"}, "objectives": ["bradley_terry"]}
    write_json(tmp_path / "a.json", pair_scores(3))
    path = study_with(tmp_path, [entry("a.json", "rewardbench")], training=training)
    assert "a.json, row 3: rewardbench (test.jsonl@" in told(path)


def test_what_is_known_of_a_reward_model(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", pair_scores(2))
    facts = {"hub_id": "org/RM", "base_model": "org/tiny", "data_id": "clean", "publisher": "P"}
    imports = [
        entry("a.json", "rewardbench", **facts),
        entry("a.json", "rewardbench", "import:x", base_model="google/gemma-2-9b-it", params_b=9.2, scale="bounded"),
    ]
    first, second = reward_sources(load_study(study_with(tmp_path, imports)))
    assert (first["kind"], first["model_id"], first["family"], first["params_b"]) == ("hub", "tiny", "Llama-3", 8.0)
    assert (second["kind"], second["model_id"], second["family"]) == ("imported", None, "Gemma-2")
    assert (second["params_b"], second["scale"], first["scale"]) == (9.2, "bounded", "logit")


def shares(found: Imported, benchmark: str, reward_id: str) -> tuple[float, float, float, int]:
    """Accuracy, the same with ties, and mean reciprocal rank with ties last, in percent; and the number of items."""
    items = [(one[0], one[1:]) for one in (list(v.values()) for v in rewards_of(found, benchmark, reward_id).values())]
    n = len(items)
    strict = sum(right > max(wrong) for right, wrong in items)
    with_ties = sum(right >= max(wrong) for right, wrong in items)
    ranks = sum(1 / (1 + sum(one >= right for one in wrong)) for right, wrong in items)
    return round(100 * strict / n, 3), round(100 * with_ties / n, 3), round(100 * ranks / n, 3), n


REAL = {
    "ArmoRM_reward.json.gz": ("rm", (20.497, 21.532, 42.182, 483)),
    "Eurus-RM_reward.json.gz": ("rm", (16.977, 16.977, 38.303, 483)),
    "grm_gemma_reward.json.gz": ("rm", (4.969, 4.969, 24.101, 483)),
    "skywork_llama3_reward.json.gz": ("rm", (22.153, 22.153, 44.694, 483)),
    "gpt4_pairwise_reward.json.gz": ("judge", (29.814, None, 51.917, 483)),
    "gpt4_reward.json.gz": ("judge", (22.36, 48.24, 44.573, 483)),
    "Math_Shepherd_reward.json.gz/prod": ("prm", (17.184, 17.184, 34.679, 483)),
    "Math_Shepherd_reward.json.gz/last": ("prm", (18.219, 18.219, 38.834, 483)),
}


@pytest.mark.real_data
def test_published_figures_of_rewardmath(tmp_path: Path) -> None:
    """Accuracy, accuracy with ties and mean reciprocal rank as published; the judge's file has two problems twice."""
    imports = [
        entry(str(real_data.REWARD_MATH / name.partition("/")[0]), "rewardmath", f"{kind}:{name}")
        for name, (kind, _) in REAL.items()
    ]
    pairs = {"ArmoRM": 92.841, "GRM_Gemma_2B": 93.065}
    imports += [
        entry(str(real_data.REWARD_MATH / f"rewardbench_{name}.json.gz"), "rewardmath", f"hub:{name}") for name in pairs
    ]
    found = imported(study_with(tmp_path, imports))
    for name, (kind, wanted) in REAL.items():
        got = shares(found, "rewardmath", f"{kind}:{name}")
        assert all(one in (None, other) for one, other in zip(wanted, got, strict=True)), (name, got)
    for name, accuracy in pairs.items():
        assert shares(found, "rewardbench", f"hub:{name}")[0] == accuracy
    assert len(found.benchmark("rewardbench").items) == 447
    counted = [note for note in found.notes if "485 rows, 483 of them distinct" in note]
    assert len(counted) == 1 and "gpt4_reward" in counted[0]
    assert any("neither A nor B, and count as ties: 35" in note for note in found.notes)
