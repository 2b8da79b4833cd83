"""Two reward models on the same pairs: the sign-flip test of their weighted difference (definitions, Section 1)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REWARD_MODELS = ("study_id", "objective", "model_id", "other_objective", "other_model_id")
SCORE = "score"
COUNTS = ("n_both", "n_only_model", "n_only_other", "n_neither")

SCHEMA: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys((*REWARD_MODELS, "category"), pl.String),
    "sign_flip_p": pl.Float64,
}


def flipped_differences(n_decided: NDArray[np.int64], n_pairs: NDArray[np.int64], flips: int, seed: int) -> Floats:
    """Differences of accuracy per draw and subset under the null, shape (flips, n_subsets), -1 to 1.

    n_decided: pairs of each subset that exactly one of the two wins, (n_subsets,). Under the null either of the two is
    as likely to be the winner of such a pair, so those that the first wins are a binomial draw.
    """
    generator = np.random.default_rng(seed)
    won = generator.binomial(n_decided, 0.5, size=(flips, len(n_decided)))
    return np.asarray((2 * won - n_decided) / n_pairs)


def sign_flip_p(observed: float, drawn: Floats) -> float:
    """Two-sided p: share of draws, the observed difference among them, that are as far from 0. drawn: (flips,)."""
    as_far = np.abs(drawn) >= abs(observed) - 1e-9
    return float((1 + as_far.sum()) / (1 + len(drawn)))


def sign_flip_tests(counts: pl.DataFrame, *, flips: int) -> pl.DataFrame:
    """One row per comparison and category that has pairs, and one for the score where all of the study have.

    counts: one row per comparison and subset, with category, weight, and how many of the pairs are won by both reward
    models, by one only, by the other only, by neither. The hypothesis is that of the weighted difference: its sign is
    that of a coin in every pair. The seed comes from the names: equal counts give equal p.
    """
    rows: list[tuple[object, ...]] = []
    categories = {study: sorted(set(part["category"])) for (study,), part in counts.group_by("study_id")}
    for key, part in counts.sort(*REWARD_MODELS, "subset").group_by(REWARD_MODELS, maintain_order=True):
        seed = zlib.crc32("/".join(map(str, key)).encode())
        rows += ((*key, category, p) for category, p in _tests(part, categories[key[0]], flips, seed))
    return pl.DataFrame(rows, schema=pl.Schema(SCHEMA), orient="row")


def _tests(part: pl.DataFrame, categories: Sequence[str], flips: int, seed: int) -> Iterator[tuple[str, float]]:
    only_model, only_other = part["n_only_model"].to_numpy(), part["n_only_other"].to_numpy()
    n_pairs = part.select(pl.sum_horizontal(COUNTS)).to_series().to_numpy()
    drawn = flipped_differences(only_model + only_other, n_pairs, flips, seed)
    observed = (only_model - only_other) / n_pairs
    found: list[tuple[float, Floats]] = []
    for category in categories:
        chosen = (part["category"] == category).to_numpy()
        if chosen.any():
            weights = part["weight"].to_numpy()[chosen]
            shares = weights / weights.sum()
            found.append((float(observed[chosen] @ shares), drawn[:, chosen] @ shares))
            yield category, sign_flip_p(*found[-1])
    if len(found) == len(categories):
        differences, draws = zip(*found, strict=True)
        yield SCORE, sign_flip_p(float(np.mean(differences)), np.mean(draws, axis=0))
