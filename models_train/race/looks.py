"""The looks of a race by candidate, rate and rung: what has been seen, what it cost, what a census would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models_train.errors import UserError
from models_train.race.curves import Points
from models_train.race.rules import SCORED, Candidate, Floats, Look, RaceRules

MOST_POINTS = 12
"""Looks of a candidate that the curves are learned from: the first, the last, and some at like distances between."""


class Runner:
    """A candidate in the race. rates: those that still go on; looks: of each rate, by rung from 0."""

    def __init__(self, candidate: Candidate, rates: Sequence[float]) -> None:
        self.candidate = candidate
        self.rates = list(rates)
        self.looks: dict[float, list[Look]] = {rate: [] for rate in rates}
        self.failures: dict[float, str] = {}
        self.dropped: str | None = None

    @property
    def model_id(self) -> str:
        """Name of the base model."""
        return self.candidate.model_id

    @property
    def n_rungs(self) -> int:
        """Rungs that the foremost rate has reached."""
        return max((len(looks) for looks in self.looks.values()), default=0)

    @property
    def n_examples(self) -> int:
        """Examples that the foremost rate has been trained on."""
        return max((look.n_examples for look in self.every()), default=0)

    @property
    def is_in(self) -> bool:
        """True for a candidate that can still win: not dropped, and with a rate that has not failed."""
        return self.dropped is None and bool(self.rates)

    def every(self) -> list[Look]:
        """All looks, failures left out."""
        return [look for looks in self.looks.values() for look in looks]


def check(look: Look, rules: RaceRules) -> None:
    """Raise UserError for a look that no race can take."""
    where = f"look at {look.model_id}, rate {look.learning_rate:g}, {look.n_examples} examples"
    for name, value in (
        ("n_tokens", look.n_tokens),
        ("n_items_tokens", look.n_items_tokens),
        ("device_seconds", look.device_seconds),
    ):
        if not (np.isfinite(value) and value >= 0):
            raise UserError(f"{where}: {name} is {value}; give a number of 0 or more")
    if look.failure is not None:
        return
    wanted = rules.n_items[rules.rungs.index(look.n_examples)]
    if look.won.shape != (wanted,):
        raise UserError(
            f"{where}: outcomes of {look.won.size} items, the rules say {wanted}; score the same first items"
        )
    if not np.isin(look.won, (0.0, 0.5, 1.0)).all():
        raise UserError(f"{where}: an outcome is neither 0, 1/2 nor 1; score the item again, or record a failure")


def points_of(runners: Sequence[Runner], rules: RaceRules) -> Points:
    """The curves so far, of rates that have been dropped, too."""
    seen = [
        (base, rate, look)
        for base, runner in enumerate(runners)
        for rate, value in enumerate(rules.rates)
        for look in _thinned(runner.looks[value])
    ]
    looks = [look for _, _, look in seen]
    scored = np.array([len(look.won) for look in looks])
    # Error by items not scored yet, of nested samples without replacement.
    outcomes = np.array([look.won[: scored.min()] for look in looks])
    left = 1 / np.maximum.outer(scored, scored) - 1 / rules.n_items[-1]
    covariance = np.atleast_2d(np.cov(outcomes)) * left if left.any() else np.zeros(left.shape)
    return Points(
        base=np.array([base for base, _, _ in seen]),
        rate=np.array([rate for _, rate, _ in seen]),
        doublings=np.log2([look.n_examples / rules.rungs[0] for look in looks]),
        accuracy=np.array([look.accuracy for look in looks]),
        item_covariance=1e4 * covariance,
    )


def paired(one: Look, other: Look) -> Floats:
    """Differences of the outcomes on the items that both have, (items,)."""
    both = min(len(one.won), len(other.won))
    return np.asarray(one.won[:both] - other.won[:both])


def likeness(candidates: Sequence[Candidate]) -> Floats:
    """(candidates, candidates): mean product of the standardised log size and benchmark, those that all have and that
    differ; the identity without any."""
    columns = [np.log10([one.params_b for one in candidates])]
    if all(one.benchmark is not None for one in candidates):
        columns.append(np.array([one.benchmark for one in candidates], dtype=float))
    columns = [column - column.mean() for column in columns]
    features = [column / column.std() for column in columns if column.std() > 1e-9]
    if not features:
        return np.eye(len(candidates))
    return np.asarray(sum(np.outer(one, one) for one in features) / len(features))


@dataclass(frozen=True)
class Costs:
    """Tokens trained and scored, and seconds of devices."""

    trained: float
    scored: float
    device_seconds: float

    @property
    def tokens(self) -> float:
        """Tokens as a budget counts them."""
        return self.trained + SCORED * self.scored


def spent(runners: Sequence[Runner], failed: Sequence[Look]) -> Costs:
    """Cost of all looks, failed ones among them; training is counted once per rate, at its highest rung."""
    looks = [look for runner in runners for look in runner.every()]
    trained: dict[tuple[str, float], int] = {}
    for look in (*looks, *failed):
        key = look.model_id, look.learning_rate
        trained[key] = max(trained.get(key, 0), look.n_tokens)
    return Costs(
        float(sum(trained.values())),
        float(sum(look.n_items_tokens for look in (*looks, *failed))),
        sum(look.device_seconds for look in (*looks, *failed)),
    )


def expected_cost(runner: Runner, from_examples: int, to_examples: int, n_items: int) -> Costs:
    """Expected cost of one rate from one number of examples to another and one look, by the looks so far.

    All zero before the first look.
    """
    looks = runner.every()
    if not looks:
        return Costs(0.0, 0.0, 0.0)
    longest = max(looks, key=lambda look: look.n_examples)
    trained = longest.n_tokens / longest.n_examples * (to_examples - from_examples)
    scored = longest.n_items_tokens / len(longest.won) * n_items
    so_far = spent([runner], [])
    return Costs(trained, scored, so_far.device_seconds / max(so_far.tokens, 1.0) * (trained + SCORED * scored))


def census_cost(runners: Sequence[Runner], rules: RaceRules) -> Costs:
    """Expected cost of training every candidate at every rate to the end, and scoring each once on all items.

    A candidate without a look is taken for the mean of the others.
    """
    costs = [expected_cost(one, 0, rules.rungs[-1], rules.n_items[-1]) for one in runners if one.every()]
    if not costs:
        return Costs(0.0, 0.0, 0.0)
    scale = len(rules.rates) * len(runners) / len(costs)
    sums = (sum(getattr(cost, name) for cost in costs) for name in ("trained", "scored", "device_seconds"))
    return Costs(*(scale * one for one in sums))


def _thinned(looks: list[Look]) -> list[Look]:
    """At most MOST_POINTS looks."""
    if len(looks) <= MOST_POINTS:
        return looks
    logs = np.log([look.n_examples for look in looks])
    wanted = np.linspace(logs[0], logs[-1], MOST_POINTS)
    places = sorted({int(np.abs(logs - one).argmin()) for one in wanted})
    return [looks[place] for place in places]
