"""The marts of the performance model for a fixture study: least squares over a few rows, in NumPy.

A second, plain writing with realistic shapes (an in-sample error below the out-of-fold one, folds by publisher); the
real predictors are tested elsewhere. One interval end is unbounded, one model is a candidate with a prediction, one is
an abstention, one target has no model at all, and there are more terms than the report shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from warehouse.contracts.sizes import is_within

KS = (5, 10, 15)
LIMITS = (3.0, 8.0, None)
UNBOUNDED_ROW = 1
Features = dict[str, tuple[str, dict[str, float]]]


def performance_marts(
    study: Any, results: pl.DataFrame, features: Features, overlap: Callable[[np.ndarray, np.ndarray, int], float]
) -> dict[str, pl.DataFrame]:
    """All marts of the performance model of one study, target score, without the study_id column."""
    names = study.models["model_id"].to_list()
    benchmarks = [name for name, (kind, values) in features.items() if kind == "benchmark" and len(values) > 8]
    rare = [name for name, (kind, values) in features.items() if kind == "benchmark" and len(values) <= 8]
    table: dict[str, list[dict]] = {name: [] for name in ("predictions", "scores", "coverage", "coefficients")}
    recommendations, choices, excluded = [], [], []
    for objective in ("regression", "bradley_terry"):
        key = {"objective": objective, "target": "score"}
        score = dict(results.filter(pl.col("objective") == objective).select("model_id", "score").iter_rows())
        y = np.array([score[name] for name in names])
        columns = _columns(study, features, benchmarks, names)
        for protocol, folds in _protocols(study, names).items():
            guesses = {name: _predict(x, y, folds) for name, x in columns.items()}
            if protocol == "leave_publisher_out":
                guesses["selected"] = (guesses["elastic_net"] + guesses["mean"]) / 2
                guesses["average_without_shrinkage"] = sum(guesses[name] for name in columns) / len(columns)
                guesses["average"] = (guesses["average_without_shrinkage"] + guesses["mean"]) / 2
            for predictor, guess in guesses.items():
                _add(table, key | {"protocol": protocol, "predictor": predictor}, names, guess, y, folds, overlap)
        table["coefficients"] += _coefficients(key, columns["elastic_net"], y, [*benchmarks, "log10_params"])
        publishers = sorted(set(study.models["publisher"]))
        setting = {"selected_predictor": "elastic_net", "degree": 2, "alpha": 0.1, "l1_ratio": 0.5, "shrinkage": 0.5}
        choices += [key | {"fold": fold} | setting for fold in (*publishers, None)]
        share = len(features[rare[0]][1]) / len(names)
        reason = "too few models have a value, below the stated share of 75%"
        excluded += [key | {"feature": name, "share_of_models": share, "reason": reason} for name in rare]
        recommendations += _recommendations(study, objective, names, y)
    abstained = {"objective": "bradley_terry", "target": "safety", "reason": f"too little data for {names[0]}"}
    return {
        "fct_performance_predictions": _frame(table["predictions"]),
        "fct_performance_scores": _frame(table["scores"]),
        "fct_performance_comparisons": _comparisons(table["predictions"]),
        "fct_predicted_coverage": _frame(table["coverage"]),
        "fct_performance_coefficients": _frame(table["coefficients"]),
        "fct_performance_choices": _frame(choices),
        "fct_performance_abstentions": _frame([abstained]),
        "fct_performance_excluded_features": _frame(excluded),
        "fct_capability_components": _components(features, benchmarks, names),
        "fct_recommendations": _frame(recommendations),
    }


def _columns(study: Any, features: Features, benchmarks: list[str], names: list[str]) -> dict[str, np.ndarray]:
    """Predictor -> (models, features), standardised."""

    def scaled(*features_of: str) -> np.ndarray:
        x = np.array([[features[feature][1][name] for feature in features_of] for name in names])
        return (x - x.mean(axis=0)) / x.std(axis=0)

    return {
        "mean": np.empty((len(names), 0)),
        "log10_params": scaled("log10_params"),
        "params_and_tokens": scaled("params_b", "tokens_t"),
        "best_single_benchmark": scaled(benchmarks[0]),
        "elastic_net": scaled(*benchmarks, "log10_params"),
    }


def _protocols(study: Any, names: list[str]) -> dict[str, list[str | None]]:
    publishers = dict(study.models.select("model_id", "publisher").iter_rows())
    return {
        "paper_in_sample": [None] * len(names),
        "paper_10_fold": [str(place % 10 + 1) for place in range(len(names))],
        "leave_publisher_out": [publishers[name] for name in names],
    }


def _predict(x: np.ndarray, y: np.ndarray, folds: list[str | None]) -> np.ndarray:
    design, found = np.column_stack([np.ones(len(y)), x]), np.empty(len(y))
    for fold in set(folds):
        test = np.array([other == fold for other in folds])
        train = ~test if fold is not None else test
        found[test] = design[test] @ np.linalg.lstsq(design[train], y[train], rcond=None)[0]
    return found


def _add(
    table: dict[str, list[dict]],
    key: dict,
    names: list[str],
    guess: np.ndarray,
    y: np.ndarray,
    folds: list[str | None],
    overlap: Callable[[np.ndarray, np.ndarray, int], float],
) -> None:
    errors = np.abs(guess - y)
    reach, mae = float(np.quantile(errors, 0.9)), float(errors.mean())
    for place, name in enumerate(names):
        value = float(guess[place])
        table["predictions"].append(
            key
            | {"model_id": name, "predicted": value, "observed": float(y[place]), "fold": folds[place]}
            | {"interval_low": value - reach, "interval_high": None if place == UNBOUNDED_ROW else value + reach}
            | {"is_supported": None if folds[place] is None or folds[place].isdigit() else place % 3 != 0}
        )
    ks = [k for k in KS if k <= len(names)]
    lines = {k: overlap(guess, y, k) for k in ks}
    picks = np.argsort(-guess, kind="stable")
    table["scores"].append(
        key
        | {"mae": mae, "mae_low": 0.8 * mae, "mae_high": 1.2 * mae, "n": len(names)}
        | {"coverage_at_5": lines.get(5), "coverage_at_10": lines.get(10)}
        | {f"regret_at_{k}": float(y.max() - y[picks[:k]].max()) for k in (1, 5)}
        | {f"coverage_at_{k}_chance": k / len(names) for k in (5, 10)}
        | {f"regret_at_{k}_chance": float(y.max() - y.mean()) for k in (1, 5)}
    )
    chances = {k: k / len(names) for k in ks}
    table["coverage"] += [key | {"k": k, "coverage": lines[k], "chance": chances[k], "n": len(names)} for k in ks]


def _comparisons(predictions: list[dict]) -> pl.DataFrame:
    """Errors with the publisher left out against those of size and of the elastic net; intervals by 500 draws."""
    generator = np.random.default_rng(5)
    held_out = [row for row in predictions if row["protocol"] == "leave_publisher_out"]
    cells: dict[tuple, dict[str, dict]] = {}
    for row in held_out:
        key = (row["objective"], row["target"])
        cells.setdefault(key, {}).setdefault(row["predictor"], {})[row["model_id"]] = row
    rows = []
    for (objective, target), by_predictor in cells.items():
        for reference in ("log10_params", "mean", "elastic_net"):
            for predictor in sorted(by_predictor.keys() - {reference}):
                mine, base = by_predictor[predictor], by_predictor[reference]
                errors = {name: abs(row["predicted"] - row["observed"]) for name, row in mine.items()}
                others = {name: abs(row["predicted"] - row["observed"]) for name, row in base.items()}
                by_publisher: dict[str, list[float]] = {}
                for name, row in mine.items():
                    by_publisher.setdefault(row["fold"], []).append(errors[name] - others[name])
                publishers = list(by_publisher)
                means = [
                    np.mean([value for index in draw for value in by_publisher[publishers[index]]])
                    for draw in generator.integers(len(publishers), size=(500, len(publishers)))
                ]
                low, high = np.quantile(means, [0.025, 0.975])
                rows.append(
                    {"objective": objective, "target": target, "protocol": "leave_publisher_out"}
                    | {"predictor": predictor, "reference": reference, "n": len(errors)}
                    | {"mae": float(np.mean(list(errors.values())))}
                    | {"reference_mae": float(np.mean(list(others.values())))}
                    | {"difference": float(np.mean([errors[name] - others[name] for name in errors]))}
                    | {"difference_low": float(low), "difference_high": float(high)}
                    | {"publisher_difference": float(np.mean([np.mean(values) for values in by_publisher.values()]))}
                    | {"publisher_difference_low": float(low), "publisher_difference_high": float(high)}
                    | {"verdict": "better" if high < 0 else "worse" if low > 0 else "undecided"}
                )
    return _frame(rows)


def _coefficients(key: dict, x: np.ndarray, y: np.ndarray, names: list[str]) -> list[dict]:
    weights = np.linalg.lstsq(np.column_stack([np.ones(len(y)), x]), y, rcond=None)[0][1:]
    # Squares and products that were kept now and then, but not here: more terms than the report has room for.
    others = [f"{name}^2" for name in names] + [f"{a} {b}" for a in names for b in names if a < b]
    rows = []
    for protocol, shrink in (("paper_in_sample", 0.9), ("leave_publisher_out", 0.7)):
        for name, weight in zip(names, weights, strict=True):
            chance = {"coefficient": float(shrink * weight), "selection_frequency": 0.9}
            rows.append(key | {"protocol": protocol, "feature": name} | chance)
        for place, name in enumerate(others):
            chance = {"coefficient": 0.0, "selection_frequency": 0.5 - 0.02 * place}
            rows.append(key | {"protocol": protocol, "feature": name} | chance)
    return rows


def _components(features: Features, benchmarks: list[str], names: list[str]) -> pl.DataFrame:
    x = np.array([[features[feature][1][name] for feature in benchmarks] for name in names])
    _, lengths, directions = np.linalg.svd((x - x.mean(axis=0)) / x.std(axis=0), full_matrices=False)
    shares = lengths**2 / (lengths**2).sum()
    noise = {"noise_ratio": 1 / len(shares), "noise_ratio_95": 1.2 / len(shares)}
    rows = [
        {"component": number + 1, "explained_variance_ratio": float(shares[number]), "benchmark": name}
        | noise
        | {"loading": float(direction[place] * np.sign(direction[np.abs(direction).argmax()]))}
        for number, direction in enumerate(directions)
        for place, name in enumerate(benchmarks)
    ]
    return _frame(rows).with_columns(
        method=pl.lit("complete cases; no cell was imputed"), n_models=pl.lit(len(names)), n_imputed=pl.lit(0)
    )


def _recommendations(study: Any, objective: str, names: list[str], y: np.ndarray) -> list[dict]:
    """Every model per limit; the first of the smallest is predicted, and an abstention of unknown size stands last."""
    sizes = dict(study.models.select("model_id", "params_b").iter_rows())
    rows = []
    for limit in LIMITS:
        scores = [(-score, name) for score, name in zip(y, names, strict=True)]
        inside = sorted(one for one in scores if limit is None or is_within(one[1], sizes[one[1]], limit))
        for rank, (score, name) in enumerate(inside, start=1):
            predicted = name == names[1]
            rows.append(
                {"objective": objective, "size_limit_b": limit, "rank": rank, "model_id": name}
                | {"basis": "predicted" if predicted else "observed", "expected_score": float(-score)}
                | {"interval_low": float(-score) - 2, "interval_high": float(-score) + 2}
                | {"gain_points_over_default": 1.0 - rank, "probability_best": 1 / rank / 4}
                | {"reason": f"rank {rank} of {len(inside)} with {name}"}
            )
    unknown = f"candidate{names[0]}"
    nothing = dict.fromkeys(rows[0]) | {"objective": objective, "model_id": unknown, "basis": "predicted"}
    return [*rows, nothing | {"reason": f"its number of parameters is not known{names[0]}"}]


def _frame(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)
