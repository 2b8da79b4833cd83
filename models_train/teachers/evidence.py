"""Evidence on the responses of a policy: best of n and accuracy for `recommendation`, and errors that bases share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from models_train.selection.ensemble_partners import Errors, partners
from models_train.selection.item_metrics import Floats
from models_train.teachers.arrays import Compared
from models_train.teachers.best_of_n import curves
from models_train.teachers.properties import pair_signs, pair_sums, resampled_variances
from models_train.teachers.recommendation import ACCURACY, BEST_OF_N, MEASURED
from models_train.teachers.resampling import MIN_PROMPTS, ratios, resampled_ratios
from models_train.teachers.tables import Row, Schema

POLICY_EVIDENCE: Schema = {
    **dict.fromkeys(("study_id", "policy_id", "prompt_set", "gold_id", "use", "evidence", "reward_id"), pl.String),
    "n": pl.Int64,
    "n_prompts": pl.Int64,
    **dict.fromkeys(("value", "error"), pl.Float64),
    "draws": pl.Binary,
}
"""Columns of `policy_evidence`. n: of best of n, else null. error, draws: null with fewer than MIN_PROMPTS prompts."""


def policy_evidence(every: Compared, resamples: int, best_of: Sequence[int]) -> list[Row]:
    """One row per reward, use and evidence: the gold gain of best of n, and the share of pairs in the gold's order.

    The gain is in standard deviations of the gold reward over all responses, as gains of trained policies are. A pair
    of equal reward counts half. best_of: sizes n; the largest counts for which there are twice as many responses. The
    resamples of prompts are the same for all rewards.
    """
    rows: list[Row] = []
    if every.reward_ids:
        pairs = pair_sums(every.rewards, every.gold)
        values, weights = pairs.accuracies["on_policy_accuracy_half"]
        if weights.sum() > 0:
            drawn = resampled_ratios(values, weights, every.counts(resamples))
            uses = (("rl", ACCURACY), ("best_of_n", ACCURACY), ("filter_data", MEASURED))
            rows += _rows(every, drawn, None, uses)
    one = every.with_full_pools
    sizes = [n for n in best_of if 1 < n <= one.n_pool / 2]
    if one.reward_ids and one.n_prompts and sizes:
        n = max(sizes)
        gains = curves(one.rewards, one.gold, [1, n]).gains("gold")[..., -1]
        counts = one.counts(resamples)
        deviation = np.sqrt(resampled_variances(one.gold[None], counts)["total"])
        drawn = ratios(resampled_ratios(gains, np.ones(one.n_prompts), counts), deviation)
        if np.isfinite(drawn[:, 0]).all():
            rows += _rows(one, drawn, n, (("rl", BEST_OF_N), ("best_of_n", MEASURED)))
    return rows


def _rows(one: Compared, resampled: Floats, n: int | None, uses: Sequence[tuple[str, str]]) -> list[Row]:
    """resampled: (rewards, 1 + resamples), the sample first."""
    rows = []
    enough = one.n_prompts >= MIN_PROMPTS and resampled.shape[1] > 2
    for reward_id, values in zip(one.reward_ids, resampled, strict=True):
        draws = values[1:]
        is_known = enough and bool(np.isfinite(draws).all())
        own = one.key | {"reward_id": reward_id, "n": n, "n_prompts": one.n_prompts, "value": float(values[0])}
        own |= {"error": float(draws.std(ddof=1)), "draws": draws.tobytes()} if is_known else {}
        rows += [own | {"use": use, "evidence": evidence} for use, evidence in uses if reward_id != one.gold_id]
    return rows


def response_partners(one: Compared, sources: pl.DataFrame, resamples: int) -> list[Row]:
    """`partners` on a policy: an error is a pair of responses that the reward does not order as the gold reward does.

    Pairs of equal gold reward are none.
    """
    if len(one.reward_ids) < 2:
        return []
    first, second = np.triu_indices(one.gold.shape[1], 1)
    true = pair_signs(one.gold, first, second)
    is_pair = true != 0
    wrong = np.stack([(pair_signs(rewards, first, second) != true) & is_pair for rewards in one.rewards])
    n_pairs = np.repeat(is_pair.sum(axis=1, keepdims=True).astype(float), len(one.reward_ids), axis=1)
    errors = Errors(one.study_id, one.policy_id, one.reward_ids, wrong, n_pairs, one.counts(resamples), one.gold_id)
    others = sources.filter(pl.col("reward_id") != one.gold_id)
    return partners(errors, others).to_dicts()
