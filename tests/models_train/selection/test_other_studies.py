"""Rows of other studies: what they add, the effect of their recipe, and that none reaches a fold it must not reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models_train.selection.chance import held_out
from models_train.selection.design import Design, design, target_values
from models_train.selection.elastic_net import LINES
from models_train.selection.features import feature_table
from models_train.selection.leave_out import leave_out
from models_train.selection.other_studies import (
    OtherModel,
    OtherStudy,
    jackknifed_effects,
    recipe_effects,
    row_name,
    with_other_studies,
)
from tests.support.selection_frames import simulated

Frames = tuple[pl.DataFrame, pl.DataFrame]
PUBLISHERS = (4, 4, 4, 4, 4)
OFFSET = 5.0


def frames(seed: int) -> Frames:
    return simulated(seed, PUBLISHERS, n_benchmarks=4, noise=2.0)


def another(seed: int, related: bool = True) -> OtherStudy:
    """A second study of other models: the same law with an offset, or results that follow nothing."""
    features, results = frames(seed)
    name = pl.concat_str(pl.lit("other-"), "model_id").alias("model_id")
    score = pl.col("score") + OFFSET
    if not related:
        score = pl.Series("score", np.random.default_rng(seed).normal(70, 6, results.height))
    return OtherStudy("second", features.with_columns(name), results.with_columns(name, score=score))


def joined(own: Frames, other: OtherStudy | None) -> Design:
    """The design of the own study with the rows of another one."""
    values = target_values(own[1], "regression", "score")
    theirs = {} if other is None else target_values(other.results, "regression", "score")
    models = {row_name("second", name): OtherModel("second", name, name) for name in theirs}
    features, _ = with_other_studies(own[0], None, [] if other is None else [other])
    everything = values | {row_name("second", name): value for name, value in theirs.items()}
    table = feature_table(features, values)
    targets = np.array([[everything.get(model, np.nan)] for model in table.model_ids])
    return design(table, targets, others=models)


def error(made: Design) -> float:
    return float(np.abs(held_out(made)["average"][0] - made.targets[:, 0]).mean())


def test_a_second_study_with_an_offset_helps_and_an_unrelated_one_does_little_harm() -> None:
    found = []
    for seed in range(2):
        own = frames(seed)
        others = (None, another(seed + 100), another(seed + 100, related=False))
        found.append([error(joined(own, other)) for other in others])
    alone, related, unrelated = np.mean(found, axis=0)
    assert related < alone - 0.1
    assert unrelated < alone + 0.35


def test_the_effect_of_the_recipe_is_found_and_its_interval_covers() -> None:
    covered, estimates = [], []
    for seed in range(25):
        generator = np.random.default_rng(seed)
        studies, clusters = np.repeat([-1, 0], 40), np.tile(np.repeat(np.arange(10), 4), 2)
        features = generator.standard_normal((80, 6)) + 0.7 * generator.standard_normal((10, 6))[clusters]
        common = generator.standard_normal(10)[clusters]
        score = 60 + 3 * features[:, 0] - 2 * features[:, 1] + common + 2 * generator.standard_normal(80)
        target = score + OFFSET * (studies == 0)
        effect = jackknifed_effects(features, target, studies, clusters, 1)[0]
        covered.append(effect.low <= OFFSET <= effect.high)
        estimates.append(recipe_effects(features, target[:, None], studies, clusters, 1).shrunk[0, 0])
    assert np.mean(covered) >= 0.84
    assert np.mean(estimates) == pytest.approx(OFFSET, abs=0.4)


def test_without_features_that_tell_anything_the_effect_is_the_difference_of_means_shrunk() -> None:
    studies, clusters = np.repeat([-1, 0], 4), np.array([0, 0, 1, 1, 0, 0, 1, 1])
    target = np.array([[1.0], [3.0], [2.0], [4.0], [5.0], [7.0], [8.0], [10.0]])
    effects = recipe_effects(np.zeros((8, 1)), target, studies, clusters, 2)
    # Means 2.5 and 7.5. Residuals of each publisher, summed: own -1 and 1, theirs -3 and 3, so that a publisher's part
    # of the difference is -3/4 + 1/4 and 3/4 - 1/4; s^2 = 2/1 x (0.5^2 + 0.5^2) = 1.
    assert effects.estimate[:, 0] == pytest.approx([5.0, 0.0])
    assert effects.error[:, 0] == pytest.approx([1.0, np.inf])
    assert effects.shrunk[:, 0] == pytest.approx([5 * 24 / 25, 0.0])


def test_a_publisher_that_is_left_out_informs_its_fold_through_no_study() -> None:
    own = frames(3)
    made = joined(own, another(103))
    assert made.learned is not None
    mine = made.learned.folds[:, 2]
    assert mine.sum() == PUBLISHERS[2]
    targets = made.learned.targets.copy()
    targets[mine] = np.random.default_rng(0).uniform(0, 100, (mine.sum(), 1))
    before, after = held_out(made), held_out(replace(made, learned=replace(made.learned, targets=targets)))
    rows = made.folds == 2
    for name, values in before.items():
        np.testing.assert_array_equal(values[:, rows], after[name][:, rows], err_msg=name)
    assert not np.allclose(before["log10_params"][:, ~rows], after["log10_params"][:, ~rows])


def test_the_same_base_model_of_another_publisher_is_left_out_with_its_own() -> None:
    own, other = frames(3), another(103)
    copied = pl.col("model_id").replace({"other-model-00": "model-19"})
    renamed = pl.lit("someone else").alias("publisher")
    features = other.features.with_columns(copied, renamed)
    made = joined(own, replace(other, features=features, results=other.results.with_columns(copied)))
    assert made.learned is not None
    names = [made.model_ids[made.n_observed + row] for row in np.flatnonzero(made.learned.folds[:, 4])]
    assert "second: model-19" in names and made.learned.folds[:, :4].sum() == 0
    assert made.n_trained == 40


def test_the_fits_of_the_quick_chance_are_those_of_the_whole_protocol() -> None:
    made = joined(frames(1), another(101))
    fits, quick = leave_out(made, settings=LINES, deepest=2), held_out(made)
    for fold in range(5):
        rows = np.flatnonzero(made.folds == fold)
        for name in ("log10_params", "pc_ridge", "mean"):
            expected = fits.predict(name, frozenset({fold}), 0)[rows]
            np.testing.assert_allclose(quick[name][0, rows], expected, atol=1e-9)


def test_without_other_studies_nothing_joins() -> None:
    own = frames(2)
    made = joined(own, None)
    assert made.learned is None and made.n_trained == made.n_observed == 20
    assert with_other_studies(*own, []) == own
    train = made.training_rows({1}, with_learned=True)
    np.testing.assert_array_equal(train, np.flatnonzero(made.folds != 1))
    np.testing.assert_array_equal(made.targets_for(train, made.matrix_for(train)), made.targets[train])


def test_values_of_other_studies_are_those_of_the_own_main_pipeline_or_need_an_offset() -> None:
    def rows(study: str, *values: tuple[str, str, float, bool]) -> pl.DataFrame:
        names = ["model_id", "pipeline", "measured_value", "is_main_pipeline"]
        frame = pl.DataFrame(list(values), schema=names, orient="row")
        return frame.with_columns(
            study_id=pl.lit(study), feature=pl.lit("mmlu"), feature_kind=pl.lit("benchmark"), value="measured_value"
        )

    own = rows("own", ("a", "P1", 50.0, True))
    theirs = rows("second", ("b", "P2", 60.0, True), ("c", "P2", 61.0, True))
    columns = ["model_id", "feature", "pipeline", "measured_value"]
    values = pl.concat([theirs, rows("second", ("c", "P1", 52.0, False))]).select(columns)
    features, everything = with_other_studies(
        own, own.select(columns), [OtherStudy("second", theirs, pl.DataFrame(), values)]
    )
    found = features.select("model_id", "pipeline", "value", "is_main_pipeline").rows()
    assert found == [
        ("a", "P1", 50.0, True),
        ("second: b", "P2", 60.0, False),
        ("second: c", "P1", 52.0, True),
    ]
    assert everything is not None and everything.height == 4
