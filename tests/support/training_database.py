"""The marts of training and evaluation for a fixture study: two models with searches, one that failed, costs."""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl

RATES = (5e-7, 1e-6, 5e-6)
SUBSETS = (("chat", "alpacaeval-easy", 100), ("reasoning", "math-prm", 447), ("reasoning", "hep-go", 164))
ENDS = {5e-7: "stopped", 1e-6: "finished", 5e-6: "failed"}


def write_training_marts(
    connection: duckdb.DuckDBPyConnection, study_id: str, models: list[str], *, n_points: int = 200
) -> None:
    """Add the marts to a database of `marts_database.write_marts`; the last of models (at least 3) has no reward
    model, the one before it has half of a test set and an error. Costs are priced, documents were scored on a CPU.
    """
    whole, half, failed = models[:-2], models[-2], models[-1]
    frames: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for objective in ("regression", "bradley_terry"):
        for place, model_id in enumerate(models):
            own = {"study_id": study_id, "objective": objective, "model_id": model_id}
            frames["fct_learning_rate_search"] += _search(own, place, model_id == failed)
            frames["fct_learning_curves"] += _curves(own, n_points, model_id == failed)
            frames["fct_training_rows_dropped"] += _dropped(own, place)
            if model_id != failed:
                frames["fct_reward_model_subsets"] += _subsets(own, place, model_id == half)
            if model_id in whole[1:]:
                frames["fct_reward_model_comparisons"].append(_comparison(own, whole[0], place))
            frames["fct_run_costs"].append(_cost(study_id, model_id, objective, 3600.0 * (place + 1)))
    frames["fct_run_costs"].append(
        _cost(study_id, models[0], None, 1800.0)
        | {"device": "cpu", "is_gpu": False, "gpu_hours": 0.0, "usd": None, "peak_memory_gib": None}
    )
    for name, rows in frames.items():
        frame = pl.DataFrame(rows, infer_schema_length=None).to_arrow()
        connection.register("frame", frame)
        connection.execute(f"create or replace table marts.{name} as select * from frame")
        connection.unregister("frame")


TABLES = (
    "fct_learning_rate_search",
    "fct_learning_curves",
    "fct_reward_model_subsets",
    "fct_reward_model_comparisons",
    "fct_run_costs",
    "fct_training_rows_dropped",
)


def _search(own: dict[str, Any], place: int, failed: bool) -> list[dict[str, Any]]:
    rows = []
    for rate in RATES:
        status = "failed" if failed else ENDS[rate]
        known = status != "failed"
        accuracy = 60.0 + 5 * (rate == 1e-6) + place if known else None
        rows.append(
            own
            | {"training_run": f"{rate:.0e}-s0", "learning_rate": rate, "seed": 0, "status": status}
            | {"reason": None if status == "finished" else f"{status} for {own['model_id']}"}
            | {"is_selected": known and rate == 1e-6, "n_steps": 300 if known else 3, "n_steps_planned": 300}
            | {"best_step": 60 if known else None, "best_validation_accuracy": accuracy}
            | {"best_validation_standard_error": 2.0 if known else None, "n_validation_pairs": 519 if known else None}
            | {"search_method": "successive_halving", "search_status": "failed" if failed else "finished"}
            | {"search_n_steps": 400, "search_n_steps_full_grid": 900}
            | {"accuracy_choosing_half": None if failed else 66.0 + place}
            | {"accuracy_other_half": None if failed else 64.0, "optimism_points": None if failed else 2.0 + place}
        )
    return rows


def _dropped(own: dict[str, Any], place: int) -> list[dict[str, Any]]:
    """Ties in both objectives; more rows lost for a later model, by regression alone."""
    lost = {"split": 3, "over_long": place, "bad": 0} if own["objective"] == "regression" else {}
    return [
        own | {"reason": reason, "n_train_rows_dropped": n, "n_train_rows": 7000, "is_stated": reason == "tie"}
        for reason, n in (lost | {"tie": 0 if not lost else 21}).items()
    ]


def _curves(own: dict[str, Any], n_points: int, failed: bool) -> list[dict[str, Any]]:
    return [
        own
        | {"training_run": f"{rate:.0e}-s0", "learning_rate": rate, "seed": 0, "status": ENDS[rate]}
        | {"is_selected": rate == 1e-6 and not failed, "step": step, "n_steps": 1, "loss": 0.7 - 0.4 * step / n_points}
        | {"gradient_norm": 2.0, "n_tokens": 1000 * step, "checkpoint_step": step if step % 20 == 0 else None}
        | {"validation_accuracy": 50.0 + step / 20 if step % 20 == 0 else None, "validation_loss": None}
        for rate in RATES
        for step in range(1, (3 if failed else n_points) + 1)
    ]


def _subsets(own: dict[str, Any], place: int, half: bool) -> list[dict[str, Any]]:
    rows = []
    for category, subset, n in (*SUBSETS, (None, "own subset", 0), ("safety", "donotanswer", 136)):
        nobody_has_it = subset == "donotanswer"
        n_pairs = 0 if nobody_has_it or (half and category == "chat") else n or 7
        n_errors, n_ties = (2, 3) if half and n_pairs else (0, place)
        won = (n_pairs - n_errors) // 2
        accuracy = 100 * won / (n_pairs - n_errors) if n_pairs else None
        rows.append(
            own
            | {"category": category, "subset": subset, "weight": n, "n_examples": n, "n_pairs": n_pairs}
            | {"n_won": won if n_pairs else 0, "n_ties": n_ties, "n_errors": n_errors, "accuracy": accuracy}
        )
    return rows


def _comparison(own: dict[str, Any], default: str, place: int) -> dict[str, Any]:
    return (
        own
        | {"size_group": "<3", "compared_with": "default", "other_model_id": default, "category": "score"}
        | {"n_pairs": 711, "n_both": 500, "n_only_model": 100 + place, "n_only_other": 60, "n_neither": 51 - place}
        | {"sign_flip_p": 0.0004 if place == 1 else 0.0321, "difference_points": 5.6}
        | {"low": 2.1, "high": 9.0, "low_with_runs": 1.2, "high_with_runs": 9.9}
    )


def _cost(study_id: str, model_id: str, objective: str | None, seconds: float) -> dict[str, Any]:
    hours = seconds / 3600
    return {
        "study_id": study_id,
        "model_id": model_id,
        "job": "train_reward_model" if objective else "score_documents",
        "variant": objective or "packed",
        "objective": objective,
        "n_tokens": 1_000_000,
        "gpu_hours": hours,
        "device_hours": hours,
        "device": "NVIDIA H200",
        "n_devices": 2,
        "is_gpu": True,
        "peak_memory_gib": 91.5,
        "tokens_per_device_second": 1_000_000 / seconds,
        "planned_device_hours": None if objective else 1.1 * hours,
        "planned_error_percent": None if objective else 10.0,
        "usd_per_gpu_hour": 2.5,
        "usd": 2.5 * hours,
    }
