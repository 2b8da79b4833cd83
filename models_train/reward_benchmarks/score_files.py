"""Score files of reward models: of reward-bench, RewardMATH, RM-Bench and JudgeBench, and plain rows.

Each row becomes an item, as far as the file describes it, and a reward per completion.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models_train.data.conversations import alternating, messages, plain_or_turns
from models_train.data.forms import item_id
from models_train.data.records import Prompt
from models_train.data.rows import Column, Form, Row, Values, WrongForm, checked_records, filled_text, text
from models_train.errors import Problems, UserError
from models_train.reward_benchmarks.items import Completion, Item, as_pair, completions, user_turn
from models_train.reward_benchmarks.records import Records, as_list, list_of, reward, rewards, texts
from models_train.reward_benchmarks.sets import (
    RIGHT_BY,
    RM_BENCH_DOMAINS,
    STYLES,
    TIES,
    count,
    domain_name,
    judgebench_item,
    judgebench_label,
    refuse_other_ties,
    rewardbench2_subset,
    rm_bench_domain,
)
from models_train.study.settings import shown
from warehouse.contracts.scores import REWARDBENCH

AGGREGATIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "prod": math.prod,
    "last": lambda scores: scores[-1],
    "min": min,
    "max": max,
    "mean": lambda scores: math.fsum(scores) / len(scores),
    "geometric_mean": lambda scores: math.prod(scores) ** (1 / len(scores)),
}
"""Aggregations of the scores of a solution's steps, by the end of the reward_id."""
MATH_PRM = "math-prm"
"""Subset of RewardBench that RewardMATH's repository has scores of, too."""
PAIR_BY = ("chosen", "rejected")
"""Authors of a pair's solutions in some of RewardMATH's files, where they say nothing of a model."""


@dataclass(frozen=True)
class Scored:
    """The rewards of a row, in the order of the item's completions.

    The item has no item_id where the file states none; then it is found by its prompt or, without one, by its place.
    texts: the completions as they were scored, prompt and template included, in their order.
    """

    item: Item
    rewards: tuple[float, ...]
    file: str
    row: int
    texts: tuple[str, ...] = ()


@dataclass
class ScoreFile:
    """A score file that is being read. name: for messages; reward_id: as the study states it; benchmark: of the import.

    n_repeated: rows that repeat another one. counts: what became of rows, for people.
    """

    name: str
    reward_id: str
    benchmark: str
    n_repeated: int = 0
    counts: Counter[str] = field(default_factory=Counter)


Reader = Callable[[ScoreFile, Records], Iterator[Scored]]


def _rows(file: ScoreFile, records: Records, *forms: Form) -> Iterator[Row]:
    yield from checked_records(records, file.name, forms)


def _scored(file: ScoreFile, row: Row, item: Item, found: Sequence[float], said: Sequence[Any] = ()) -> Scored:
    known = tuple(one for one in said if isinstance(one, str))
    return Scored(replace(item, place=f"row {row.number} of {file.name}"), tuple(found), file.name, row.number, known)


def _conversation(value: Any) -> Any:
    """A conversation as messages, or the text that was scored."""
    return messages(value) if isinstance(value, list) else text(value)


def _pair_texts(values: Values) -> tuple[Prompt | None, list[str | None]]:
    """The prompt of a pair and the texts of its completions, where the file has them as messages."""
    sides = [values["text_chosen"], values["text_rejected"]]
    if all(isinstance(side, tuple) for side in sides):
        return alternating(sides[0][:-1]), [side[-1].text for side in sides]
    return None, [None, None]


# The column prompt is not read: where the texts have a chat template, it has it, too.
_TEXTS = {
    "text_chosen": Column(_conversation, is_optional=True),
    "text_rejected": Column(_conversation, is_optional=True),
}
_PAIR_SCORES = {"scores_chosen": Column(reward), "scores_rejected": Column(reward)}
_WITH_IDS = Form({"id": Column(item_id), "subset": Column(filled_text), **_PAIR_SCORES, **_TEXTS})
_WITHOUT_IDS = Form({**_PAIR_SCORES, **_TEXTS, "id": Column(item_id, is_optional=True)})
_SCORES_ONLY = Form({"chosen": Column(reward), "rejected": Column(reward)})


def read_rewardbench(file: ScoreFile, records: Records) -> Iterator[Scored]:
    """Files of reward-bench: `eval-set-scores`, `*_outputs.jsonl`, and `*_all.jsonl`, which has scores alone."""
    for row in _rows(file, records, _WITH_IDS, _WITHOUT_IDS, _SCORES_ONLY):
        values = row.values
        if "scores_chosen" not in values:
            pair = completions([None], [None])
            item = Item(file.benchmark, "", "", as_pair(pair) if file.benchmark == REWARDBENCH else pair)
            yield _scored(file, row, item, (values["chosen"], values["rejected"]))
            continue
        prompt, said = _pair_texts(values)
        pair = completions(said[:1], said[1:])
        named = as_pair(pair) if file.benchmark == REWARDBENCH else pair
        item = Item(file.benchmark, values.get("subset") or "", values["id"] or "", named, prompt=prompt)
        found = (values["scores_chosen"], values["scores_rejected"])
        yield _scored(file, row, item, found, (values["text_chosen"], values["text_rejected"]))


_BEST_OF_4 = Form(
    {
        "id": Column(item_id),
        "subset": Column(filled_text),
        "scores": Column(rewards),
        "num_correct": Column(count),
        "text": Column(as_list, is_optional=True),
    }
)


def read_rewardbench2(file: ScoreFile, records: Records) -> Iterator[Scored]:
    """Files `eval-set-scores` of RewardBench 2: the first num_correct scores of a row are of right completions."""
    problems = Problems(file.name)
    for row in _rows(file, records, _BEST_OF_4):
        values = row.values
        scores, n_correct, subset = values["scores"], values["num_correct"], rewardbench2_subset(values["subset"])
        if n_correct >= len(scores):
            problems.add(
                f"has {len(scores)} scores, and num_correct is {n_correct}; a wrong completion is missing: score the "
                "item again, or take it out",
                row.number,
                "scores",
            )
            continue
        if subset == TIES:
            try:
                refuse_other_ties(values["id"])
            except UserError as error:
                problems.add(str(error), row.number, "id")
                continue
        found = completions([None] * n_correct, [None] * (len(scores) - n_correct))
        item = Item(file.benchmark, subset, values["id"], found, category=subset)
        yield _scored(file, row, item, scores, values["text"] or ())
    problems.raise_any()


_three = list_of(reward, "score")


def _three_scores(value: Any) -> list[float]:
    found: list[float] = _three(as_list(value))
    if len(found) != len(STYLES):
        raise UserError(f"has {len(found)} scores, not 3 ({', '.join(STYLES)}); correct the row, or remove it")
    return found


_STYLED = Form(
    {
        "id": Column(item_id),
        "score_chosen": Column(_three_scores),
        "score_rejected": Column(_three_scores),
        "prompt": Column(plain_or_turns, is_optional=True),
        "chosen": Column(texts, is_optional=True),
        "rejected": Column(texts, is_optional=True),
        "domain": Column(domain_name, is_optional=True),
    }
)


def read_rm_bench(file: ScoreFile, records: Records) -> Iterator[Scored]:
    """Output files of RM-Bench: its rows with `score_chosen` and `score_rejected`, three each."""
    for row in _rows(file, records, _STYLED):
        values = row.values
        domain = rm_bench_domain(values["domain"], file.name)
        right, wrong = (values[name] if len(values[name] or ()) == len(STYLES) else [None] * 3 for name in PAIR_BY)
        found = completions(right, wrong, styles=STYLES)
        item = Item(file.benchmark, domain, values["id"], found, RM_BENCH_DOMAINS[domain], values["prompt"])
        yield _scored(file, row, item, (*values["score_chosen"], *values["score_rejected"]))


def _judgments(value: Any) -> tuple[float, float]:
    """Scores of the responses A and B. A second judgment is of the opposite order and has the same scores."""
    said = [one.get("judgment") for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
    scores = [one.get("scores") for one in said if isinstance(one, Mapping)]
    if not scores or any(one is None for one in scores):
        raise WrongForm(
            "have no scores; only output files of reward models (judge_name=reward_model) are imported, not those of "
            "judges, which decide without a score"
        )
    found = [rewards(one) for one in scores]
    if any(len(one) != 2 for one in found):
        raise UserError("do not have two scores each; correct the row, or remove it")
    first, others = found[0], [one[::-1] for one in found[1:2]]
    if any(
        not math.isclose(a, b, rel_tol=0.01, abs_tol=0.01) for one in others for a, b in zip(first, one, strict=True)
    ):
        raise UserError(
            f"has the scores {first} in one order and {others[0]} in the other; the reward of a response must not hang "
            "on the order: score the pair again, or remove it"
        )
    return first[0], first[1]


_JUDGED = Form(
    {
        "pair_id": Column(item_id),
        "source": Column(filled_text),
        "label": Column(judgebench_label),
        "judgments": Column(_judgments),
        "question": Column(filled_text, is_optional=True),
        "response_A": Column(text, is_optional=True),
        "response_B": Column(text, is_optional=True),
        "response_model": Column(text, is_optional=True),
    }
)


def read_judgebench(file: ScoreFile, records: Records) -> Iterator[Scored]:
    """Output files of JudgeBench for reward models."""
    for row in _rows(file, records, _JUDGED):
        scores = row.values["judgments"]
        ordered = scores if row.values["label"] else scores[::-1]
        yield _scored(file, row, judgebench_item(row.values, file.benchmark), ordered)


def _solution_scores(value: Any) -> list[Any]:
    """Scores of the solutions of a problem as the file has them: numbers, lists of steps' scores, or judgments."""
    return as_list(value)


_SOLUTIONS = Form(
    {
        "problem": Column(filled_text),
        "solution_reference": Column(list_of(text, "solution")),
        "score": Column(_solution_scores),
        "chosen_position": Column(as_list, is_optional=True),
    }
)
_ONE_SOLUTION = Form(
    {
        "problem": Column(filled_text),
        "output": Column(lambda value: value),
        "solution_type": Column(filled_text),
        "problem_id": Column(item_id, is_optional=True),
    }
)


def read_rewardmath(file: ScoreFile, records: Records) -> Iterator[Scored]:
    """Files of RewardMATH's `results`: reward models, judges, pairwise judges, and scores of steps.

    A problem with two solutions is one of RewardBench's math-prm. A row that repeats another one counts once.
    """
    problems = Problems(file.name)
    seen: dict[str, Scored] = {}
    first: Scored | None = None
    for row in _problems(file, records):
        try:
            one = _of_problem(file, row)
        except WrongForm as error:
            raise UserError(f"{file.name}, row {row.number}: {error}") from None  # other rows will be the same
        except UserError as error:
            problems.add(str(error), row.number)
            continue
        first = first or one
        if len(one.rewards) != len(first.rewards):
            problems.add(
                f"has {len(one.rewards)} solutions, and row {first.row} has {len(first.rewards)}; all problems of a "
                "file have equally many: complete the row, or remove it",
                row.number,
            )
            continue
        known = seen.setdefault(row.values["problem"], one)
        if known is one:
            yield one
        elif (known.rewards, known.item.completions) == (one.rewards, one.item.completions):
            file.n_repeated += 1
        else:
            problems.add(f"has the problem of row {known.row} with other scores; keep one of them", row.number)
    problems.raise_any()


def _problems(file: ScoreFile, records: Records) -> Iterator[Row]:
    """Rows of a problem with all its solutions; rows of one solution are put together."""
    rows = list(_rows(file, records, _SOLUTIONS, _ONE_SOLUTION))
    if rows and "output" not in rows[0].values:
        yield from rows
        return
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.values["problem_id"] or row.values["problem"], []).append(row)
    for group in groups.values():
        ordered = sorted(group, key=lambda row: row.values["solution_type"] != "chosen")
        output = [row.values["output"] for row in ordered]
        scores = [one.get("step_scores", one.get("reward")) if isinstance(one, Mapping) else one for one in output]
        authors = [row.values["solution_type"] for row in ordered]
        values = {"problem": group[0].values["problem"], "solution_reference": authors, "score": scores}
        yield replace(group[0], values=values | {"chosen_position": None})


def _of_problem(file: ScoreFile, row: Row) -> Scored:
    values = row.values
    authors, scores, positions = values["solution_reference"], values["score"], values["chosen_position"]
    if len(scores) != len(authors):
        raise UserError(f"has {len(scores)} scores of {len(authors)} solutions; correct the row, or remove it")
    if positions is not None:
        authors, found = ["", *authors], [0.0, *_verdicts(file, scores, positions)]
    else:
        found = [_solution_reward(file, score, place) for place, score in enumerate(scores, 1)]
        if not (authors[0].startswith(RIGHT_BY) or authors[0] == PAIR_BY[0]):
            raise UserError(
                f"its first solution is by {shown(authors[0])}; the right one, by {RIGHT_BY}_..., has to come first"
            )
        if any(one.startswith(RIGHT_BY) or one == PAIR_BY[0] for one in authors[1:]):
            raise UserError("has two right solutions; correct the row, or remove it")
    if len(found) < 2:
        raise UserError("has no wrong solution; correct the row, or remove it")
    made_by = [None if one in PAIR_BY else one for one in authors]
    solutions = completions([None], [None] * (len(found) - 1), made_by)
    prompt = user_turn(values["problem"])
    if len(found) == 2:
        item = Item(REWARDBENCH, MATH_PRM, "", as_pair(solutions), prompt=prompt)
    else:
        item = Item(file.benchmark, file.benchmark, "", solutions, prompt=prompt)
    return _scored(file, row, item, found)


def _solution_reward(file: ScoreFile, score: Any, place: int) -> float:
    """The reward of a solution; of scores of its steps as the end of the reward_id says."""
    try:
        if not isinstance(score, list) or len(score) == 1:
            return reward(score)
        name = file.reward_id.rpartition("/")[2]
        if name not in AGGREGATIONS:
            raise WrongForm(
                "has scores of steps; end the reward_id with their aggregation, such as "
                f"{file.reward_id}/prod ({', '.join(AGGREGATIONS)})"
            )
        steps = rewards(score)
        if not steps:
            raise UserError("has no step; score it again, or take the problem out")
        if name == "geometric_mean" and min(steps) < 0:
            raise UserError(f"has the score {min(steps)} of a step; a geometric mean needs scores from 0")
        return AGGREGATIONS[name](steps)
    except UserError as error:
        raise type(error)(f"score {place}: {error}") from None


def _verdicts(file: ScoreFile, verdicts: Sequence[Any], positions: Sequence[Any]) -> list[float]:
    """Rewards of the wrong solutions, where the right one has 0: below it where the judge chose that, else above.

    A judge that names neither A nor B decides for none: a tie.
    """
    if len(positions) != len(verdicts):
        raise UserError(f"has {len(verdicts)} judgments and {len(positions)} positions; correct the row, or remove it")
    found = []
    for place, (verdict, position) in enumerate(zip(verdicts, positions, strict=True), 1):
        if position not in ("A", "B"):
            raise UserError(f"position {place}: {shown(position)} is neither A nor B; correct it, or remove the row")
        if isinstance(verdict, int | float | list):
            raise UserError(f"judgment {place}: {shown(verdict)} is neither A nor B; correct it, or remove the row")
        if verdict not in ("A", "B"):
            file.counts["judgments that are neither A nor B, and count as ties"] += 1
            found.append(0.0)
        else:
            found.append(-1.0 if verdict == position else 1.0)
    return found


_PLAIN = Form(
    {
        "item_id": Column(item_id),
        "completion": Column(filled_text),
        "reward": Column(reward),
        "benchmark": Column(filled_text, is_optional=True),
        "subset": Column(filled_text, is_optional=True),
    }
)


def read_plain(file: ScoreFile, records: Records) -> Iterator[Scored]:
    """Rows of one completion each, put together by item. Names of completions say which are right."""
    problems = Problems(file.name)
    groups: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in _rows(file, records, _PLAIN):
        values = row.values
        key = (values["benchmark"] or file.benchmark, values["subset"] or "", values["item_id"])
        group = groups.setdefault(key, {})
        known = group.setdefault(values["completion"], row)
        if known is not row:
            what = f"the item {values['item_id']!r} has a reward of {values['completion']} already in row"
            problems.add(f"{what} {known.number}; keep one", row.number, "item_id, completion")
    problems.raise_any()
    for (benchmark, subset, name), group in groups.items():
        found = tuple(Completion(one, one.startswith(("chosen", "correct_"))) for one in group)
        first = next(iter(group.values()))
        item = Item(benchmark, subset, name, found)
        yield _scored(file, first, item, [row.values["reward"] for row in group.values()])


READERS: Mapping[str, tuple[str, Reader]] = {
    "rewardbench": ("rewardbench", read_rewardbench),
    "rewardbench2": ("rewardbench2", read_rewardbench2),
    "rewardmath": ("rewardmath", read_rewardmath),
    "rm_bench": ("rm_bench", read_rm_bench),
    "judgebench": ("judgebench", read_judgebench),
    "plain": ("", read_plain),
}
"""Benchmark and reader by the setting `format`."""
