"""Rows of the raw tables of a race: its looks in order, decisions, answers, and what each base model cost."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_train.metering import Costs
from models_train.race.rules import Answer, Decision, RaceRules
from warehouse.contracts.races import RACE

Row = dict[str, Any]
Trained = Mapping[tuple[str, float], int]
"""Tokens trained on so far, by base model and learning rate."""


@dataclass(frozen=True)
class RaceRecord:
    """What all rows of a race share. budget: as it was given, such as 20h."""

    race_id: str
    rules: RaceRules
    benchmark: str
    n_candidates: int
    budget: str | None = None

    def _own(self) -> Row:
        return {"race_id": self.race_id, "objective": self.rules.objective}

    def entries(self, looks: Sequence[Mapping[str, Any]], n_of_race: int) -> list[Row]:
        """Rows of race_entries. looks: rows of race_looks in order, those of the race itself first."""
        return [
            self._own()
            | {
                "place": place,
                "rung": self.rules.rungs.index(look["n_examples"]) + 1,
                "look_id": look["look_id"],
                "is_of_race": place <= n_of_race,
            }
            for place, look in enumerate(looks, 1)
        ]

    def decisions(self, decisions: Sequence[Decision]) -> list[Row]:
        """Rows of race_decisions."""
        return [
            self._own()
            | {
                "place": place,
                "round": one.round,
                "model_id": one.model_id,
                "decision": one.decision,
                "reason": one.reason,
                "n_examples": one.n_examples,
                "learning_rate": one.learning_rate,
                "against": one.against,
                "estimate": one.estimate,
                "low": one.lower,
                "high": one.upper,
                "probability_best": one.probability_best,
                "n_looks": one.n_looks,
                "n_tokens": float(one.tokens),
                "device_seconds": float(one.device_seconds),
            }
            for place, one in enumerate(decisions, 1)
        ]

    def answer(self, answer: Answer) -> Row:
        """The race's row of race_answers."""
        return self.of_method(RACE) | {
            "winner": answer.winner,
            "probability_best": answer.probability_best,
            "probability_within": answer.probability_within,
            "indifference_set": json.dumps(list(answer.indifference_set)),
            "end": answer.reason,
            "answer": answer.text,
            "n_looks": answer.n_looks,
            "n_trained_tokens": float(answer.trained_tokens),
            "n_scored_tokens": float(answer.scored_tokens),
            "device_seconds": float(answer.device_seconds),
            "n_census_trained_tokens": float(answer.census_trained_tokens),
            "n_census_scored_tokens": float(answer.census_scored_tokens),
            "census_device_seconds": float(answer.census_device_seconds),
        }

    def of_method(self, method: str) -> Row:
        """What all rows of race_answers share."""
        return self._own() | {
            "method": method,
            "benchmark": self.benchmark,
            "n_candidates": self.n_candidates,
            "n_full_examples": self.rules.rungs[-1],
            "indifference": self.rules.indifference,
            "confidence": self.rules.confidence,
            "budget": self.budget,
        }


def costs_of(looks: Sequence[Mapping[str, Any]], before: Trained) -> dict[str, Costs]:
    """Costs of some looks by base model, which add up to theirs. looks: rows of race_looks; before: tokens that other
    looks have trained on, which count there. Device and versions are those of a base model's last look."""
    of_model: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for look in looks:
        of_model[look["model_id"]].append(look)
    return {name: _costs(rows, before) for name, rows in of_model.items()}


def trained_tokens(looks: Sequence[Mapping[str, Any]]) -> Trained:
    """Tokens that looks have trained on. looks: rows of race_looks, each of which counts from the first step."""
    found: dict[tuple[str, float], int] = {}
    for look in looks:
        key = look["model_id"], look["learning_rate"]
        found[key] = max(found.get(key, 0), look["n_tokens"])
    return found


def _costs(rows: Sequence[Mapping[str, Any]], before: Trained) -> Costs:
    peaks = [row["peak_memory_bytes"] for row in rows if row["peak_memory_bytes"] is not None]
    trained = sum(max(0, n - before.get(key, 0)) for key, n in trained_tokens(rows).items())
    return Costs(
        n_tokens=trained + sum(row["n_item_tokens"] for row in rows),
        device_seconds=sum(row["device_seconds"] for row in rows),
        device=rows[-1]["device"],
        n_devices=rows[-1]["n_devices"],
        is_gpu=rows[-1]["is_gpu"],
        peak_memory_bytes=max(peaks, default=None),
        versions=rows[-1]["versions"],
    )
