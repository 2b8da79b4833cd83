"""The model card's figures of a search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models_train.reward_models.card import Card
from models_train.reward_models.search_records import SearchRecord, run_name
from models_train.reward_models.search_setup import SearchSetup
from models_train.study.training import DataSource


def search_card(record: SearchRecord, setup: SearchSetup, evaluation: Mapping[str, Any]) -> Card:
    """Card of the reward model that a search chose; evaluation: of the chosen checkpoint."""
    return Card(
        base_model=setup.source.place,
        base_revision=record.revision,
        objective=record.objective,
        data=_data(record),
        recipe=_recipe(record, setup),
        results=_results(record, evaluation),
        notes=(
            "The validation accuracy is of the pairs that learning rate, checkpoint and merge weights were chosen on; "
            "the optimism says by how much such a choice flatters, measured on halves of these pairs.",
        ),
    )


def _data(record: SearchRecord) -> dict[str, Any]:
    training, data = record.training, record.data
    found: dict[str, Any] = {"preferences": _source(training.preferences)}
    if record.objective == "regression" and training.ratings is not None:
        found["ratings"] = _source(training.ratings)
    return found | {
        "examples trained on": len(data.train.examples),
        "of them with a cut prompt": data.train.n_truncated,
        "examples left out": data.train.n_left_out,
        "validation pairs": len(data.validation.examples),
    }


def _recipe(record: SearchRecord, setup: SearchSetup) -> dict[str, Any]:
    choice, search = record.outcome.choice, record.training.search
    assert choice is not None, "a card is of a model"
    settings = setup.recipe.model_dump(mode="json", exclude={"learning_rates"})
    return {
        "training run": run_name(choice.learning_rate, choice.seed),
        "learning rate": choice.learning_rate,
        "seed": choice.seed,
        "step": f"{choice.evaluation.step} of {record.outcome.arms[0].arm.n_steps}",
        "rates tried": ", ".join(f"{rate:g}" for rate in setup.recipe.learning_rates),
        "seeds tried": ", ".join(map(str, search.seeds)),
        "search": search.method,
        **{name.replace("_", " "): value for name, value in settings.items()},
        "number formats": record.plan.formats,
    }


def _results(record: SearchRecord, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    n_won, n_pairs = evaluation["n_won"], evaluation["n_pairs"]
    found = {"validation pairs won": f"{n_won} of {n_pairs} ({n_won / n_pairs:.1%}), ties {evaluation['n_ties']}"}
    if evaluation["loss"] is not None:
        found["validation loss"] = f"{evaluation['loss']:.4f}"
    if record.optimism is not None:
        found["optimism of the choice"] = f"{record.optimism.points:.1f} points"
    if "n_optima" in evaluation:
        found["merge vectors that win as many pairs"] = f"{evaluation['n_optima']:,}"
    return found


def _source(source: DataSource) -> str:
    """Hub id and commit, or the file's own name: a path is of one machine."""
    if source.path is not None:
        return Path(source.path).name
    return f"{source.hub_id} at {source.revision or 'main'}"
