"""Successive halving against the full grid: real trainings of a tiny Llama on ten small panels of preferences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from transformers import LlamaConfig

from models_train.reward_models.data import TokenPair
from models_train.reward_models.model import RewardModel
from models_train.reward_models.search import SearchOutcome, search
from models_train.reward_models.training import TrainingRun
from models_train.reward_models.validation import Validation
from models_train.study.training import BRADLEY_TERRY_RATES, RateSearch, Recipe
from tests.support.tiny_models import SIZES, classifier_of, randomize
from tests.support.training_runs import plan

pytestmark = pytest.mark.bench

N_PANELS, LEAST_GOOD, MOST_STEPS = 10, 9, 0.35
FIRST_SEED = 100
"""The default rungs were settled on panels with seeds below 14."""
N_TRAIN, N_VALIDATION, N_TOKENS = 960, 300, 32
RECIPE = Recipe(
    learning_rates=tuple(3000 * rate for rate in BRADLEY_TERRY_RATES),
    global_batch=16,
    warmup_steps=5,
    checkpoint_every=5,
)
"""The paper's grid, for a model of 20,000 weights 3,000 times as high: from too slow to too fast; 60 steps."""
HALVING = RateSearch(method="successive_halving")


@dataclass(frozen=True)
class Panel:
    """Preferences for responses whose tokens are worth something, judged with noise; other worths in every panel."""

    seed: int

    def pairs(self) -> list[TokenPair]:
        generator = np.random.default_rng(self.seed)
        worth = generator.normal(size=N_TOKENS)
        made = []
        for _ in range(N_TRAIN + N_VALIDATION):
            one, other = (generator.integers(0, N_TOKENS, generator.integers(8, 17)) for _ in range(2))
            margin = 12 * (worth[one].mean() - worth[other].mean())
            is_better = generator.random() < 1 / (1 + np.exp(-margin))
            ids = [(tokens + 3).tolist() for tokens in ((one, other) if is_better else (other, one))]
            made.append(TokenPair(*ids))
        return made

    def model(self) -> RewardModel:
        classifier = classifier_of(LlamaConfig(**SIZES), 1)
        randomize(classifier, self.seed, scale=0.1)
        return RewardModel(classifier)

    def runs(self, folder: Path) -> list[TrainingRun]:
        pairs = self.pairs()
        validation = Validation(pairs[N_TRAIN:], None, tokens_per_pack=2048)
        return [
            TrainingRun(
                self.model,
                pairs[:N_TRAIN],
                RECIPE,
                objective="bradley_terry",
                learning_rate=rate,
                seed=self.seed,
                folder=folder / str(rate),
                plan=plan(tokens_per_pack=2048),
                evaluate=validation,
            )
            for rate in RECIPE.learning_rates
        ]


def searched(panel: Panel, settings: RateSearch, folder: Path) -> SearchOutcome:
    return search(panel.runs(folder), settings, RECIPE.checkpoint_every)


def rates_agree(full: SearchOutcome, halved: SearchOutcome) -> bool:
    """An exact prefix: what both searches evaluated, they evaluated alike."""
    pairs = zip(full.trials, halved.trials, strict=True)
    return all(
        list(one.trial.evaluations())[: len(other.trial.evaluations())] == other.trial.evaluations()
        for one, other in pairs
    )


def accuracy(outcome: SearchOutcome) -> float:
    assert outcome.choice is not None
    return outcome.choice.evaluation.accuracy


def spread(outcome: SearchOutcome) -> Sequence[float]:
    """Best accuracy of every rate."""
    return [max(evaluation.accuracy for evaluation in one.trial.evaluations()) for one in outcome.trials]


def test_successive_halving(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At most 35 % of the steps, and within one standard error of the grid's best on at least 9 of 10 panels."""
    n_good, shares = 0, []
    with capsys.disabled():
        print()
        for seed in range(FIRST_SEED, FIRST_SEED + N_PANELS):
            full = searched(Panel(seed), RateSearch(), tmp_path / f"{seed}-full")
            halved = searched(Panel(seed), HALVING, tmp_path / f"{seed}-halved")
            assert rates_agree(full, halved)
            best, found = accuracy(full), accuracy(halved)
            error = (best * (1 - best) / N_VALIDATION) ** 0.5
            n_good += found >= best - error
            shares.append(halved.n_steps / full.n_steps)
            print(
                f"panel {seed}: full grid {best:.3f} (rates from {min(spread(full)):.3f}), standard error {error:.3f}; "
                f"halving {found:.3f} with {shares[-1]:.1%} of the steps"
            )
        print(f"within one standard error: {n_good} of {N_PANELS}; steps: {max(shares):.1%} at most")
    assert max(shares) <= MOST_STEPS
    assert n_good >= LEAST_GOOD
