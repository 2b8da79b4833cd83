"""What comes before the search of a critique reward model: fine-tuning on critiques, and critiques of the pairs.

Both are kept in `<home>/training/<training_run_id>-critic/` until all reward models that need them are trained: a
killed job goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch

from models_train.data.chat import RenderError
from models_train.data.critiques import Critique, by_response, load_critiques, rated_critiques
from models_train.data.helpsteer import load_preferences, load_ratings
from models_train.data.records import Loaded, Preference, Prompt
from models_train.errors import UserError
from models_train.files import write_text
from models_train.jobs.reporting import Reporter, progress
from models_train.jobs.training_job import TrainingJob
from models_train.logprobs.packed_engine import model_on_device
from models_train.metering import Costs, default_device, measure
from models_train.modeling.base_models import ModelSource
from models_train.reward_models.critique_export import save_critique_model, save_language_model
from models_train.reward_models.critique_model import CritiqueModel
from models_train.reward_models.critiques import (
    CONTRADICTING,
    TIED,
    WITHOUT_CRITIQUE,
    WITHOUT_SCORE,
    Critiqued,
    CritiqueReader,
    CritiqueWriter,
    Written,
    rendered,
    with_given,
    with_others,
    with_own,
)
from models_train.reward_models.data import (
    MOST_LOST,
    CritiquedResponse,
    Losses,
    Rendered,
    SearchData,
    losses_of,
    refuse_empty,
    refuse_losses,
    render_pairs,
    training_packs,
)
from models_train.reward_models.distributed import Processes
from models_train.reward_models.export import Card
from models_train.reward_models.memory import OptimizerKind
from models_train.reward_models.model import RewardModel
from models_train.reward_models.search import Opened, SearchSetup, open_base, planned_setup
from models_train.reward_models.search_records import JOB, SearchRecord
from models_train.reward_models.training import TrainingRun
from models_train.study.reward_ids import trained_reward_id
from models_train.study.training import CritiqueRecipe
from warehouse.contracts.critiques import OWN

_OTHERS_SEED = 0
"""Seed of the critiques of other responses."""


@dataclass(frozen=True)
class Tuned:
    """A base model that writes critiques. source: of its weights. costs: None where it was not tuned."""

    source: ModelSource
    n_critiques: int = 0
    loss: float | None = None
    costs: Costs | None = None


@dataclass(frozen=True)
class OwnCritiques:
    """Critiques that the tuned model wrote: the tries of each training pair, and of each validation pair the one."""

    train: list[list[tuple[Written, Written]]]
    validation: list[list[tuple[Written, Written]]]
    costs: Costs

    @property
    def n_tokens(self) -> int:
        """Tokens written."""
        return sum(
            one.n_tokens or 0
            for tries in (*self.train, *self.validation)
            for both in tries
            for one in both
        )  # fmt: skip


@dataclass(frozen=True)
class CritiqueSetup:
    """The set-up of a search with critiques, and what is recorded beside it.

    n_pairs: training pairs that can be read without critiques. pairs: those with critiques.
    """

    job: TrainingJob
    setup: SearchSetup
    tuned: Tuned
    own: OwnCritiques
    n_pairs: int
    pairs: Critiqued

    def row(self, record: SearchRecord) -> dict[str, Any]:
        """The row of critique_trainings. record: of a search that chose a checkpoint."""
        choice, left_out = record.outcome.choice, self.pairs.left_out
        assert choice is not None, "a failed search has no such row"
        control = self.job.control
        return {
            "model_id": self.job.model.model_id,
            "critiques": control or OWN,
            "source": self.job.training.critique_recipe.source,
            "n_tuned_on": self.tuned.n_critiques,
            "tuning_loss": self.tuned.loss,
            "n_tuning_tokens": self.tuned.costs.n_tokens if self.tuned.costs else 0,
            "n_written_tokens": 0 if control == "true" else self.own.n_tokens,
            "n_pairs": self.n_pairs,
            "n_kept": len(self.setup.data.train.examples),
            "n_contradicting": left_out[CONTRADICTING],
            "n_tied": left_out[TIED],
            "n_without_score": left_out[WITHOUT_SCORE],
            "n_without_critique": left_out[WITHOUT_CRITIQUE],
            "learning_rate": choice.learning_rate,
            "validation_accuracy": choice.evaluation.accuracy,
            "n_validation_pairs": choice.evaluation.n_pairs,
        }

    def cost_rows(self) -> dict[str, dict[str, Any]]:
        """The row of run_costs of the fine-tuning, and that of the writing; controls share them."""
        if self.job.control is not None:
            return {}
        costs = {"writing": self.own.costs} | ({"tuning": self.tuned.costs} if self.tuned.costs else {})
        model, objective = self.job.model.model_id, self.job.objective
        return {name: one.row(model, JOB, f"{objective}/{name}") for name, one in costs.items()}


def critique_setup(
    job: TrainingJob, report: Reporter, processes: Processes, optimizer: OptimizerKind | None
) -> CritiqueSetup:
    """Tune, write and read what is missing; returns the set-up of the search, or of the control of `job`.

    Raises LocationError, RenderError, UserError.
    """
    if processes.n > 1:
        raise UserError(
            f"{job.name}: critique reward models are trained on one device; start the job without torchrun, or "
            "take the objective out of the study"
        )
    recipe, training = job.training.critique_recipe, job.training
    base = open_base(job.model, training, job.objective, job.study_folder)
    preferences = load_preferences(training.preferences, job.study_folder)
    plain = render_pairs(preferences.train, base.renderer)
    stages = _Stages(job, base, preferences, processes, report)
    tuned = stages.tuned()
    usable, validating = (_readable(split, base) for split in (preferences.train, preferences.validation))
    own = stages.written(tuned, usable, validating)
    train = with_own(usable, own.train, filtered=recipe.filter)
    validation = with_own(validating, own.validation, filtered=False)
    if job.control == "others":
        train, validation = (
            with_others(one, seed) for seed, one in enumerate((train, validation), _OTHERS_SEED)
        )  # fmt: skip
    elif job.control == "true":
        train, validation = _with_true(job, usable, validating)
    for reason, n in train.left_out.items():
        report.say(f"{job.name}: {n:,} of {len(usable):,} pairs left out: critiques {reason.replace('_', ' ')}")
    drops = recipe.over_long == "drop"
    notes = tuple(f"preferences: {note}" for note in preferences.notes)
    reader = CritiqueReader(base.renderer, recipe.request)
    data = SearchData(
        train.rendered(reader), validation.rendered(reader), None, losses_of(preferences, plain, drops), notes
    )
    data = refuse_losses("preferences", refuse_empty(data))
    setup = planned_setup(base, training, job.objective, data, processes, optimizer, tuned.source)
    return CritiqueSetup(job, setup, tuned, own, len(usable), train)


def _readable(preferences: Sequence[Preference], base: Opened) -> list[Preference]:
    """The pairs that a Bradley-Terry reward model of the same base can read."""
    return [one for one in preferences if render_pairs([one], base.renderer).examples]


def _with_true(
    job: TrainingJob, usable: Sequence[Preference], validating: Sequence[Preference]
) -> tuple[Critiqued, Critiqued]:
    """Pairs with true critiques. Raises UserError where more than MOST_LOST of them have none."""
    source = job.training.critique_recipe.true_critiques
    assert source is not None, "the control is listed with it only"
    known = by_response(load_critiques(source, job.study_folder))
    found = []
    for what, pairs in (("training", usable), ("validation", validating)):
        with_true = with_given(pairs, known)
        n_without = with_true.left_out[WITHOUT_CRITIQUE]
        if n_without > MOST_LOST * len(pairs):
            raise UserError(
                f"{job.name}: true_critiques lack critiques for {n_without:,} of {len(pairs):,} {what} pairs; at most "
                f"{MOST_LOST:.0%} may be without: add them, or leave true_critiques out of the study"
            )
        found.append(with_true)
    return found[0], found[1]


@dataclass(frozen=True)
class _TuningValidation:
    """Loss of the critiques that a tuning is chosen by; no pairs are won or lost."""

    examples: Sequence[CritiquedResponse]
    tokens_per_pack: int

    def __call__(self, model: RewardModel) -> dict[str, Any]:
        losses = [model.losses(one).double() for one in training_packs(self.examples, self.tokens_per_pack)]
        loss = float(torch.cat(losses).mean())
        return {"n_won": 0, "n_ties": 0, "n_pairs": len(self.examples), "loss": loss}


@dataclass
class _Stages:
    """The two stages before the search, whose results lie in `job.critic_folder`."""

    job: TrainingJob
    base: Opened
    preferences: Loaded[Preference]
    processes: Processes
    report: Reporter
    recipe: CritiqueRecipe = field(init=False)

    def __post_init__(self) -> None:
        self.recipe = self.job.training.critique_recipe
        self.reader = CritiqueReader(self.base.renderer, self.recipe.request)
        self.folder = self.job.critic_folder

    def tuned(self) -> Tuned:
        """The base model after the fine-tuning."""
        if self.recipe.source == "self":
            return Tuned(self.base.source)
        facts = self.folder / "tuned.json"
        if not facts.exists():
            self._tune()
        found = json.loads(facts.read_text(encoding="utf-8"))
        place = ModelSource(self.base.source.name, str(self.folder / "tuned"), remote_code=self.base.source.remote_code)
        return Tuned(place, found["n_critiques"], found["loss"], Costs(**found["costs"]))

    def _tune(self) -> None:
        data = self._tuning_data()
        training, seed = self.job.training, self.job.training.search.seeds[0]
        plan = planned_setup(self.base, training, self.job.objective, data, self.processes).plan
        n = len(data.train.examples)
        self.report.say(f"{self.job.name}: fine-tuning on {n:,} critiques; {plan.describe()}")
        load = partial(
            CritiqueModel.from_language_model, self.base.source, seed, torch.float32, self.recipe.weight
        )  # fmt: skip
        if not (self.folder / "tuning").exists():
            self._rehearse(load())
        validation = [one for one in data.validation.examples if isinstance(one, CritiquedResponse)]
        recipe = self.recipe.tuning_recipe
        run = TrainingRun(
            load,
            data.train.examples,
            recipe,
            objective=self.job.objective,
            learning_rate=recipe.learning_rates[0],
            seed=seed,
            folder=self.folder / "tuning",
            plan=plan,
            evaluate=_TuningValidation(validation, plan.tokens_per_pack),
            on_step=lambda row: counter.advance(1, row["n_tokens"]),
        )
        with progress(self.report, f"{self.job.name}: steps of fine-tuning", run.n_steps, run.step) as counter:
            run.advance(run.n_steps)
        model = run.best_model()
        assert isinstance(model, CritiqueModel), "that is what was loaded"
        save_language_model(model, self.folder / "tuned")
        losses = [one.loss for one in run.evaluations() if one.loss is not None]
        found = {"n_critiques": n, "loss": min(losses, default=None), "costs": vars(run.costs)}
        write_text(self.folder / "tuned.json", json.dumps(found))

    def _tuning_data(self) -> SearchData:
        """Critiques to tune on, and to choose by: those of validation prompts, or else the same."""
        train, validation = self._given()
        both = [
            rendered([(one, self.reader.response, (one.prompt, one.response, one.text)) for one in part])
            for part in (train, validation)
        ]
        if not both[1].examples:
            self.report.say(f"{self.job.name}: no critique is of a validation prompt; chosen by those trained on")
        data: Rendered[CritiquedResponse] = both[0]
        chosen_by: Rendered[CritiquedResponse] = both[1] if both[1].examples else both[0]
        losses = Losses(len(train), {}, {"bad": data.n_left_out})
        return refuse_losses("critiques", refuse_empty(SearchData(data, chosen_by, None, losses)))

    def _given(self) -> tuple[list[Critique], list[Critique]]:
        held_out, training = self.preferences.validation_prompt_ids, self.job.training
        if self.recipe.source == "template":
            assert training.ratings is not None, "Training refuses the template without ratings"
            ratings = load_ratings(training.ratings, self.job.study_folder, held_out)
            return rated_critiques(ratings.train), rated_critiques(ratings.validation)
        assert self.recipe.critiques is not None, "CritiqueRecipe refuses the source file without it"
        given = load_critiques(self.recipe.critiques, self.job.study_folder)
        validating = [one.prompt_id in held_out for one in given]
        return (
            [one for one, is_held_out in zip(given, validating, strict=True) if not is_held_out],
            [one for one, is_held_out in zip(given, validating, strict=True) if is_held_out],
        )

    def _rehearse(self, model: CritiqueModel) -> None:
        """Save the untrained reward model and load it again, so that nothing is trained that could not be saved."""
        self.folder.mkdir(parents=True, exist_ok=True)
        card = Card(self.base.source.name, self.base.source.stated_revision, self.job.objective)
        place = self.folder / "rehearsal"
        try:
            save_critique_model(model, place, self.base.tokenizer, card, self.recipe)
        except UserError as error:
            raise UserError(f"{self.job.name}: {error}; nothing was trained") from error

    def written(
        self, tuned: Tuned, train: Sequence[Preference], validation: Sequence[Preference]
    ) -> OwnCritiques:  # fmt: skip
        """Critiques of the pairs by the tuned model."""
        file = self.folder / "critiques.json"
        if not file.exists():
            self._write(tuned, train, validation)
        found = json.loads(file.read_text(encoding="utf-8"))
        kept = [
            [[(Written(**one), Written(**other)) for one, other in tries] for tries in found[split]]
            for split in ("train", "validation")
        ]
        return OwnCritiques(kept[0], kept[1], Costs(**found["costs"]))

    def _write(self, tuned: Tuned, train: Sequence[Preference], validation: Sequence[Preference]) -> None:
        recipe, training = self.recipe, self.job.training
        n = 2 * (len(train) * recipe.tries + len(validation))
        with (
            measure(default_device()) as meter,
            progress(self.report, f"{self.job.name}: critiques of pairs", n) as counter,
        ):

            def advance(n_critiques: int, n_tokens: int) -> None:
                meter.add_tokens(n_tokens)
                counter.advance(n_critiques, n_tokens)

            writer = CritiqueWriter(
                model_on_device(tuned.source, getattr(torch, training.precision)),
                tuned.source,
                self.base.tokenizer,
                self.base.config,
                recipe,
                training.precision,
                greedy=recipe.tries == 1,
                name=trained_reward_id(self.job.model.model_id, self.job.objective),
            )
            found = {
                split: self._of_pairs(writer, pairs, n_each, advance)
                for split, pairs, n_each in (("train", train, recipe.tries), ("validation", validation, 1))
            }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "critiques.json", json.dumps(found | {"costs": vars(meter.costs)}))

    def _of_pairs(
        self, writer: CritiqueWriter, pairs: Sequence[Preference], n_each: int, advance: Any
    ) -> list[list[list[Mapping[str, Any]]]]:
        """For each pair its tries, each a critique of the chosen and one of the rejected response."""
        asked: list[Prompt | str] = []
        for one in pairs:
            for response in (one.chosen, one.rejected):
                try:
                    asked.append(self.reader.asked(one.prompt, response))
                except RenderError as error:
                    asked.append(str(error))
        written = writer.write(asked, n_each, advance)
        return [
            [[asdict(chosen), asdict(rejected)] for chosen, rejected in zip(*both, strict=True)]
            for both in zip(written[0::2], written[1::2], strict=True)
        ]
