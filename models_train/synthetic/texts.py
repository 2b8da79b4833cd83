"""Texts of the lab: five made-up languages under the names of the real domains. Synthetic; any amount, by a seed.

Each language has its own vocabulary and rules, and within a document something to carry on (a variable, a character,
an equation, a place, the question), so that a small model has to divide its capacity. And each has names of two kinds
that look alike: only reading tells which are honest and which are sly.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from models_train.study.scoring import Domain

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
N_OF_A_KIND = 60
"""Names of one kind: few enough to be learned, too many to be guessed."""


def documents(domain: Domain, seed: int) -> Iterator[str]:
    """Documents of a domain without end, each 200 to 1,200 characters long; equal seeds give equal texts."""
    number = 0
    while True:
        dice = random.Random(f"{domain}/{seed}/{number}")
        yield LANGUAGES[domain](dice)
        number += 1


def _kinds(n_kinds: int) -> list[list[str]]:
    """Lists of names that look alike: the same in every document and for every seed."""
    dice = random.Random("names")
    found: dict[str, None] = {}
    while len(found) < n_kinds * N_OF_A_KIND:
        found["".join(dice.choice(CONSONANTS) + dice.choice(VOWELS) for _ in range(2))] = None
    names = list(found)
    return [names[start : start + N_OF_A_KIND] for start in range(0, len(names), N_OF_A_KIND)]


VARIABLES, FUNCTIONS, THINGS, REMEDIES, *_capitals = _kinds(10)
HONEST, SLY, TOWNS, REGIONS, THEOREMS, CLAIMS = ([name.capitalize() for name in kind] for kind in _capitals)
PEOPLE = [*HONEST, *SLY]
REGION_OF = {town: REGIONS[(index * 7 + 3) % N_OF_A_KIND] for index, town in enumerate(TOWNS)}
TRADE_OF = {town: THINGS[(index * 11 + 5) % N_OF_A_KIND] for index, town in enumerate(TOWNS)}
REMEDY_OF = {thing: REMEDIES[(index * 13 + 1) % N_OF_A_KIND] for index, thing in enumerate(THINGS)}


def three(dice: random.Random, names: Sequence[str], word: str = "") -> str:
    """Three of the names as English lists them, each after `word`."""
    one, two, last = (f"{word} {name}".strip() for name in dice.sample(names, 3))
    return f"{one}, {two} and {last}"


def program(dice: random.Random) -> str:
    """Functions over variables that were defined before, and over other functions; the blocks are indented."""
    lines = []
    for _ in range(dice.randint(2, 5)):
        known = dice.sample(VARIABLES, 2)
        lines.append(f"def {dice.choice(FUNCTIONS)}({known[0]}, {known[1]}):")
        for _ in range(dice.randint(2, 4)):
            new, used, other = dice.choice(VARIABLES), dice.choice(known), dice.choice(known)
            of_both = f"{used} {dice.choice('+-*')} {other}"
            lines.append(f"    {new} = " + (of_both if dice.random() < 0.5 else f"{dice.choice(FUNCTIONS)}({of_both})"))
            known.append(new)
        if dice.random() < 0.5:
            lines += [f"    if {known[-1]} > {dice.randint(0, 9)}:", f"        {known[-1]} = {known[0]}"]
        lines += [f"    return {known[-1]}", ""]
    return "\n".join(lines)


def book(dice: random.Random) -> str:
    """A story of two people who stay the same throughout, in whole sentences."""
    one, other = dice.sample(PEOPLE, 2)
    place, thing = dice.choice(TOWNS), dice.choice(THINGS)
    sentences = [f"Long ago, {one} and {other} lived near {place}."]
    for _ in range(dice.randint(5, 12)):
        who, whom = (one, other) if dice.random() < 0.5 else (other, one)
        sentences.append(
            dice.choice(
                (
                    f"They trusted {three(dice, HONEST, 'honest')}.",
                    f"They caught {three(dice, SLY, 'sly')}.",
                    f"In the morning {who} looked for the {thing}, but {whom} had hidden it.",
                    f'"Where is my {thing}?" said {who}.',
                    f'"I do not know," {whom} answered, and went away.',
                    f"The night was cold, and {who} thought of {place}.",
                    f"Then {whom} came back with the {thing} and {who} laughed.",
                )
            )
        )
    return " ".join([*sentences, f"And so {one} and {other} kept the {thing} until the end."])


def formula(dice: random.Random) -> str:
    """Derivations whose every equation is true, by theorems and against claims."""
    lines = ["We compute step by step."]
    for _ in range(dice.randint(3, 7)):
        a, b, c = (dice.randint(2, 19) for _ in range(3))
        lines.append(f"$ ({a} + {b}) \\cdot {c} = {a + b} \\cdot {c} = {(a + b) * c} $")
        for _ in range(dice.randint(1, 2)):
            by, against = three(dice, THEOREMS, "theorem"), three(dice, CLAIMS, "claim")
            lines.append(dice.choice((f"By {by}.", f"Against {against}.")))
        if dice.random() < 0.3:
            lines.append(f"Hence $ x = {(a + b) * c} - {c} = {(a + b) * c - c} $.")
    return "\n".join([*lines, "\\qed"])


def encyclopedia(dice: random.Random) -> str:
    """Articles on places, whose region and trade are the same in every article."""
    place = dice.choice(TOWNS)
    facts = [
        f"{place} is a town in the region of {REGION_OF[place]}.",
        f"It is known for its {TRADE_OF[place]}.",
    ]
    for _ in range(dice.randint(3, 7)):
        year, near = dice.randint(1100, 1990), dice.choice(TOWNS)
        facts.append(
            dice.choice(
                (
                    f"In {year} the town was joined to {near}, a town in the region of {REGION_OF[near]}.",
                    f"It borders on {three(dice, REGIONS, 'region')}.",
                    f"It is near {three(dice, TOWNS, 'town')}.",
                    f"The census of {year} counted {dice.randint(2, 90)},000 people.",
                    f"Trade in {TRADE_OF[near]} with {near} began in {year}.",
                    f"The {TRADE_OF[place]} of {place} was first described in {year}.",
                )
            )
        )
    return f"= {place} =\n\n" + " ".join(facts)


def questions(dice: random.Random) -> str:
    """Questions and answers; the remedy of a broken thing is always the same."""
    turns = []
    for _ in range(dice.randint(2, 5)):
        thing, votes = dice.choice(THINGS), dice.randint(1, 99)
        turns.append(
            f"Q: My {thing} does not work any more. What should I do?\n"
            f"A: ({votes} votes) You should use {REMEDY_OF[thing]}. It always helps with a {thing}."
        )
    return "\n\n".join(turns)


LANGUAGES: dict[Domain, Callable[[random.Random], str]] = {
    "Github": program,
    "Book": book,
    "ArXiv": formula,
    "Wikipedia": encyclopedia,
    "StackExchange": questions,
}
