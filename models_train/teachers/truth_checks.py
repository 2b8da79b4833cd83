"""Figures of best of n held against the truth of a lab: rows of fct_lab_truth_checks (definitions, Section 13).

The stored responses to a prompt, each as likely as the others, are a discrete policy whose best of n is known: its
estimate can be compared with drawing, and its distance with the bound that holds for every policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from models_train.selection.item_metrics import Floats
from models_train.selection.item_statistics import LEVEL
from models_train.teachers.arrays import Compared, comparisons
from models_train.teachers.best_of_n import curves, kl_bound
from models_train.teachers.properties import means_and_deviations
from models_train.teachers.resampling import ends, resampled_ratios

DRAWS = 1000
"""Draws that the estimate of a best of n is compared with."""
SIZES = (2, 4, 8, 16)
"""Sizes n whose distance is measured."""
LEAST_FAMILIES = 2
"""Families of policies with reward models of their own, without which lineage is no contrast."""
SCHEMA: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(("study_id", "check_name", "cell", "score_kind", "model_id", "statistic"), pl.String),
    **dict.fromkeys(("value", "low", "high", "baseline"), pl.Float64),
    "baseline_name": pl.String,
    "n": pl.Int64,
}
"""Columns of `truth_checks`."""
Row = dict[str, Any]


def truth_checks(
    cells: pl.DataFrame, arrays: pl.DataFrame, golds: pl.DataFrame, lineages: pl.DataFrame, resamples: int
) -> pl.DataFrame:
    """Rows of every study whose gold reward is its truth. cells, arrays, golds: those of `comparisons`.

    lineages: study_id, gold_id, policy_id, reward_id, family, policy_family, of reward models.
    """
    rows: list[Row] = []
    by_gold: dict[tuple[str, str, str], list[Compared]] = {}
    for one in comparisons(cells, arrays, golds):
        full = one.with_full_pools
        if not full.reward_ids or full.n_pool < 2:
            continue
        rows += [*draw_rows(full), *distance_rows(full)]
        by_gold.setdefault((one.study_id, one.gold_id, one.prompt_set), []).append(full)
    for (study_id, gold_id, _), found in by_gold.items():
        rows += lineage_rows(found, lineages.filter(study_id=study_id, gold_id=gold_id), resamples)
    return pl.DataFrame(rows, schema=pl.Schema(SCHEMA), orient="row").fill_nan(None)


def largest_size(n_pool: int) -> int:
    """The largest of SIZES for which the pool has twice as many responses; 1 where there is none."""
    return max((n for n in SIZES if 2 * n <= n_pool), default=1)


def drawn_golds(rewards: Floats, gold: Floats, n: int, generator: np.random.Generator) -> Floats:
    """(DRAWS,) gold reward of the best of n responses to a prompt, prompt, responses and winner of a tie by chance.

    rewards, gold: (prompts, responses) without gaps. No response is drawn twice for a best of n.
    """
    prompts = generator.integers(len(rewards), size=DRAWS)
    drawn = generator.random((DRAWS, rewards.shape[1])).argsort(axis=1)[:, :n]
    best = np.take_along_axis(rewards[prompts], drawn, axis=1).argmax(axis=1)
    return np.asarray(gold[prompts, drawn[np.arange(DRAWS), best]])


def draw_rows(one: Compared) -> Iterator[Row]:
    """The estimate of the best of n by every reward, beside the mean of DRAWS draws with its interval."""
    n = largest_size(one.n_pool)
    if n == 1:
        return
    rewards, gold = _dense(one)
    estimates = curves(one.rewards, one.gold, [n]).gold[..., -1].mean(axis=1)
    generator = np.random.default_rng(one.seed)
    for place, reward_id in enumerate(one.reward_ids):
        drawn = drawn_golds(rewards[place], gold, n, generator)
        half = stats.norm.ppf((1 + LEVEL) / 2) * drawn.std(ddof=1) / np.sqrt(DRAWS)
        yield _row(one, "best_of_n_draws", f"best of {n}", "gold") | {
            "cell": reward_id,
            "value": float(estimates[place]),
            "low": float(drawn.mean() - half),
            "high": float(drawn.mean() + half),
            "baseline": float(drawn.mean()),
            "baseline_name": "draws",
            "n": DRAWS,
        }


def measured_kl(rewards: Floats, n: int) -> Floats:
    """(...) KL divergence, in nats, of the best of n draws with replacement from the policy that draws one of the
    responses, each as likely; those of equal reward share. rewards: (..., responses)."""
    size = rewards.shape[-1]
    up_to = (rewards[..., None] >= rewards[..., None, :]).sum(axis=-1)
    below = (rewards[..., None] > rewards[..., None, :]).sum(axis=-1)
    chance = ((up_to / size) ** n - (below / size) ** n) / (up_to - below)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(chance > 0, chance * np.log(chance * size), 0.0)
    return np.asarray(terms.sum(axis=-1))


def distance_rows(one: Compared) -> Iterator[Row]:
    """The mean and the largest distance of best of n over rewards and prompts, beside the bound."""
    rewards, _ = _dense(one)
    for n in (size for size in SIZES if size <= one.n_pool):
        found = measured_kl(rewards, n)
        for statistic, value in (("kl_mean", found.mean()), ("kl_largest", found.max())):
            yield _row(one, "best_of_n_distance", f"best of {n}", statistic) | {
                "value": float(value),
                "baseline": float(kl_bound(n)),
                "baseline_name": "kl_bound",
                "n": found.size,
            }


@dataclass(frozen=True)
class _Cell:
    """Gains of reward models of one family on policies of another: (1 + resamples,), column 0 the sample."""

    gains: Floats
    n_rewards: int
    n_prompts: int


def lineage_rows(policies: Sequence[Compared], lineages: pl.DataFrame, resamples: int) -> list[Row]:
    """Gold gains of best of n by the lineage of policy and reward model, over the families that have both.

    The contrast is the mean gain on policies of the own family less that on others, after the mean of each family of
    reward models and that of each family of policies are taken off: a good reward model or an easy policy is no
    lineage. Intervals: prompts are resampled, the same for all policies; the reward models are those that there are.
    """
    cells = _lineage_cells(policies, lineages, resamples)
    teaching, taught = ({key[side] for key in cells} for side in (0, 1))
    families = sorted(one for one in teaching & taught if all((one, other) in cells for other in teaching & taught))
    n = largest_size(policies[0].n_pool)
    if len(families) < LEAST_FAMILIES or n == 1:
        return []
    grid = np.stack([[cells[one, other].gains for other in families] for one in families])
    centred = grid - grid.mean(axis=0) - grid.mean(axis=1, keepdims=True) + grid.mean(axis=(0, 1))
    own = np.eye(len(families), dtype=bool)
    contrast = centred[own].mean(axis=0) - centred[~own].mean(axis=0)
    named = {f"{one} on {other}": cells[one, other] for one in families for other in families}
    figures = [(name, "gold_gain_sd", cell.gains, cell.n_rewards) for name, cell in named.items()]
    n_rewards = sum(cells[one, one].n_rewards for one in families)
    n_prompts = min(cell.n_prompts for cell in named.values())
    rows = []
    for name, statistic, values, n_behind in [*figures, (None, "own_lineage_gain", contrast, n_rewards)]:
        low, high = ends(values, n_prompts)
        row = _row(policies[0], "lineage", f"best of {n}", statistic) | {"model_id": None, "cell": name}
        chance = {"baseline": 0.0, "baseline_name": "no_gain"} if name is None else {}
        rows.append(row | chance | {"value": float(values[0]), "low": float(low), "high": float(high), "n": n_behind})
    return rows


def _lineage_cells(
    policies: Sequence[Compared], lineages: pl.DataFrame, resamples: int
) -> dict[tuple[str, str], _Cell]:
    """By family of reward models and of policies: the mean gain of both, in standard deviations of the gold."""
    gathered: dict[tuple[str, str], list[Floats]] = {}
    n_rewards: dict[tuple[str, str], int] = {}
    for one in policies:
        n = largest_size(one.n_pool)
        counts = one.counts(resamples)
        (deviation,) = means_and_deviations(one.gold[None])[1]
        gains = curves(one.rewards, one.gold, [n]).gains("gold")[..., -1] / deviation
        mine = lineages.filter(policy_id=one.policy_id).drop_nulls(["family", "policy_family"])
        for (family, policy_family), frame in mine.group_by("family", "policy_family"):
            places = [one.reward_ids.index(name) for name in frame["reward_id"] if name in one.reward_ids]
            if places and n > 1 and deviation > 0:
                mean = gains[places].mean(axis=0)
                key = str(family), str(policy_family)
                gathered.setdefault(key, []).append(resampled_ratios(mean[None], np.ones(len(mean)), counts)[0])
                n_rewards[key] = len(places)
    n_prompts = min(one.n_prompts for one in policies)
    return {key: _Cell(np.mean(found, axis=0), n_rewards[key], n_prompts) for key, found in gathered.items()}


def _dense(one: Compared) -> tuple[Floats, Floats]:
    """Rewards and gold of full pools without gaps: (rewards, prompts, n_pool) and (prompts, n_pool)."""
    cells = np.argsort(np.isnan(one.gold), axis=1, kind="stable")[:, : one.n_pool]
    return np.take_along_axis(one.rewards, cells[None], axis=2), np.take_along_axis(one.gold, cells, axis=1)


def _row(one: Compared, check_name: str, score_kind: str, statistic: str) -> Row:
    row: Row = dict.fromkeys(SCHEMA)
    row |= {"study_id": one.study_id, "model_id": one.policy_id, "check_name": check_name}
    return row | {"score_kind": score_kind, "statistic": statistic}
