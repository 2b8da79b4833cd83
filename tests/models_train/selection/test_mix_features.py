"""Features of the pre-training mix against placebos: tried beside the ordinary predictors, never in them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models_train.selection import performance as science
from models_train.selection.performance import PerformanceSettings, mix_verdict, performance
from models_train.selection.placebos import mix_trial
from models_train.selection.predictors import ELASTIC_NET, WITH_MIX
from tests.support.selection_frames import make_design

pytestmark = pytest.mark.slow

Frames = tuple[pl.DataFrame, pl.DataFrame]
N_PLACEBOS = 20


def with_mix(frames: Frames, informative: bool) -> Frames:
    """Two features of the mix, which hold what the benchmarks do not say of the score, or nothing."""
    features, results = frames
    models = features.select("study_id", "model_id", "publisher", "family").unique(maintain_order=True)
    rng = np.random.default_rng(3)
    secret = rng.normal(size=models.height)
    scores = models.join(results, on="model_id")["score"].to_numpy() + 6 * secret
    columns = {
        "mix_book": secret if informative else rng.normal(size=models.height),
        "mix_github": rng.normal(size=models.height),
    }
    added = [
        models.with_columns(feature=pl.lit(name), value=pl.Series(values), feature_kind=pl.lit("mix"))
        for name, values in columns.items()
    ]
    return pl.concat([features, *added], how="diagonal"), results.with_columns(score=pl.Series(scores))


@pytest.mark.parametrize("informative", [True, False], ids=["informative", "noise"])
def test_the_mix_beats_its_placebos_only_where_it_tells_something(small: Frames, informative: bool) -> None:
    design = make_design(*with_mix(small, informative))
    trial = mix_trial(design, n_placebos=N_PLACEBOS)
    assert trial is not None and trial.placebo_errors.shape == (N_PLACEBOS, 1)
    assert trial.placebo_errors.std() > 0, "every placebo is another draw"
    error = np.abs(trial.predictions[0] - design.targets[:, 0]).mean()
    assert (error < np.quantile(trial.placebo_errors, 0.05)) == informative


def test_placebos_are_constant_within_a_family_and_reproducible(small: Frames) -> None:
    design = make_design(*with_mix(small, True))
    first, again = (mix_trial(design, seed=5, n_placebos=2) for _ in range(2))
    assert first is not None and again is not None
    np.testing.assert_array_equal(first.placebo_errors, again.placebo_errors)
    assert mix_trial(make_design(*small)) is None


def test_the_rows_of_a_study_with_a_mix(small: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mix changes no row of the other predictors; the rows about it are beside theirs."""
    few = lambda *arguments: mix_trial(*arguments, n_placebos=N_PLACEBOS)  # noqa: E731
    monkeypatch.setattr(science, "mix_trial", few)
    settings = PerformanceSettings(n_bootstraps=5)
    features, results = with_mix(small, True)
    found = performance(features, results, ["regression"], ["score"], settings)
    sentence = mix_verdict(found.comparisons, "regression", "score")
    assert sentence.startswith("The pre-training mix improves the prediction: ")
    references = found.comparisons.filter(predictor=WITH_MIX)["reference"].to_list()
    assert references == ["log10_params", "mean", ELASTIC_NET, "placebo"]
    plain = performance(features.filter(pl.col("feature_kind") != "mix"), results, ["regression"], ["score"], settings)
    assert found.predictions.filter(pl.col("predictor") != WITH_MIX).equals(plain.predictions)
    assert mix_verdict(plain.comparisons, "regression", "score") == ""


def test_the_means_of_the_paper_are_no_features(small: Frames) -> None:
    features, results = small
    extra = features.filter(pl.col("feature") == "benchmark_1").with_columns(
        feature=pl.lit("mix_paper_book"), feature_kind=pl.lit("mix_paper")
    )
    assert make_design(pl.concat([features, extra]), results).table.names == make_design(features, results).table.names
