"""Records of a finished search: rows of the raw tables, and the figures of the reward model's card."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_train.data.records import ATTRIBUTES
from models_train.parts import content_hash
from models_train.reward_models.data import data_hash
from models_train.reward_models.export import Card
from models_train.reward_models.search import SearchOutcome, SearchSetup, TrialOutcome, run_name
from models_train.reward_models.training import TrainingRun
from models_train.reward_models.validation import Optimism
from models_train.study.models import StudyModel
from models_train.study.training import DataSource

JOB = "train_reward_model"
DROPPED = "training_rows_dropped"


@dataclass(frozen=True)
class SearchRecord:
    """A finished search and its inputs. path: of the reward model, relative to the run-time folder."""

    model: StudyModel
    setup: SearchSetup
    runs: Sequence[TrainingRun]
    outcome: SearchOutcome
    optimism: Optimism | None
    path: str | None

    @property
    def selected(self) -> TrainingRun | None:
        """The run that the reward model comes from."""
        choice = self.outcome.choice
        wanted = None if choice is None else (choice.learning_rate, choice.seed)
        return next((run for run in self.runs if (run.learning_rate, run.seed) == wanted), None)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Rows of each table; `reward_model_searches`, by which a search is known to be complete, comes last."""
        costs = functools.reduce(operator.add, (run.costs for run in self.runs))
        return {
            "reward_model_runs": [
                self._run_row(run, end) for run, end in zip(self.runs, self.outcome.trials, strict=True)
            ],
            "reward_model_steps": [row for run in self.runs for row in self._step_rows(run)],
            "reward_model_checkpoints": [row for run in self.runs for row in self._checkpoint_rows(run)],
            DROPPED: self._dropped_rows(),
            "run_costs": [costs.row(self.model.model_id, JOB, self.setup.objective)],
            "reward_model_searches": [self._search_row()],
        }

    def _cell(self, run: TrainingRun | None = None) -> dict[str, Any]:
        cell: dict[str, Any] = {"model_id": self.model.model_id, "objective": self.setup.objective}
        return cell if run is None else cell | {"training_run": run_name(run.learning_rate, run.seed)}

    def _run_row(self, run: TrainingRun, end: TrialOutcome) -> dict[str, Any]:
        costs, setup, train = run.costs, self.setup, self.setup.data.train
        recipe = setup.recipe.model_dump(mode="json", exclude={"learning_rates"})
        return self._cell(run) | {
            "learning_rate": run.learning_rate,
            "seed": run.seed,
            "hub_id": self.model.hub_id,
            "revision": setup.source.stated_revision,
            "recipe_hash": content_hash({"recipe": recipe, "precision": setup.training.precision}),
            "data_hash": data_hash(train.examples),
            "n_steps_planned": run.n_steps,
            "n_steps": run.step,
            "n_examples": len(train.examples),
            "n_examples_dropped": train.n_left_out,
            "n_examples_truncated": train.n_truncated,
            "n_tokens": costs.n_tokens,
            "device_seconds": costs.device_seconds,
            "device": costs.device,
            "n_devices": costs.n_devices,
            "peak_memory_bytes": costs.peak_memory_bytes,
            "precision": setup.plan.formats,
            "status": end.status,
            "reason": end.reason,
            "is_selected": run is self.selected,
            "versions": costs.versions,
        }

    def _step_rows(self, run: TrainingRun) -> Iterable[dict[str, Any]]:
        columns = ("step", "loss", "gradient_norm", "learning_rate", "n_examples", "n_tokens", "seconds")
        return ({**self._cell(run), **{name: row[name] for name in columns}} for row in run.steps)

    def _checkpoint_rows(self, run: TrainingRun) -> Iterable[dict[str, Any]]:
        choice = self.outcome.choice
        selected = choice.evaluation.step if choice is not None and run is self.selected else None
        for checkpoint in run.checkpoints():
            found = checkpoint.evaluation
            weights = found.get("weights") or [None] * len(ATTRIBUTES)
            yield self._cell(run) | {
                "step": checkpoint.step,
                "validation_accuracy": checkpoint.standing.accuracy,
                "validation_loss": found["loss"],
                **{name: found[name] for name in ("n_won", "n_ties", "n_pairs")},
                **{f"weight_{name}": weight for name, weight in zip(ATTRIBUTES, weights, strict=True)},
                "n_optima": found.get("n_optima"),
                "mean_margin": found.get("mean_margin"),
                "is_selected": checkpoint.step == selected,
            }

    def _dropped_rows(self) -> list[dict[str, Any]]:
        losses = self.setup.data.losses
        return [
            self._cell()
            | {"reason": reason, "n_train_rows_dropped": n, "n_train_rows": losses.n_rows, "is_stated": is_stated}
            for is_stated, found in ((False, losses.lost), (True, losses.stated))
            for reason, n in found.items()
        ]

    def _search_row(self) -> dict[str, Any]:
        outcome, choice, optimism, run = self.outcome, self.outcome.choice, self.optimism, self.selected
        return self._cell() | {
            "method": self.setup.training.search.method,
            "training_run": None if run is None else run_name(run.learning_rate, run.seed),
            "step": choice.evaluation.step if choice else None,
            "learning_rate": choice.learning_rate if choice else None,
            "validation_accuracy": choice.evaluation.accuracy if choice else None,
            "accuracy_choosing_half": optimism.accuracy_choosing_half if optimism else None,
            "accuracy_other_half": optimism.accuracy_other_half if optimism else None,
            "accuracy_mean_rate": optimism.accuracy_mean_rate if optimism else None,
            "accuracy_best_rate": optimism.accuracy_best_rate if optimism else None,
            "optimism_points": optimism.points if optimism else None,
            "n_steps": outcome.n_steps,
            "n_steps_full_grid": outcome.n_steps_full_grid,
            "path": self.path,
            "status": "failed" if choice is None else "finished",
            "reason": outcome.reason,
        }


def search_card(record: SearchRecord, evaluation: Mapping[str, Any]) -> Card:
    """Card of the reward model that a search chose. evaluation: of the chosen checkpoint."""
    return Card(
        base_model=record.setup.source.place,
        base_revision=record.setup.source.stated_revision,
        objective=record.setup.objective,
        data=_data(record.setup),
        recipe=_recipe(record),
        results=_results(record, evaluation),
        notes=(
            "The validation accuracy is of the pairs that learning rate, checkpoint and merge weights were chosen on; "
            "the optimism is the gain that is due to this choice, measured on halves of these pairs.",
        ),
    )


def _data(setup: SearchSetup) -> dict[str, Any]:
    training, data = setup.training, setup.data
    found: dict[str, Any] = {"preferences": _source(training.preferences)}
    if setup.objective == "regression" and training.ratings is not None:
        found["ratings"] = _source(training.ratings)
    thoughts = {f"of them with thoughts ({training.thoughts})": n} if (n := data.train.n_with_thoughts) else {}
    return found | {
        "examples trained on": len(data.train.examples),
        "of them with a cut prompt": data.train.n_truncated,
        **thoughts,
        "examples left out": data.train.n_left_out,
        "validation pairs": len(data.validation.examples),
    }


def _recipe(record: SearchRecord) -> dict[str, Any]:
    choice, setup = record.outcome.choice, record.setup
    search = setup.training.search
    assert choice is not None, "a card is of a model"
    settings = setup.recipe.model_dump(mode="json", exclude={"learning_rates"})
    return {
        "training run": run_name(choice.learning_rate, choice.seed),
        "learning rate": choice.learning_rate,
        "seed": choice.seed,
        "step": f"{choice.evaluation.step} of {record.outcome.trials[0].trial.n_steps}",
        "rates tried": ", ".join(f"{rate:g}" for rate in setup.recipe.learning_rates),
        "seeds tried": ", ".join(map(str, search.seeds)),
        "search": search.method,
        **{name.replace("_", " "): value for name, value in settings.items()},
        "number formats": setup.plan.formats,
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
