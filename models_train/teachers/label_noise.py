"""How many labels of preferences are wrong, from margins of reward models that were not trained on them (definitions,
Section 17).

Cross-fitted margins m, chosen less rejected, obey P(label) = e + (1 - 2e) sigmoid(a m): a label is as the reward model
says it with the log-odds a m, and then turned round with the chance e. The slope a is the calibration of the margins
(1 / temperature); e is the disagreement that is left where the margins are largest, so that what the reward models do
not know is not counted as noise. Both are fitted by maximum likelihood (Copas 1988, "Binary regression models for
contaminated data", J. R. Stat. Soc. B 50) on a grid, which every resample of prompts shares.

Noise that is found only where both responses are about equally good is not told apart from what the reward models do
not know: e counts the labels that are wrong whatever the margin, and is a lower bound then. mean(1 - p) by plain
calibration (e = 0) counts both, and is an upper bound for reward models whose margins are calibrated. A tie, whose
label is a coin, has a margin near 0, where the likelihood does not depend on e.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.special import expit

from models_train.selection.item_metrics import Floats
from models_train.selection.item_statistics import Counts, seed_of
from models_train.teachers.resampling import FEW_PROMPTS, MIN_PROMPTS, ends, prompt_counts, ratios

NOISES = np.linspace(0, 0.49, 50)
"""Shares of wrong labels that are tried: steps of 0.01."""
SLOPES = np.geomspace(0.05, 60, 48)
"""Slopes that are tried, of margins divided by their root mean square. Between the points of the grid the likelihood is
taken for a parabola."""
MOST_BINS = 256
"""Margins of larger data are rounded to as many quantiles."""
BLOCK = 128
"""Resamples at a time."""
NOTHING_KNOWN = "the reward models of other folds win no more labels than chance: nothing is known of the noise"
NO_MARGINS = "no estimate"


@dataclass(frozen=True)
class NoiseFit:
    """noise: share of wrong labels; slope: of the margins; expected: mean of 1 - p by the slope of plain calibration;
    each for the sample and every resample, (1 + resamples,)."""

    noise: Floats
    slope: Floats
    expected: Floats

    def p_labels(self, margins: ArrayLike) -> Floats:
        """Probability of labels with these margins, by the sample's fit."""
        known = expit(self.slope[0] * np.asarray(margins, float))
        return np.asarray(self.noise[0] + (1 - 2 * self.noise[0]) * known)


def fit_noise(margins: ArrayLike, counts: Counts | None = None) -> NoiseFit:
    """Fit noise and slope. margins: (pairs,). counts: how often each pair is in the sample and in every resample,
    (1 + resamples, pairs); None for the sample alone. Raises ValueError for no margins."""
    values = np.asarray(margins, float)
    if not values.size:
        raise ValueError("there are no margins to fit")
    weights = np.ones((1, values.size)) if counts is None else counts
    scale = float(np.sqrt(np.mean(values**2))) or 1.0
    middles, places = _binned(values / scale)
    known = expit(np.multiply.outer(middles, SLOPES))  # (bins, slopes)
    grid = np.log(np.maximum(NOISES + (1 - 2 * NOISES) * known[..., None], 1e-300))  # (bins, slopes, noises)
    flat = grid.reshape(len(middles), -1)
    fits = []
    for start in range(0, len(weights), BLOCK):
        rows = weights[start : start + BLOCK]
        of_bins: Floats = np.stack([np.bincount(places, row, len(middles)) for row in rows]).astype(float)
        likelihoods = (of_bins @ flat).reshape(len(rows), len(SLOPES), len(NOISES))
        fits.append(_highest(likelihoods, of_bins, known))
    noise, slope, expected = (np.concatenate(parts) for parts in zip(*fits, strict=True))
    return NoiseFit(noise, slope / scale, expected)


def _binned(values: Floats) -> tuple[Floats, np.ndarray]:
    """Distinct values, or means of quantile bins, and the bin of each value."""
    distinct, places = np.unique(values, return_inverse=True)
    if distinct.size <= MOST_BINS:
        return distinct, places
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    bins = ranks * MOST_BINS // values.size
    return np.bincount(bins, values) / np.bincount(bins), bins


def _highest(likelihoods: Floats, of_bins: Floats, known: Floats) -> tuple[Floats, Floats, Floats]:
    """Noise, slope and expected noise of the highest likelihood of each resample: (resamples, slopes, noises)."""
    rows = np.arange(len(likelihoods))
    profile, places = _peaks(np.moveaxis(likelihoods, 1, 2))
    _, noise_places = _peaks(profile)
    nearest = np.rint(noise_places).astype(int)
    noise = np.interp(noise_places, np.arange(len(NOISES)), NOISES)
    slope = np.exp(np.interp(places[rows, nearest], np.arange(len(SLOPES)), np.log(SLOPES)))
    plain = likelihoods[:, :, 0].argmax(axis=1)  # without noise: plain calibration
    sums = (of_bins * known[:, plain].T).sum(axis=1)
    return noise, slope, 1 - sums / of_bins.sum(axis=1)


def _peaks(values: Floats) -> tuple[Floats, Floats]:
    """Height and place of the highest of the last axis, by the parabola through it and its neighbours."""
    best = values.argmax(axis=-1, keepdims=True)
    inner = np.clip(best, 1, values.shape[-1] - 2)
    low, middle, high = (np.take_along_axis(values, inner + step, axis=-1)[..., 0] for step in (-1, 0, 1))
    bend = low - 2 * middle + high
    is_inner = (inner == best)[..., 0] & (bend < 0)
    shift = np.divide(low - high, 2 * bend, out=np.zeros_like(bend), where=is_inner)
    heights = np.where(is_inner, middle - (low - high) * shift / 4, np.take_along_axis(values, best, axis=-1)[..., 0])
    return heights, best[..., 0] + shift


SCHEMA = {
    **dict.fromkeys(("study_id", "data_id"), pl.String),
    **dict.fromkeys(("n_pairs", "n_prompts"), pl.Int64),
    **dict.fromkeys(
        [f"{name}{end}" for name in ("noise", "expected_noise", "share_lost") for end in ("", "_low", "_high")],
        pl.Float64,
    ),
    "slope": pl.Float64,
    "status": pl.String,
}
"""Columns of `data_noise`."""


def data_noise(labels: pl.DataFrame, resamples: int) -> pl.DataFrame:
    """One row per study and data that have margins: share of wrong labels, with intervals over prompts.

    labels: study_id, data_id, prompt_id, cross_fitted_margin of the training pairs that are kept and judged.
    """
    rows = []
    for (study_id, data_id), frame in sorted(labels.group_by("study_id", "data_id")):
        prompts = frame["prompt_id"].rank("dense").to_numpy().astype(np.int64) - 1
        margins, n = frame["cross_fitted_margin"].to_numpy(), int(prompts.max()) + 1
        counts = prompt_counts(n, resamples, seed_of(str(study_id), str(data_id)))[:, prompts]
        fit = fit_noise(margins, counts)
        lost = np.where(margins == 0, 0.5, margins < 0)
        share_lost = ratios(counts @ lost, counts.sum(axis=1))
        row = {"study_id": study_id, "data_id": data_id, "n_pairs": frame.height, "n_prompts": n}
        named = (("noise", fit.noise), ("expected_noise", fit.expected), ("share_lost", share_lost))
        intervals = {name: ends(values, n) for name, values in named}
        # Where labels are won by chance alone the likelihood does not depend on the noise.
        is_known = n < MIN_PROMPTS or float(intervals["share_lost"][1]) < 0.5
        for name, values in named:
            low, high = intervals[name]
            has_value = is_known or name == "share_lost"
            row |= {name: float(values[0]) if has_value else None}
            row |= {
                f"{name}_low": float(low) if has_value else None,
                f"{name}_high": float(high) if has_value else None,
            }
        status = NOTHING_KNOWN if not is_known else FEW_PROMPTS if n < MIN_PROMPTS else "ok"
        rows.append(row | {"slope": float(fit.slope[0]) if is_known else None, "status": status})
    return pl.DataFrame(rows, schema=pl.Schema(SCHEMA), orient="row").fill_nan(None)
