"""The census of a race: each candidate trained to the end at every rate, and other ways to choose on these looks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from models_train.jobs.race_records import RaceRecord, Row
from models_train.race.peers import PEERS
from models_train.race.replay import Census
from models_train.race.rules import Candidate, RaceRules, Work

Rows = Mapping[Work, Mapping[str, Any]]
"""Rows of race_looks by the work that they are of."""


def census_work(candidates: Sequence[Candidate], rules: RaceRules) -> Iterator[list[Work]]:
    """The looks of a census, one training after the other, each from its first rung on."""
    for candidate in candidates:
        for rate in rules.rates:
            rungs = zip(rules.rungs, rules.n_items, strict=True)
            yield [Work(candidate.model_id, rate, n_examples, n_items) for n_examples, n_items in rungs]


def census_of(rows: Rows, candidates: Sequence[Candidate], rules: RaceRules) -> Census:
    """The census of complete looks; a training that failed at some rung has none from there on.

    The tokens of an item are the mean over those of the last look: a look states their sum.
    """
    shape = len(candidates), len(rules.rates), len(rules.rungs)
    won = np.zeros((*shape, rules.n_items[-1]), dtype=np.int8)
    n_tokens, seconds, train_loss = np.zeros(shape, dtype=np.int64), np.zeros(shape), np.full(shape, np.nan)
    item_tokens, failed = np.zeros((len(candidates), rules.n_items[-1])), np.zeros(shape[:2], dtype=bool)
    for number, training in enumerate(census_work(candidates, rules)):
        place, rate = divmod(number, len(rules.rates))
        for rung, work in enumerate(training):
            row = rows.get(work)
            if row is None or row["failure"] is not None:
                failed[place, rate] = True
                n_tokens[place, rate, rung:] = 0 if row is None and rung == 0 else n_tokens[place, rate, rung - 1]
                break
            won[place, rate, rung, : work.n_items] = [int(digit) for digit in row["outcomes"]]
            n_tokens[place, rate, rung], seconds[place, rate, rung] = row["n_tokens"], row["device_seconds"]
            train_loss[place, rate, rung] = np.nan if row["train_loss"] is None else row["train_loss"]
            item_tokens[place] = row["n_item_tokens"] / row["n_items"]
    arrays = (won, n_tokens, item_tokens, seconds, train_loss, failed)
    return Census(tuple(candidates), rules.rates, rules.rungs, rules.n_items, *arrays)


def peer_rows(census: Census, record: RaceRecord, budget: float) -> list[Row]:
    """Rows of race_answers of the peers, each with the tokens that the race took as its budget."""
    rows = []
    trained, scored = census.trained_tokens, len(census.rates) * float(census.item_tokens.sum())
    for name, choose in PEERS.items():
        if name == "best public benchmark" and any(one.benchmark is None for one in census.candidates):
            continue
        place, n_trained, n_scored = choose(census, budget, np.random.default_rng(record.rules.seed))
        winner = census.candidates[place].model_id
        rows.append(
            record.of_method(name.replace(" ", "_"))
            | {
                "winner": winner,
                "indifference_set": json.dumps([winner]),
                "n_trained_tokens": float(n_trained),
                "n_scored_tokens": float(n_scored),
                "n_census_trained_tokens": trained,
                "n_census_scored_tokens": scored,
                **dict.fromkeys(("probability_best", "probability_within", "end", "answer", "n_looks")),
                **dict.fromkeys(("device_seconds", "census_device_seconds")),
            }
        )
    return rows
