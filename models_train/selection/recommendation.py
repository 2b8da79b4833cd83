"""Recommended base models per size limit: measured results, forecasts for the rest, and the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.stats import norm

from models_train.errors import UserError
from models_train.selection.protocols import Forecast
from models_train.selection.scores import PREDICTION_LEVEL
from warehouse.contracts import PERFORMANCE_TABLES
from warehouse.contracts.leads import is_distinguishable
from warehouse.contracts.sizes import is_within

SIZE_LIMITS: tuple[float | None, ...] = (1.0, 3.0, 4.0, 8.0, 10.0, None)
"""Size limits in billions of parameters, as people say them (`warehouse.contracts.sizes`); None is no limit."""
OBSERVED, PREDICTED = "observed", "predicted"
_N_DRAWS = 20_000


@dataclass(frozen=True)
class _Entry:
    model_id: str
    params_b: float
    basis: str
    expected: float | None
    low: float | None
    high: float | None
    note: str
    draws: np.ndarray


def recommend(
    objective: str,
    results: pl.DataFrame,
    models: pl.DataFrame,
    size_groups: pl.DataFrame,
    forecasts: Sequence[Forecast] = (),
    limits: Sequence[float | None] = SIZE_LIMITS,
    seed: int = 0,
) -> pl.DataFrame:
    """Rank all models of at most each size limit; rows of the table `recommendations`.

    results: objective, model_id, score, score_standard_error and/or score_standard_error_approximate if known, and
    run_deviation, the standard deviation between trainings of one base (all in points). models: model_id, params_b.
    size_groups: params_b_from (inclusive), params_b_below (exclusive, null at the top), default_model_id. forecasts: of
    models without a reward model for target `score`.
    The gain is over the default of the model's own size group, null if that was not measured. Intervals are 90 %: of
    a measured model over test pairs and training runs, CV+ of a predicted one, whose residuals hold both.
    probability_best is the share of joint draws from these in which the model comes first. An abstention has no rank
    and no numbers. Raises UserError for a measured model without size or with a broken score.
    """
    generator = np.random.default_rng(seed)
    entries = _observed(objective, results, models, generator) + _predicted(forecasts, models, generator)
    scores = {entry.model_id: entry.expected for entry in entries if entry.basis == OBSERVED}
    rows: list[tuple[object, ...]] = []
    for limit in limits:
        inside = [entry for entry in entries if limit is None or is_within(entry.model_id, entry.params_b, limit)]
        ranked = sorted((e for e in inside if e.expected is not None), key=lambda e: (-_number(e.expected), e.model_id))
        chances = _chances([entry.draws for entry in ranked])
        for rank, (entry, chance) in enumerate(zip(ranked, chances, strict=True), start=1):
            default = _default_of(entry.params_b, size_groups)
            base = scores.get(default) if default else None
            gain = None if base is None else _number(entry.expected) - base
            reason = _reason(entry, rank, ranked, limit, gain, default, chance)
            numbers = (entry.expected, entry.low, entry.high, gain, chance)
            rows.append((objective, limit, rank, entry.model_id, entry.basis, *numbers, reason))
        for entry in sorted((e for e in inside if e.expected is None), key=lambda e: e.model_id):
            nothing = (None,) * 5
            rows.append(
                (objective, limit, None, entry.model_id, PREDICTED, *nothing, f"No recommendation: {entry.note}.")
            )
    return pl.DataFrame(rows, pl.Schema(PERFORMANCE_TABLES["recommendations"].filled_columns), orient="row")


def _observed(
    objective: str, results: pl.DataFrame, models: pl.DataFrame, generator: np.random.Generator
) -> list[_Entry]:
    sizes = dict(models.select("model_id", "params_b").iter_rows())
    errors = [c for c in ("score_standard_error", "score_standard_error_approximate") if c in results.columns]
    error = (pl.coalesce(*errors) if errors else pl.lit(None)).cast(pl.Float64)
    rows = (
        results.filter(pl.col("objective") == objective, pl.col("score").is_not_null())
        .select(
            "model_id",
            pl.col("score").cast(pl.Float64),
            (error**2 + pl.col("run_deviation") ** 2).sqrt().alias("error"),
        )
        .sort("model_id")
    )
    reach = float(norm.ppf((1 + PREDICTION_LEVEL) / 2))
    found = []
    for model, score, deviation in rows.iter_rows():
        if not np.isfinite(score):
            raise UserError(f"{objective}: the score of model {model} is not a number; leave it empty if it failed")
        if sizes.get(model) is None:
            raise UserError(f"model {model} has a result but no params_b; size limits need it, so add it to the study")
        draws = score + (deviation or 0.0) * generator.standard_normal(_N_DRAWS)
        low, high = (None, None) if deviation is None else (score - reach * deviation, score + reach * deviation)
        found.append(_Entry(model, sizes[model], OBSERVED, score, low, high, "", draws))
    return found


def _predicted(forecasts: Sequence[Forecast], models: pl.DataFrame, generator: np.random.Generator) -> list[_Entry]:
    sizes = dict(models.select("model_id", "params_b").iter_rows())
    found = []
    for forecast in sorted(forecasts, key=lambda f: f.model_id):
        size = sizes.get(forecast.model_id)
        if forecast.predicted is None or size is None:
            note = forecast.abstention or "its number of parameters is not known"
            unknown = float("inf") if size is None else size  # appears only without a size limit
            found.append(_Entry(forecast.model_id, unknown, PREDICTED, None, None, None, note, np.empty(0)))
            continue
        draws = generator.choice(forecast.draws, size=_N_DRAWS)
        ends = (forecast.low, forecast.high)
        found.append(_Entry(forecast.model_id, size, PREDICTED, forecast.predicted, *ends, forecast.predictor, draws))
    return found


def _chances(draws: list[np.ndarray]) -> list[float]:
    """Share of joint draws in which each model is first; equal first places are shared."""
    if not draws:
        return []
    table = np.stack(draws)
    first = table == table.max(axis=0)
    return [float(share) for share in (first / first.sum(axis=0)).mean(axis=1)]


def _default_of(params_b: float, size_groups: pl.DataFrame) -> str | None:
    columns = ("params_b_from", "params_b_below", "default_model_id")
    for low, below, default in size_groups.select(columns).iter_rows():
        if params_b >= low and (below is None or params_b < below):
            return str(default)
    return None


def _reason(
    entry: _Entry,
    rank: int,
    ranked: list[_Entry],
    limit: float | None,
    gain: float | None,
    default: str | None,
    chance: float,
) -> str:
    """One or two sentences; numbers with one decimal, percent points."""
    among = f"{len(ranked)} models" + ("" if limit is None else f" of at most {limit:g} B parameters")
    score = f"{_number(entry.expected):.1f}"
    if entry.basis == PREDICTED:
        ends = "" if entry.low is None or entry.high is None else f" ({entry.low:.1f} to {entry.high:.1f})"
        text = f"No reward model was trained on it; {entry.note} predicts {score}{ends}, rank {rank} of {among}"
    elif rank == 1:
        text = f"Measured {score}, the highest of {among}"
    else:
        behind = _number(ranked[0].expected) - _number(entry.expected)
        text = f"Measured {score}, rank {rank} of {among}, {behind:.1f} points behind {ranked[0].model_id}"
    level = sum(_is_level(other, ranked[0]) for other in ranked[1:])
    if rank == 1 and level:
        text += f", not distinguishable from {level} other{'s' if level > 1 else ''}"
    elif rank > 1 and _is_level(entry, ranked[0]):
        text += f", not distinguishable from {'it' if entry.basis == OBSERVED else ranked[0].model_id}"
    if default == entry.model_id:
        text += "; it is the default of its size group"
    elif gain is not None:
        side = "above" if gain >= 0 else "below"
        text += f"; {abs(gain):.1f} points {side} the default {default}"
    share = "more than 99 %" if chance > 0.99 else "fewer than 1 %" if chance < 0.01 else f"{100 * chance:.0f} %"
    return f"{text}. Best in {share} of draws over test questions and training runs."


def _is_level(entry: _Entry, first: _Entry) -> bool:
    ends, first_ends = (entry.low, entry.high), (first.low, first.high)
    return not is_distinguishable(_number(entry.expected), ends, _number(first.expected), first_ends)


def _number(value: float | None) -> float:
    """The expected score of a ranked model: abstentions have none and are not ranked."""
    assert value is not None
    return value
