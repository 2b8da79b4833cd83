"""Which base model to train a reward model on, for one policy and one use of it (definitions, Section 14).

Evidence is taken in the order of EVIDENCE: what was measured on the policy itself; then what was measured on other
policies of the policy's family, with the same base model or else with its family (`lineage`); then the score on
RewardBench, and the benchmarks of the base model, as far as values on policies of this family say what these are worth.
Where nothing was measured on a policy of the family, there is an abstention. Estimates that cannot be told apart are
not ranked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models_train.selection.item_statistics import seed_of
from models_train.selection.recommendation import SIZE_LIMITS
from models_train.selection.scores import INTERVAL_ENDS
from warehouse.contracts.sizes import is_within

Floats = NDArray[np.float64]

MEASURED, BEST_OF_N, ACCURACY = "measured", "best_of_n", "on_policy_accuracy"
LINEAGE, REWARDBENCH, BENCHMARKS = "lineage", "rewardbench", "base_benchmarks"
EVIDENCE: Mapping[str, tuple[str, ...]] = {
    "rl": (MEASURED, BEST_OF_N, ACCURACY, LINEAGE, REWARDBENCH, BENCHMARKS),
    "best_of_n": (MEASURED, ACCURACY, LINEAGE, REWARDBENCH, BENCHMARKS),
    "filter_data": (MEASURED, LINEAGE, REWARDBENCH, BENCHMARKS),
}
"""Evidence for each use, the best first."""
ON_POLICY = (MEASURED, BEST_OF_N, ACCURACY)
"""Evidence that is measured on the policy itself."""
TRANSLATED = (REWARDBENCH, BENCHMARKS)
"""Evidence that says nothing of a policy before gains on policies of its family translate it."""
MINIMUM_TO_TRANSLATE = 6
"""Fewest base models with a value and a gain on policies of the family."""
N_DRAWS = 4_000
FEWEST_POLICIES = 2
"""Fewest other policies of the family behind an interval of `lineage`."""

ANSWERS: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(("study_id", "policy_id", "gold_id", "use", "objective"), pl.String),
    "size_limit_b": pl.Float64,
    **dict.fromkeys(("base_model", "evidence", "measure"), pl.String),
    **dict.fromkeys(("expected", "low", "high", "probability_best"), pl.Float64),
    "runner_up": pl.String,
    "runner_up_expected": pl.Float64,
    "level_with": pl.String,
    **dict.fromkeys(("n_level", "n_compared", "n_without"), pl.Int64),
    "reason": pl.String,
}
REGRETS: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(("study_id", "policy_id", "gold_id", "use", "objective", "best_evidence", "evidence"), pl.String),
    "n_bases": pl.Int64,
    **dict.fromkeys(("picked", "best"), pl.String),
    **dict.fromkeys(("picked_value", "best_value", "regret", "regret_by_chance"), pl.Float64),
    "reason": pl.String,
}
NOTHING = "nothing of the family"
"""`best_evidence` where no policy of the family was measured with any reward model."""


@dataclass(frozen=True)
class Tables:
    """What is known of all studies.

    candidates: study_id, base_model, objective, reward_id (null for a base model without a reward model), family,
    params_b. policies: study_id, policy_id, family (of the policy). evidence: study_id, use (null for any), evidence,
    policy_id and gold_id (null for the TRANSLATED), reward_id or else base_model, value, error (its standard error;
    null where it is not known), draws (the value in resamples of prompts that all rewards share, as float64 bytes; null
    where there are none). `measured` is the gain, for filter_data the accuracy on pairs.
    """

    candidates: pl.DataFrame
    policies: pl.DataFrame
    evidence: pl.DataFrame


@dataclass(frozen=True)
class Value:
    """A value of a base model and its standard error, NaN where it is not known.

    draws: the value in resamples of the prompts, shared by all base models on a policy; None where there are none.
    spread: of the value, the standard error that is due to several reward models of the base model; it is in `error`.
    """

    value: float
    error: float
    draws: Floats | None = None
    spread: float = 0.0


Values = Mapping[str, Value]
"""By base model."""


@dataclass(frozen=True)
class Estimate:
    """What base models are expected to be worth. draws: (draws, base models), NaN where an error is not known."""

    names: tuple[str, ...]
    values: Floats
    draws: Floats

    def of(self, names: Sequence[str]) -> Estimate:
        """Of these base models alone, in the same draws."""
        places = [place for place, name in enumerate(self.names) if name in set(names)]
        return Estimate(tuple(self.names[place] for place in places), self.values[places], self.draws[:, places])

    @property
    def order(self) -> list[int]:
        """Places, best first; of equal ones the first by name."""
        return sorted(range(len(self.names)), key=lambda place: (-self.values[place], self.names[place]))

    def is_level(self, place: int, best: int) -> bool:
        """Whether one cannot be told apart from the best: the 95 % interval of their difference reaches 0."""
        return not np.quantile(self.draws[:, best] - self.draws[:, place], INTERVAL_ENDS[0]) > 0

    def interval(self, place: int) -> tuple[float, float]:
        """Ends of the 95 % interval; NaN where the error is not known."""
        low, high = np.quantile(self.draws[:, place], INTERVAL_ENDS)
        return float(low), float(high)

    def chance(self, place: int) -> float:
        """Share of the draws in which it is the best; NaN where an error is not known."""
        if np.isnan(self.draws).any():
            return float("nan")
        first = self.draws == self.draws.max(axis=1, keepdims=True)
        return float((first[:, place] / first.sum(axis=1)).mean())


Estimates = Mapping[str, Estimate | str]
"""By evidence; a text says why there is none."""


@dataclass(frozen=True)
class Knowledge:
    """What is known for one study, gold reward, use and objective.

    on_policy: by evidence and policy; general: of the TRANSLATED evidence. families: of base models. policies: family
    of each policy, None where it is not known. seed: of the draws.
    """

    use: str
    on_policy: Mapping[tuple[str, str], Values]
    general: Mapping[str, Values]
    families: Mapping[str, str | None]
    policies: Mapping[str, str | None]
    seed: int

    def without(self, hidden: frozenset[tuple[str, str]]) -> Knowledge:
        """The same without some on_policy evidence, each named by evidence and policy."""
        kept = {key: values for key, values in self.on_policy.items() if key not in hidden}
        return Knowledge(self.use, kept, self.general, self.families, self.policies, self.seed)

    def relatives(self, policy: str) -> list[str]:
        """Other policies of the policy's family with measured gains."""
        family = self.policies.get(policy)
        if family is None:
            return []
        return [
            other
            for name, other in self.on_policy
            if name == MEASURED and other != policy and self.policies.get(other) == family
        ]

    def estimates(self, policy: str) -> Estimates:
        """Of every evidence for the use, the best first."""
        return {evidence: self.estimate(evidence, policy) for evidence in EVIDENCE[self.use]}

    def estimate(self, evidence: str, policy: str) -> Estimate | str:
        """What an evidence says of all base models that have it, or why it says nothing."""
        if evidence in ON_POLICY:
            values = self.on_policy.get((evidence, policy), {})
            return _drawn(values, self.seed) if values else f"no reward model was measured on {policy}"
        if evidence == LINEAGE:
            return self._lineage(policy)
        return self._translated(evidence, policy)

    def _lineage(self, policy: str) -> Estimate | str:
        """Mean measured value of a base model on the other policies of the policy's family, else of its own family.

        Policies on which all families that were measured on one of them were measured count. The error holds the spread
        between policies, so that there is none with fewer than FEWEST_POLICIES, and where its family represents a base
        model that between the base models of the family.
        """
        family = self.policies.get(policy)
        if family is None:
            return f"the family of {policy} is not known"
        others = {other: self.on_policy[MEASURED, other] for other in self.relatives(policy)}
        if not others:
            return f"no reward model was measured on another policy of the family {family}"
        of_family = {other: _by_family(values, self.families) for other, values in others.items()}
        wanted = set().union(*of_family.values())
        whole = {other: found for other, found in of_family.items() if set(found) == wanted}
        if not whole:
            return f"on the policies of the family {family} different families of reward models were measured"
        values = {}
        for name in sorted(self.families):
            own = self.families[name]
            if all(name in others[other] for other in whole):
                values[name] = _pooled([[others[other][name]] for other in whole])
            elif own in wanted:
                values[name] = _pooled([found[own] for found in whole.values()])
        return _drawn(values, self.seed)

    def _translated(self, evidence: str, policy: str) -> Estimate | str:
        """Gains by the line of gains over the evidence within the policies of the family."""
        values = {name: one.value for name, one in self.general.get(evidence, {}).items()}
        if not values:
            return f"no base model has a value of {WORDS[evidence]}"
        family = self.policies.get(policy)
        own = [policy] if (MEASURED, policy) in self.on_policy else []
        cases = [
            (other, name, values[name], one.value)
            for other in (*own, *self.relatives(policy))
            for name, one in sorted(self.on_policy[MEASURED, other].items())
            if name in values
        ]
        n = len({name for _, name, *_ in cases})
        if n < MINIMUM_TO_TRANSLATE:
            where = f"policies of the family {family}" if family is not None else policy
            models = "1 base model" if n == 1 else f"{n} base models"
            return f"gains on {where} are known of {models} with a score, of {MINIMUM_TO_TRANSLATE} needed"
        return _by_line(cases, values, self.seed)


def _drawn(values: Values, seed: int) -> Estimate:
    """Draws of all values: those of shared resamples where each has them, else normal ones.

    Normal draws are apart, which is rather too wide, since the prompts are the same for all.
    """
    names = tuple(sorted(values))
    means, errors, spreads = (
        np.array([getattr(values[name], of) for name in names]) for of in ("value", "error", "spread")
    )
    shared = [draws for name in names if (draws := values[name].draws) is not None]
    generator = np.random.default_rng(seed)
    if len(shared) == len(names) and len({draws.size for draws in shared}) == 1:
        drawn = np.stack(shared, axis=1)
        return Estimate(names, means, drawn + spreads * generator.standard_normal(drawn.shape))
    return Estimate(names, means, means + errors * generator.standard_normal((N_DRAWS, len(names))))


def _by_family(values: Values, families: Mapping[str, str | None]) -> dict[str, list[Value]]:
    found: dict[str, list[Value]] = {}
    for name, value in values.items():
        if (family := families.get(name)) is not None:
            found.setdefault(family, []).append(value)
    return found


def _pooled(by_policy: list[list[Value]]) -> Value:
    """One value for a base model, from those of the same or of others of its family on several policies."""
    means = np.array([np.mean([one.value for one in values]) for values in by_policy])
    if len(means) < FEWEST_POLICIES:
        return Value(float(means.mean()), float("nan"))
    inner = [np.var([one.value for one in values], ddof=1) for values in by_policy if len(values) > 1]
    noise = np.mean([one.error**2 for values in by_policy for one in values])
    error = np.sqrt(means.var(ddof=1) + (np.mean(inner) if inner else 0.0) + noise)
    return Value(float(means.mean()), float(error))


def _by_line(cases: Sequence[tuple[str, str, float, float]], values: Mapping[str, float], seed: int) -> Estimate:
    """Gains of all base models with a value, by least squares within policies, with draws.

    cases: policy, base model, value, gain. A draw resamples the base models of the cases, and adds the error of a base
    model that was left out.
    """
    policies, names = (np.array([case[side] for case in cases]) for side in (0, 1))
    x, y = (np.array([case[side] for case in cases]) for side in (2, 3))
    bases, member = np.unique(names, return_inverse=True)
    targets = tuple(sorted(values))
    at = np.array([values[name] for name in targets])
    without = np.array([member != left for left in range(bases.size)], float)
    level, slope = _lines(policies, x, y, without)[member].T
    residuals = y - (level + slope * x)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(bases.size, np.full(bases.size, 1 / bases.size), size=N_DRAWS)
    lines = _lines(policies, x, y, counts[:, member].astype(float))
    noise = generator.choice(residuals, size=(N_DRAWS, len(targets)))
    ((level, slope),) = _lines(policies, x, y, np.ones((1, len(x))))
    return Estimate(targets, level + slope * at, lines[:, :1] + lines[:, 1:] * at + noise)


def _lines(policies: NDArray[np.str_], x: Floats, y: Floats, weights: Floats) -> Floats:
    """Level and slope of y over x, least squares within policies, for each row of weights (n, cases): (n, 2).

    The level is that of the mean of the policies that have a case with weight.
    """
    products, squares, n_there = np.zeros((3, len(weights)))
    sums = np.zeros((2, len(weights)))
    for policy in np.unique(policies):
        rows = policies == policy
        mine, one, other = weights[:, rows], x[rows], y[rows]
        total = mine.sum(axis=1)
        is_there = total > 0
        mean_x, mean_y = (np.where(is_there, mine @ side / np.where(is_there, total, 1), 0.0) for side in (one, other))
        products += mine @ (one * other) - total * mean_x * mean_y
        squares += mine @ one**2 - total * mean_x**2
        sums += is_there * np.stack([mean_x, mean_y])
        n_there += is_there
    is_there = squares > 1e-9 * np.square(x).max()
    slope = np.where(is_there, products / np.where(is_there, squares, 1.0), 0.0)
    mean_x, mean_y = sums / n_there
    return np.stack([mean_y - slope * mean_x, slope], axis=1)


def recommend_teachers(tables: Tables, limits: Sequence[float | None] = SIZE_LIMITS) -> pl.DataFrame:
    """One row per policy, gold reward, use, objective and size limit that admits a base model: ANSWERS.

    An abstention has no base model, and its reason.
    """
    rows: list[dict[str, object]] = []
    for known, questions, bases in _all_knowledge(tables):
        for policy, key in questions:
            estimates = known.estimates(policy)
            for limit in limits:
                inside = [name for name, size in bases.items() if _fits(name, size, limit)]
                if inside:
                    rows.append(key | {"size_limit_b": limit} | answer(known, policy, estimates, inside))
    return pl.DataFrame(rows, schema=pl.Schema(ANSWERS), orient="row").fill_nan(None)


def _fits(name: str, params_b: float | None, limit: float | None) -> bool:
    return limit is None or (params_b is not None and is_within(name, params_b, limit))


def answer(known: Knowledge, policy: str, estimates: Estimates, names: Sequence[str]) -> dict[str, object]:
    """The base model to take among names, by the first evidence that two of them have, else by one that one has.

    estimates: of the policy, as `Knowledge.estimates` returns them.
    """
    reasons: list[str] = []
    single: tuple[str, Estimate] | None = None
    for evidence, found in estimates.items():
        if isinstance(found, str):
            reasons.append(found)
            continue
        mine = found.of(names)
        if len(mine.names) > 1:
            return _answer(known, evidence, mine, len(names))
        if mine.names and single is None:
            single = evidence, mine
        if not mine.names:
            reasons.append(f"no base model within the limit has evidence of {WORDS[evidence]}")
    if single is not None:
        return _answer(known, *single, len(names))
    return {"n_level": 0, "n_compared": 0, "n_without": len(names), "reason": _abstention(known, policy, reasons)}


def _abstention(known: Knowledge, policy: str, reasons: Sequence[str]) -> str:
    family = known.policies.get(policy)
    if not known.relatives(policy) and not any(key[1] == policy for key in known.on_policy):
        where = f"of the family {family}" if family is not None else "like it: the family of the policy is not known"
        return f"No recommendation: no reward model was measured on {policy} or on another policy {where}."
    return f"No recommendation: {'; '.join(dict.fromkeys(reasons))}."


WORDS: Mapping[str, str] = {
    MEASURED: "measurement on the policy",
    BEST_OF_N: "best of n on the policy",
    ACCURACY: "accuracy on the policy's responses",
    LINEAGE: "measurement on policies of the same family",
    REWARDBENCH: "RewardBench",
    BENCHMARKS: "benchmarks of base models",
}
"""Evidence for readers."""
MEASURES: Mapping[str, Mapping[str, str]] = {
    "rl": {BEST_OF_N: "best_of_n_gain", ACCURACY: "pair_accuracy"},
    "best_of_n": {ACCURACY: "pair_accuracy"},
    "filter_data": dict.fromkeys(EVIDENCE["filter_data"], "pair_accuracy"),
}
"""What `expected` is, by use and evidence, where it is not the gold gain of the use."""


def _answer(known: Knowledge, evidence: str, found: Estimate, n_names: int) -> dict[str, object]:
    first, *others = found.order
    level = [found.names[place] for place in others if found.is_level(place, first)]
    low, high = found.interval(first)
    row: dict[str, object] = {"base_model": found.names[first], "evidence": evidence}
    row |= {"measure": MEASURES[known.use].get(evidence, "gold_gain"), "expected": found.values[first]}
    row |= {"low": low, "high": high, "probability_best": found.chance(first)}
    if others:
        row |= {"runner_up": found.names[others[0]], "runner_up_expected": found.values[others[0]]}
    row |= {"level_with": ", ".join(level) or None, "n_level": len(level), "n_compared": len(found.names)}
    row |= {"n_without": n_names - len(found.names)}
    return row | {"reason": _reason(evidence, found, first, level)}


def _reason(evidence: str, found: Estimate, first: int, level: Sequence[str]) -> str:
    text = f"By {WORDS[evidence]}: {found.names[first]}"
    if len(found.names) == 1:
        return f"{text} is the only base model with this evidence."
    if np.isnan(found.draws).any():
        return f"{text} has the highest value of {len(found.names)}; without intervals they cannot be told apart."
    if not level:
        return f"{text} is clearly ahead of {len(found.names) - 1} others."
    return f"{text} has the highest value, not distinguishable from {len(level)} of {len(found.names) - 1} others."


def regrets(tables: Tables) -> pl.DataFrame:
    """What the answer loses where better evidence on a policy is hidden: REGRETS.

    One row per policy with two or more measured base models and evidence for the use: gains on the policy, and all
    evidence better than `best_evidence`, are hidden; `evidence` is what then answers. regret: the best measured value
    minus that of the base model picked; regret_by_chance: minus the mean, which a blind choice has. The last row hides
    all that was measured on policies of the family, where there has to be an abstention.
    """
    rows: list[dict[str, object]] = []
    for known, questions, _ in _all_knowledge(tables):
        for policy, key in questions:
            truth = {name: one.value for name, one in known.on_policy.get((MEASURED, policy), {}).items()}
            if len(truth) > 1:
                rows += [key | row for row in _regrets(known, policy, truth)]
    return pl.DataFrame(rows, schema=pl.Schema(REGRETS), orient="row").fill_nan(None)


def _regrets(known: Knowledge, policy: str, truth: Mapping[str, float]) -> Iterator[dict[str, object]]:
    order = EVIDENCE[known.use]
    best = min(truth, key=lambda name: (-truth[name], name))
    row: dict[str, object] = {"n_bases": len(truth), "best": best, "best_value": truth[best]}
    row |= {"regret_by_chance": truth[best] - float(np.mean(list(truth.values())))}
    for place, evidence in enumerate(order[1:], start=1):
        left = known.without(frozenset((name, policy) for name in order[:place]))
        if evidence in ON_POLICY and (evidence, policy) not in left.on_policy:
            continue
        found = left.estimate(evidence, policy)
        answered = (
            {"reason": f"No recommendation: {found}."}
            if isinstance(found, str)
            else _picked(evidence, found.of(list(truth)), truth)
        )
        yield row | {"best_evidence": evidence} | answered
    family = frozenset(key for key in known.on_policy if key[1] == policy or key[1] in known.relatives(policy))
    yield row | {"best_evidence": NOTHING} | _nothing(known.without(family), policy, truth)


def _nothing(left: Knowledge, policy: str, truth: Mapping[str, float]) -> dict[str, object]:
    found = answer(left, policy, left.estimates(policy), list(truth))
    picked = found.get("base_model")
    if picked is None:
        return {"reason": found["reason"]}
    regret = max(truth.values()) - truth[str(picked)]
    return {"evidence": found["evidence"], "picked": picked, "picked_value": truth[str(picked)], "regret": regret}


def _picked(evidence: str, found: Estimate, truth: Mapping[str, float]) -> dict[str, object]:
    """What the first of an estimate turned out to be worth."""
    if len(found.names) < 2:
        return {"reason": "No recommendation: fewer than two of the measured base models have this evidence."}
    picked = found.names[found.order[0]]
    regret = max(truth.values()) - truth[picked]
    return {"evidence": evidence, "picked": picked, "picked_value": truth[picked], "regret": regret}


Question = tuple[str, dict[str, object]]
"""A policy, and the columns that name the question."""


def _all_knowledge(tables: Tables) -> Iterator[tuple[Knowledge, list[Question], dict[str, float | None]]]:
    """What is known for every study, gold reward, use and objective, the policies to answer for, and sizes of bases."""
    for (study,), candidates in tables.candidates.sort("study_id").group_by("study_id", maintain_order=True):
        evidence = tables.evidence.filter(study_id=study)
        policies = dict(
            tables.policies.filter(study_id=study).sort("policy_id").select("policy_id", "family").iter_rows()
        )
        golds = evidence["gold_id"].drop_nulls().unique().sort().to_list()
        for gold in golds:
            mine = evidence.filter(pl.col("gold_id").eq_missing(gold) | pl.col("gold_id").is_null())
            for (objective,), bases in candidates.sort("objective", "base_model").group_by(
                "objective", maintain_order=True
            ):
                described = bases.unique("base_model", keep="first", maintain_order=True)
                families = dict(described.select("base_model", "family").iter_rows())
                sizes = dict(described.select("base_model", "params_b").iter_rows())
                for use in EVIDENCE:
                    names = (str(study), str(gold), use, str(objective))
                    on_policy, general = _values(
                        mine.filter(pl.col("use").eq_missing(use) | pl.col("use").is_null()), bases
                    )
                    known = Knowledge(use, on_policy, general, families, policies, seed_of(*names))
                    key = {"study_id": study, "gold_id": gold, "use": use, "objective": objective}
                    yield known, [(policy, key | {"policy_id": policy}) for policy in policies], sizes


def _values(evidence: pl.DataFrame, bases: pl.DataFrame) -> tuple[dict[tuple[str, str], Values], dict[str, Values]]:
    """Evidence by base model: on policies, and in general. Several reward models of a base model count as one.

    Its error holds that of one of them, for they share their prompts, and the spread between them.
    """
    of_reward = bases.filter(pl.col("reward_id").is_not_null()).select("reward_id", "base_model")
    by_reward = evidence.filter(pl.col("reward_id").is_not_null()).drop("base_model").join(of_reward, on="reward_id")
    by_base = evidence.filter(pl.col("reward_id").is_null(), pl.col("base_model").is_in(bases["base_model"].to_list()))
    rows = pl.concat([by_reward.select(sorted(by_base.columns)), by_base.select(sorted(by_base.columns))])
    found = (
        rows.filter(pl.col("value").is_finite())
        .sort("evidence", "policy_id", "base_model", "reward_id")
        .group_by("evidence", "policy_id", "base_model", maintain_order=True)
        .agg("value", "error", "draws")
    )
    on_policy: dict[tuple[str, str], dict[str, Value]] = {}
    general: dict[str, dict[str, Value]] = {}
    for evidence_name, policy, base, values, errors, draws in found.iter_rows():
        key = (evidence_name, policy)
        of_key = general.setdefault(evidence_name, {}) if policy is None else on_policy.setdefault(key, {})
        of_key[base] = _mean_of(values, errors, draws)
    return dict(on_policy), dict(general)


def _mean_of(values: Sequence[float], errors: Sequence[float | None], draws: Sequence[bytes | None]) -> Value:
    """One value of several reward models."""
    known = np.array([np.nan if error is None else error for error in errors])
    spread = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    error = float(np.sqrt(np.mean(known**2) + spread**2))
    drawn = [np.frombuffer(one) for one in draws if one is not None]
    is_whole = len(drawn) == len(values) and len({one.size for one in drawn}) == 1
    return Value(float(np.mean(values)), error, np.mean(drawn, axis=0) if is_whole else None, spread)
