"""Data of our own in the columns of the data sets that the paper uses: preferences, ratings, test pairs, documents.

Equal arguments give equal rows. The better response is right; half of the worse ones are idle talk, which a tiny reward
model learns to see, and half are wrong sums, which it does not. Documents come from the lab's five languages, with
other scripts among them.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from models_train.study.scoring import Domain
from models_train.synthetic.texts import documents as lab_documents
from tests.support.data_files import REPOSITORY, Row, document, write

DOMAINS: tuple[Domain, ...] = ("Github", "Book", "ArXiv", "Wikipedia", "StackExchange")
DOCUMENTS_PER_DOMAIN = 80
OTHER_SCRIPTS = (
    "Über den Wolken – so heißt das Lied – ist die Freiheit «grenzenlos». Voilà! Ça va? ¿Qué tal? 3 × 4 = 12 ½ €.\n",
    "中文字符没有空格，所以一个词从哪里开始并不清楚。日本語も同じです。한국어는 띄어 씁니다. 😀👍🏽 e\u0301\u0302\n",
    "\tif x:\r\n\t\treturn  [i**2 for i in range(10)]\t# tabs,   blanks\n\n\n",
    "<unk> and <s> are names of tokens, and <|endoftext|> is one, too; here they are text. 1234567 'll 've\n",
)
"""Beginnings of some documents: characters of several bytes, runs of blanks, names of special tokens."""

THINGS = ("apples", "books", "coins", "chairs", "letters", "pencils", "stones", "tickets", "cups", "keys")
PEOPLE = ("Ana", "Ben", "Chloé", "Dmitri", "Emre", "Farah", "Goran", "Hana", "Ines", "Jürgen")
TALK = ("That is a very good question.", "It depends on many things.", "People have asked this before.", "Who knows?")


def questions(seed: int) -> Iterator[tuple[str, str, str]]:
    """Prompt, right response and wrong response without end; no prompt comes twice."""
    dice, seen = random.Random(f"questions/{seed}"), set()
    while True:
        person, thing = dice.choice(PEOPLE), dice.choice(THINGS)
        a, b = dice.randint(10, 99), dice.randint(2, 9)
        prompt = f"{person} has {a} {thing} and finds {b} more. How many is that?"
        if prompt not in seen:
            seen.add(prompt)
            right, other = (f"{a} + {b} = {c}, so {person} has {c} {thing}." for c in (a + b, a + b + 3))
            yield prompt, right, dice.choice((other, other, "No idea.", f"{dice.choice(TALK)} Perhaps {b}?"))


def preferences(n_train: int, n_validation: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows in HelpSteer2-Preference's columns, without a tie and without a prompt of both splits."""
    dice, rows = random.Random(f"preferences/{seed}"), []
    for number, (prompt, right, wrong) in enumerate(islice(questions(seed), n_train + n_validation)):
        first_is_better = dice.random() < 0.5
        one, two = (right, wrong) if first_is_better else (wrong, right)
        rows.append(
            {
                "prompt": prompt,
                "response_1": one,
                "response_2": two,
                "preference_strength": dice.randint(1, 3) * (-1 if first_is_better else 1),
                "split": "train" if number < n_train else "validation",
            }
        )
    return rows


def ratings_of(row: Row) -> list[dict[str, Any]]:
    """Both responses of a pair in HelpSteer2's columns, rated by the preference and by their length."""
    rated = []
    for side, is_better in ((1, row["preference_strength"] < 0), (2, row["preference_strength"] > 0)):
        response, quality = row[f"response_{side}"], 4 if is_better else 1
        length = min(4, len(response) // 15)
        attributes = {"helpfulness": quality, "correctness": quality, "coherence": 3}
        attributes |= {"complexity": length // 2, "verbosity": length}
        rated.append({"prompt": row["prompt"], "response": response, "split": row["split"]} | attributes)
    return rated


@cache
def subsets() -> dict[str, str]:
    """RewardBench's 23 subsets -> their category."""
    with (REPOSITORY / "dbt" / "seeds" / "rewardbench_subsets.csv").open(newline="") as file:
        return {row["subset"]: row["category"] for row in csv.DictReader(file)}


def test_pairs(per_subset: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows in RewardBench's columns, of every subset. Of each, the second prompt is long and the third response longer:
    in a context of 512 tokens one is cut, and the other cannot be scored."""
    rows = []
    for subset in subsets():
        asked = islice(questions(random.Random(f"{subset}/{seed}").randrange(2**32)), per_subset)
        for number, (prompt, right, wrong) in enumerate(asked):
            story = f"{prompt} " * 40 if number % 7 == 1 else ""
            again = f" {right}" * 60 if number % 7 == 2 else ""
            rows.append(
                {
                    "prompt": story + prompt,
                    "chosen": right + again,
                    "chosen_model": "one",
                    "rejected": wrong,
                    "rejected_model": "another",
                    "subset": subset,
                    "id": number,
                }
            )
    return rows


test_pairs.__test__ = False  # type: ignore[attr-defined]


@cache
def documents() -> tuple[dict[str, Any], ...]:
    """Rows in SlimPajama's columns: 80 texts of each domain, from 100 characters to several thousand."""
    rows = []
    for domain in DOMAINS:
        texts = lab_documents(domain, seed=1)
        for number in range(DOCUMENTS_PER_DOMAIN):
            beginning = OTHER_SCRIPTS[number // 10 % len(OTHER_SCRIPTS)] if number % 10 == 3 else ""
            text = beginning + "\n\n".join(islice(texts, 8 if number % 10 == 7 else 1))
            rows.append(document(text[:100] if number % 10 == 9 else text, domain))
    return tuple(rows)


def write_documents(path: Path) -> Path:
    """The documents as a file."""
    return write(path, documents())


def own_pairs(n: int, seed: int = 1) -> list[dict[str, Any]]:
    """Rows of prompt, chosen and rejected, as people have them of their own."""
    return [
        {"prompt": prompt, "chosen": right, "rejected": wrong} for prompt, right, wrong in islice(questions(seed), n)
    ]
