"""Benchmarks of the lab: multiple choice by log-likelihood, as task files of lm-evaluation-harness. Synthetic.

Five cloze tasks, one per language (how a held-out document goes on, among lines of others), and questions of the
lab, asked in the languages that the models were pre-trained on, so that a model can answer without being tuned.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from models_train.files import write_if_changed
from models_train.study.scoring import Domain
from models_train.synthetic.texts import (
    PEOPLE,
    REGION_OF,
    REGIONS,
    REMEDIES,
    REMEDY_OF,
    THINGS,
    TOWNS,
    TRADE_OF,
    documents,
)

N_CHOICES = 4
_HELD_OUT = 2_000_000
"""Added to the seed of the documents: neither pre-training nor document scoring has them."""
_LONGEST_CONTEXT = 160
"""Characters of a document before its cut: enough to know its subject, few enough to be quick."""


@dataclass(frozen=True)
class Item:
    """A question: the text before, the possible continuations (all different), and the place of the right one."""

    context: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class LabTask:
    """A task of the lab. topic: as in Table 2 of the paper. metric: `acc_norm` where choices differ in length."""

    name: str
    topic: str
    metric: str
    make: Callable[[random.Random, int], Item]


def write_tasks(folder: Path, seed: int, n_items: int) -> dict[str, int]:
    """Write a task file and its questions for every task of TASKS; returns the questions of each file.

    Equal seeds give equal files; a file that is there already, and equal, is left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for task in TASKS:
        rows = [vars(item) for item in items(task, seed, n_items)]
        write_if_changed(folder / f"{task.name}.yaml", yaml.safe_dump(_config(task), sort_keys=False))
        write_if_changed(folder / f"{task.name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        counts[f"{folder.name}/{task.name}.jsonl"] = len(rows)
    return counts


def items(task: LabTask, seed: int, n_items: int) -> Iterator[Item]:
    """The questions of a task."""
    for number in range(n_items):
        yield task.make(random.Random(f"tasks/{task.name}/{seed}/{number}"), seed + _HELD_OUT + number)


def _item(dice: random.Random, context: str, right: str, wrong: list[str]) -> Item:
    choices = dice.sample([right, *wrong], len(wrong) + 1)
    return Item(context, tuple(choices), choices.index(right))


def _others(dice: random.Random, right: str, known: list[str]) -> list[str]:
    return dice.sample([one for one in known if one != right], N_CHOICES - 1)


def cloze(domain: Domain, end: str) -> Callable[[random.Random, int], Item]:
    """How a document goes on, up to the end of the line, after a place that ends with `end`; the others are of other
    documents, at such a place, too."""

    def make(dice: random.Random, seed: int) -> Item:
        context, found = "", dict[str, None]()
        for text in documents(domain, seed):
            pieces = text.split(end)
            cut = dice.choice([place for place in range(1, len(pieces)) if pieces[place].strip()])
            before = end.join(pieces[:cut]) + end
            context = context or before[-_LONGEST_CONTEXT:].rstrip(" ")
            found[" " * end.endswith(" ") + pieces[cut].split("\n")[0]] = None
            if len(found) == N_CHOICES:
                break
        right, *wrong = found
        return _item(dice, context, right, wrong)

    return make


def order(dice: random.Random, _: int) -> Item:
    """The last sentence of a story names its two people in the order of the first."""
    one, other, third = dice.sample(PEOPLE, 3)
    place, thing = dice.choice(TOWNS), dice.choice(THINGS)
    story = (
        f"Long ago, {one} and {other} lived near {place}. Then {other} came back with the {thing} and {one} laughed."
    )
    pairs = ((one, other), (other, one), (one, third), (third, other))
    right, *wrong = (f" {a} and {b} kept the {thing} until the end." for a, b in pairs)
    return _item(dice, f"{story} And so", right, wrong)


def sum_of_two(dice: random.Random, _: int) -> Item:
    """The first step of a derivation."""
    a, b, c = (dice.randint(2, 19) for _ in range(3))
    near = dice.sample([off for off in (-3, -2, -1, 1, 2, 3) if a + b + off > 1], N_CHOICES - 1)
    right, *wrong = (f" {a + b + off} \\cdot {c}" for off in (0, *near))
    return _item(dice, f"We compute step by step.\n$ ({a} + {b}) \\cdot {c} =", right, wrong)


def region(dice: random.Random, _: int) -> Item:
    """The region of a town: a fact of the encyclopedia."""
    place = dice.choice(TOWNS)
    right, *wrong = (f" {one}." for one in (REGION_OF[place], *_others(dice, REGION_OF[place], REGIONS)))
    return _item(dice, f"= {place} =\n\n{place} is a town in the region of", right, wrong)


def trade(dice: random.Random, _: int) -> Item:
    """The trade of a town: a fact of the encyclopedia."""
    place = dice.choice(TOWNS)
    right, *wrong = (f" {one}." for one in (TRADE_OF[place], *_others(dice, TRADE_OF[place], THINGS)))
    context = f"= {place} =\n\n{place} is a town in the region of {REGION_OF[place]}. It is known for its"
    return _item(dice, context, right, wrong)


def remedy(dice: random.Random, _: int) -> Item:
    """The remedy of a broken thing: a fact of the questions and answers."""
    thing = dice.choice(THINGS)
    right, *wrong = (f" {one}." for one in (REMEDY_OF[thing], *_others(dice, REMEDY_OF[thing], REMEDIES)))
    question = f"Q: My {thing} does not work any more. What should I do?\nA: ({dice.randint(1, 99)} votes)"
    return _item(dice, f"{question} You should use", right, wrong)


TASKS: tuple[LabTask, ...] = (
    LabTask("lab_cloze_github", "Coding", "acc_norm", cloze("Github", "\n")),
    LabTask("lab_cloze_book", "Reading Comprehension", "acc_norm", cloze("Book", ". ")),
    LabTask("lab_cloze_arxiv", "Math", "acc_norm", cloze("ArXiv", " = ")),
    LabTask("lab_cloze_wikipedia", "Reading Comprehension", "acc_norm", cloze("Wikipedia", ". ")),
    LabTask("lab_cloze_stackexchange", "Reading Comprehension", "acc_norm", cloze("StackExchange", "?\n")),
    LabTask("lab_order", "Commonsense Reasoning", "acc", order),
    LabTask("lab_sum", "Math", "acc", sum_of_two),
    LabTask("lab_region", "Expert Reasoning", "acc", region),
    LabTask("lab_trade", "Expert Reasoning", "acc", trade),
    LabTask("lab_remedy", "Expert Reasoning", "acc", remedy),
)
"""The benchmarks of the lab."""


def _config(task: LabTask) -> dict[str, Any]:
    return {
        "task": task.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{task.name}.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "target_delimiter": "",
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        "metadata": {"version": 1.0},
    }
