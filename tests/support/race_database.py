"""The marts of a race for the tests of the report: five base models, of which two are dropped on the way."""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl

RUNGS = (1000, 2000, 4000, 8000, 16000)
CURVES = {
    "one-8B": (58.0, 63.0, 67.5, 70.5, 72.0),
    "two-7B": (60.0, 63.5, 66.5, 69.5, 71.6),
    "three-3B": (57.0, 61.0, 63.0, 65.0),
    "four-2B": (55.0, 57.0, 58.5),
    "five-1B": (52.0, 53.0),
}
"""Accuracy at each rung."""
REASON = "one-8B is better beyond doubt, by 3.1 points or more at the full data"


def write_race_marts(
    connection: duckdb.DuckDBPyConnection, study_id: str, *, suffix: str = "", with_census: bool = False
) -> None:
    """Add the marts to a database; suffix: of all names. with_census: with the answers of other ways to choose."""
    rungs = [
        _rung(study_id, name + suffix, accuracy, place, place == len(curve) - 1, suffix)
        for name, curve in CURVES.items()
        for place, accuracy in enumerate(curve)
    ]
    answers = [_answer(study_id, "race", "one-8B" + suffix, suffix)]
    if with_census:
        peer: dict[str, Any] = {"probability_best": None, "answer": None, "n_looks": None, "device_hours": None}
        answers = [
            row | {"is_census_known": True, "census_winner": "two-7B" + suffix, "regret_points": regret}
            for row, regret in (
                (answers[0], 0.3),
                (_answer(study_id, "size_alone", "one-8B" + suffix, suffix) | peer | {"n_tokens": 0.0}, 0.3),
                (_answer(study_id, "full_census", "two-7B" + suffix, suffix) | peer, 0.0),
            )
        ]
    for name, rows in {"fct_race_rungs": rungs, "fct_race_answers": answers}.items():
        frame = pl.DataFrame(rows, infer_schema_length=None).to_arrow()
        connection.register("frame", frame)
        connection.execute(f"create or replace table marts.{name} as select * from frame")
        connection.unregister("frame")


def _rung(study_id: str, model_id: str, accuracy: float, place: int, is_last: bool, suffix: str) -> dict[str, Any]:
    leads = model_id.startswith(("one", "two"))
    decision = "keep" if not is_last else "end" if leads else "drop"
    of_lead = {"against": "one-8B" + suffix, "estimate_points": -4.0, "low_points": -7.0, "high_points": -3.1}
    return {
        "study_id": study_id,
        "objective": "bradley_terry",
        "model_id": model_id,
        "learning_rate": 2e-6,
        "rung": place + 1,
        "is_of_race": True,
        "is_best_rate": True,
        "n_examples": RUNGS[place],
        "accuracy": accuracy,
        "accuracy_low": accuracy - 3,
        "accuracy_high": accuracy + 3,
        "n_items": 800,
        "n_trained_tokens": 900 * RUNGS[place],
        "device_hours": 0.2,
        "decision": decision,
        "reason": REASON + suffix if decision == "drop" else "best with probability 40 %",
        "probability_best": 0.01,
    } | (of_lead if not model_id.startswith("one") else dict.fromkeys(of_lead))


def _answer(study_id: str, method: str, winner: str, suffix: str) -> dict[str, Any]:
    return {
        "study_id": study_id,
        "objective": "bradley_terry",
        "method": method,
        "benchmark": "mine",
        "n_candidates": len(CURVES),
        "winner": winner,
        "probability_best": 0.68,
        "probability_within": 0.96,
        "indifference_set": [winner, "two-7B" + suffix],
        "indifference": 0.5,
        "confidence": 0.95,
        "end_reason": "decided",
        "answer": f"{winner} is the base to train: the best with probability 68 %.",
        "is_census_known": False,
        "census_winner": None,
        "regret_points": None,
        "n_looks": 24,
        "n_trained_tokens": 40e6,
        "n_scored_tokens": 6e6,
        "n_tokens": 42e6,
        "device_hours": 18.5,
        "n_census_tokens": 210e6,
        "census_device_hours": 95.0,
        "share_of_census": 0.2,
        "budget": "20h",
    }
