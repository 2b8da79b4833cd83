"""Names of database values and formats of numbers, as the report and the commands show them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from warehouse.contracts.leads import LEAD_REACH

OBJECTIVES = {"regression": "Regression", "bradley_terry": "Bradley-Terry"}
OBJECTIVE_EXPLANATIONS = {
    "regression": "learns five graded attributes per answer (HelpSteer2)",
    "bradley_terry": "learns which of two answers is preferred (HelpSteer2-Preference)",
}
TARGETS = {
    "score": "Score",
    "chat": "Chat",
    "chat_hard": "Chat Hard",
    "safety": "Safety",
    "reasoning": "Reasoning",
}
FEATURES = {
    "log10_params": "size, log10 parameters",
    "params_b": "parameters, billions",
    "tokens_t": "pre-training tokens, trillions",
}
STAGES = {
    "base": "base",
    "sft": "supervised fine-tuning",
    "dpo": "DPO preference tuning",
    "rlvr": "RL with verifiable rewards",
    "instruct": "instruct model",
}
PREDICTORS = {
    "elastic_net": "elastic net",
    "elastic_net_with_mix": "elastic net with mix",
    "mean": "mean, no feature",
    "log10_params": "size alone",
    "params_and_tokens": "size and tokens",
    "best_single_benchmark": "best single benchmark",
    "family_size": "size and family effect",
    "pc_ridge": "ridge on components",
    "sigmoid_link": "sigmoid link",
    "average": "average of the predictors",
    "average_without_shrinkage": "average without shrinkage",
    "selected": "nested selection",
}
SCORE_KINDS = {
    "presence_score": "presence score",
    "bits_per_byte": "bits per byte",
    "min_k": "Min-K%",
    "min_k_plus_plus": "Min-K%++",
    "centred_presence_score": "centred presence score",
    "centred_bits_per_byte": "centred bits per byte",
}
REWARD_BENCHMARKS = {
    "rewardbench": "RewardBench",
    "rewardbench2": "RewardBench 2",
    "rewardmath": "RewardMATH",
    "rm_bench": "RM-Bench",
    "judgebench": "JudgeBench",
}
USES = {"rl": "reinforcement learning", "best_of_n": "best of n", "filter_data": "filtering of data"}
"""Uses of a reward model with a policy."""
MEASURES = {
    "gold_gain": "gold gain",
    "best_of_n_gain": "gold gain of best of n",
    "pair_accuracy": "accuracy on pairs",
}
"""What a recommendation for a policy expects."""
EVIDENCE = {
    "measured": "measured on the policy",
    "best_of_n": "best of n on the policy",
    "on_policy_accuracy": "accuracy on the policy's responses",
    "lineage": "measured on policies of the same family",
    "rewardbench": "RewardBench",
    "base_benchmarks": "benchmarks of base models",
    "nothing of the family": "nothing of the policy's family",
}
BASELINES = ("mean", "log10_params", "params_and_tokens")
PROTOCOLS = {
    "paper_in_sample": "in-sample",
    "paper_10_fold": "ten folds",
    "leave_publisher_out": "publisher left out",
}
BASES = {"observed": "measured", "predicted": "predicted"}
MINUS = "−"


def slug(text: str) -> str:
    """text as a part of a file name or an HTML id: a-z, 0-9 and underscores, at most 40 characters."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40] or "study"


def _named(names: dict[str, str]) -> Callable[[str], str]:
    """The function from a database value to its name; a value without a name is shown as stored."""
    return lambda value: names.get(value, value)


objective = _named(OBJECTIVES)
target = _named(TARGETS)
feature = _named(FEATURES)
predictor = _named(PREDICTORS)
reward_benchmark = _named(REWARD_BENCHMARKS)
score_kind = _named(SCORE_KINDS)
protocol = _named(PROTOCOLS)
stage = _named(STAGES)
basis = _named(BASES)


def term(name: str) -> str:
    """A term of the performance model: a feature, or a product of features as scikit-learn writes it."""
    return feature(name).replace("^2", "²").replace("^3", "³")


def size_group(name: str) -> str:
    """`<3`, `>=3 and <6`, `>=6` as a phrase, in billions of parameters; any other name as it is."""
    return _size_group(
        name,
        "Under {} billion parameters",
        "{} to under {} billion parameters",
        "{} billion parameters or more",
    )


def short_size_group(name: str) -> str:
    """The same for an axis: '<3 B', '3–6 B', '≥6 B'."""
    return _size_group(name, "<{} B", "{}–{} B", "≥{} B")


def _size_group(name: str, under: str, between: str, over: str) -> str:
    for pattern, text in (
        (r"<([\d.]+)", under),
        (r">=([\d.]+) and <([\d.]+)", between),
        (r">=([\d.]+)", over),
    ):
        if match := re.fullmatch(pattern, name):
            return text.format(*match.groups())
    return name


def number(value: float | None, digits: int = 1, *, signed: bool = False, missing: str = "–") -> str:
    """A number with a true minus sign; a value that rounds to zero has no sign."""
    if value is None or value != value:
        return missing
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    sign = MINUS if value < 0 else "+" if signed else ""
    return sign + text


def size_limit(limit_b: float | None) -> str:
    """'≤ 8 B', 'no limit'."""
    return "no limit" if limit_b is None else f"≤\u00a0{limit_b:g}\u00a0B"


def interval(low: float | None, high: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """'1.7 to 3.0'; 'up to 3.0' or 'from 1.7' where the data do not bound an end; empty if there is no interval."""
    if low is None and high is None:
        return ""
    if low is None:
        return f"up to {number(high, digits, signed=signed)}"
    if high is None:
        return f"from {number(low, digits, signed=signed)}"
    return f"{number(low, digits, signed=signed)} to {number(high, digits, signed=signed)}"


def percent(share: float | None, missing: str = "–") -> str:
    """A share of 0 to 1 as a whole percentage; a share under one that would round up stays under 100 %."""
    if share is None or share != share:
        return missing
    if 0 < share < 0.005:
        return "<\u00a01\u00a0%"
    if 0.995 <= share < 1:
        return ">\u00a099\u00a0%"
    return f"{math.floor(100 * share + 0.5)}\u00a0%"


def capital(text: str) -> str:
    """text with a capital first letter."""
    return f"{text[:1].upper()}{text[1:]}"


def sentence(text: str) -> str:
    """text from data with a capital first letter and one full stop at its end."""
    text = text.strip().rstrip(".")
    return f"{capital(text)}." if text else ""


def change(points: float | None, percent: float | None) -> str:
    """A change in both units: '+4.9 points (+5.9 %)'."""
    return f"{number(points, signed=True)} points ({number(percent, signed=True)}\u00a0%)"


MOST_NAMED = 6
"""Most reward models that a sentence names."""


def listing(items: list[str], limit: int = 40) -> str:
    """Items as an English list: 'a', 'a and b', 'a, b and c'; beyond limit the rest is counted."""
    if len(items) > limit:
        items = [*items[:limit], f"{len(items) - limit} more"]
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """'1 model', '3 models'."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def confidence(row: dict[str, Any]) -> tuple[str, str]:
    """Whether the best model of a size group is clearly the best: (`clear` | `likely` | `open` | `alone`, sentence).

    row: of fct_size_group_winners. The lead over the runner-up is compared with its standard error over test pairs and
    training runs: from 1.96 errors on it is clear, from 1 on likely, below that open.
    """
    if row["runner_up"] is None:
        return "alone", "It is the only model of its size group here, so there is nothing to compare it with."
    gap, error = row["gap_points"], row["gap_error_with_runs"]
    if not error:
        return "open", f"Runner-up {row['runner_up']} is {number(gap)} points behind; no standard error is known."
    ratio = gap / error
    behind = (
        f"Runner-up {row['runner_up']} is {number(gap)} points behind, {number(ratio)} standard errors "
        f"of that difference ({number(error, 2)}, training runs included)"
    )
    close = f" ({row['n_close']} models of the group are within 1.96 errors of the best)" if row["n_close"] > 1 else ""
    if ratio >= LEAD_REACH:
        return "clear", f"{behind}: more than test questions and training runs explain."
    if ratio >= 1:
        return "likely", f"{behind}: probably better, but not distinguishable{close}."
    return "open", f"{behind}: not distinguishable; take either{close}."


def best_reward(rows: list[dict[str, Any]]) -> tuple[str, str, list[str]]:
    """(reward model, its figure with interval and items, remarks on what can be told); figure '' where none has one.

    rows: of queries.reward_scores of one benchmark, best first.
    """
    best, *others = rows
    if best["value"] is None:
        return best["reward_id"], "", [f"no figure: {best['status']}"]
    ends = "no interval" if best["low"] is None else interval(best["low"], best["high"])
    figure = f"{number(best['value'])} ({ends}), {plural(best['n'], 'item')}"
    if not others:
        return best["reward_id"], figure, ["the only reward model"]
    if not best["n_compared"]:
        return best["reward_id"], figure, ["compared with no other on the same items"]
    remarks = [f"clearly better than {best['n_worse']} of {plural(best['n_compared'], 'other')}"]
    level = [row for row in others if row["best_place"] == 1 and row["value"] is not None]
    if named := [f"{row['reward_id']} {number(row['value'])}" for row in level]:
        remarks.append(f"not distinguishable from the best: {listing(named, MOST_NAMED)}")
    return best["reward_id"], figure, remarks


def with_error(points: float | None, error: float | None) -> str:
    """A change with its standard error: '−2.6 ± 1.1'; without one where it is not known."""
    text = number(points, signed=True)
    return text if error is None else f"{text} ± {number(error)}"


def near_chance_defaults(rows: list[dict[str, Any]], basis: ScoreBasis) -> str:
    """Sentences on the defaults near chance, or nothing; rows: of queries.near_chance_defaults."""
    if not rows:
        return ""
    texts = [
        f"{row['model_id']} by {objective(row['objective'])} ({number(row['score'])}; median of its size group "
        f"{number(row['group_median_score'])})"
        for row in rows
    ]
    return f"{capital(basis.by_chance)}. Near chance, so that a gain over it says little: {listing(texts)}."


NOISE_BASES = {
    "twins": "an estimate from near-twins among the published reward models",
    "seeds": "measured over several seeds",
}


CATEGORIES = ("chat", "chat_hard", "safety", "reasoning")
"""Categories of RewardBench; the score of a reward model is their mean (definitions, Section 1)."""
PARTS = {
    "rewardbench": (4, "the four RewardBench categories", "category", "categories"),
    "rewardbench2": (6, "the six subsets of RewardBench 2", "subset", "subsets"),
    "rm_bench": (4, "the four domains of RM-Bench", "domain", "domains"),
}
"""Benchmarks whose figure is the mean of parts: how many there are, all of them, one, several."""


@dataclass(frozen=True)
class ScoreBasis:
    """What the scores of a study are: a benchmark, those of its parts that have items, and chance in percent."""

    benchmark: str = "rewardbench"
    parts: tuple[str, ...] = ()
    chance: float | None = 50

    @property
    def is_whole(self) -> bool:
        """Whether no part of the benchmark is missing; True where nothing is scored yet."""
        return self.benchmark not in PARTS or len(self.parts) in (0, PARTS[self.benchmark][0])

    @property
    def text(self) -> str:
        """'mean of the four RewardBench categories', or of those that have items, or what another benchmark counts."""
        name = reward_benchmark(self.benchmark)
        if self.benchmark not in PARTS:
            return f"share of the items of {name} whose right answer has the highest reward"
        _, whole, one, several = PARTS[self.benchmark]
        if self.is_whole:
            return f"mean of {whole}"
        names = listing([target(part) for part in self.parts])
        if len(self.parts) == 1:
            return f"figure of {name}'s {one} {names}, the only one with test items here"
        return f"mean of {name}'s {several} {names}, the only ones with test items here"

    @property
    def by_chance(self) -> str:
        """'a coin has 50', 'a choice at random has 25', or 'chance is not known'."""
        if self.chance is None:
            return "chance is not known"
        return "a coin has 50" if self.chance == 50 else f"a choice at random has {number(self.chance, 0)}"


def run_noise(rows: list[dict[str, Any]]) -> str:
    """'0.7 points by regression, 1.4 by Bradley-Terry (an estimate from ...)'; rows: of queries.run_noise."""
    texts = [f"{number(row['run_deviation'])} points by {objective(row['objective'])}" for row in rows]
    bases = list(dict.fromkeys(NOISE_BASES.get(row["run_noise_basis"], row["run_noise_basis"]) for row in rows))
    return f"{listing(texts)} ({listing(bases)})"
