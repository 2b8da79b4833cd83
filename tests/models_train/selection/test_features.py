"""Feature table, design and results: what enters, what is set aside and why, what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models_train.errors import UserError
from models_train.selection.design import connected_publishers, design, publisher_folds, target_values
from models_train.selection.features import TooLittleData, feature_table
from tests.support.selection_frames import AGGREGATES, make_design

Frames = tuple[pl.DataFrame, pl.DataFrame]


def test_published_features_that_enough_models_have(published: Frames) -> None:
    features, results = published
    table = feature_table(features, results["model_id"].unique(), aggregates=AGGREGATES)
    assert table.values.shape == (40, len(table.names))
    assert {"leaderboard_ifeval", "mmlu", "params_b", "log10_params", "tokens_t"} <= set(table.names)
    reasons = dict(table.excluded.select("feature", "reason").iter_rows())
    assert reasons["HumanEval+"].startswith("8 of 40 models")
    assert reasons["leaderboard v2"] == "an average of other benchmarks"
    row, column = table.model_ids.index("gemma-2-9b-it"), table.names.index("params_b")
    assert table.values[row, column] == 9.24
    stricter = feature_table(features, results["model_id"].unique(), min_share=0.9)
    assert np.isfinite(stricter.values).all()


def test_log_size_is_made_where_it_is_missing(small: Frames) -> None:
    table = feature_table(small[0], small[1]["model_id"])
    size, log_size = (table.values[:, table.names.index(name)] for name in ("params_b", "log10_params"))
    np.testing.assert_allclose(log_size, np.log10(size))


def test_constant_and_empty_features_are_set_aside_with_the_reason(small: Frames) -> None:
    features, results = small
    some = features.filter(pl.col("feature") == "benchmark_1")
    constant = some.with_columns(feature=pl.lit("constant"), value=pl.lit(5.0))
    empty = some.with_columns(feature=pl.lit("empty"), value=pl.lit(None, dtype=pl.Float64))
    rare = some.head(2).with_columns(feature=pl.lit("rare"))
    only_candidate = some.head(1).with_columns(model_id=pl.lit("new"), feature=pl.lit("theirs"))
    table = feature_table(pl.concat([features, constant, empty, rare, only_candidate]), results["model_id"])
    reasons = dict(table.excluded.select("feature", "reason").iter_rows())
    assert reasons["constant"] == "constant: every model has 5"
    assert reasons["rare"].startswith("2 of 20 models")
    assert reasons["theirs"] == "no model with a reward model has a value"
    assert reasons["empty"] == "no model with a reward model has a value"
    assert not set(reasons) & set(table.names)


def broken_frames(small: Frames) -> dict[str, tuple[pl.DataFrame, str]]:
    features = small[0]
    is_first = (pl.col("model_id") == "model-00") & (pl.col("feature") == "benchmark_1")
    nan = pl.when(is_first).then(float("nan")).otherwise(pl.col("value"))
    nobody = pl.when(pl.col("model_id") == "model-03").then(None).otherwise(pl.col("publisher"))
    return {
        "nan": (features.with_columns(value=nan), "benchmark_1 of model model-00 is not a finite number"),
        "twice": (pl.concat([features, features.head(1)]), "model-00 has benchmark_1 more than once"),
        "publisher": (features.with_columns(publisher=nobody), "no publisher for model-03"),
        "studies": (pl.concat([features, features.with_columns(study_id=pl.lit("b"))]), "must hold one study"),
        "columns": (features.drop("family", "value"), "lacks the columns family, value"),
        "few": (features.filter(pl.col("model_id") < "model-07"), "7 models have both"),
        "no benchmark": (features.filter(pl.col("feature_kind") == "training"), "no benchmark can be used"),
        "no size": (features.filter(pl.col("feature") != "params_b"), "the size of the models"),
    }


@pytest.mark.parametrize("case", ["nan", "twice", "publisher", "studies", "columns", "few", "no benchmark", "no size"])
def test_broken_frames_are_refused_by_name(case: str, small: Frames) -> None:
    frame, message = broken_frames(small)[case]
    with pytest.raises(UserError, match=message) as raised:
        feature_table(frame, small[1]["model_id"])
    assert isinstance(raised.value, TooLittleData) == (case in {"few", "no benchmark", "no size"})


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("inf"), "inf"), (140.0, "140.0")])
def test_a_target_that_is_no_percentage_is_refused(value: float, shown: str, small: Frames) -> None:
    changed = pl.when(pl.col("model_id") == "model-04").then(value).otherwise(pl.col("score"))
    with pytest.raises(UserError, match=f"score of model model-04 is {shown}"):
        target_values(small[1].with_columns(score=changed), "regression", "score")


def test_a_model_without_a_result_is_a_candidate(small: Frames) -> None:
    features, results = small
    hidden = pl.when(pl.col("model_id") == "model-04").then(None).otherwise(pl.col("score"))
    made = make_design(features, results.with_columns(score=hidden))
    assert made.n_observed == 19
    assert made.model_ids[19:] == ("model-04",)


def test_one_publisher_is_not_enough(small: Frames) -> None:
    features, results = small
    with pytest.raises(TooLittleData, match=r"1 publisher\(s\) \(alone\)"):
        make_design(features.with_columns(publisher=pl.lit("alone")), results)


def test_a_target_that_does_not_vary_is_too_little(small: Frames) -> None:
    with pytest.raises(TooLittleData, match="nothing to predict"):
        make_design(small[0], small[1].with_columns(score=pl.lit(70.0)))


def test_nan_in_the_targets_of_a_design_is_refused(small: Frames) -> None:
    table = feature_table(small[0], small[1]["model_id"])
    with pytest.raises(UserError, match="model-00 counts as observed"):
        design(table, np.where(np.arange(20) == 0, np.nan, 70.0 + np.arange(20))[:, None])


def test_many_publishers_share_folds_but_stay_whole() -> None:
    publishers = [f"p{i:02d}" for i in range(20) for _ in range(1 + i % 3)]
    folds, names = publisher_folds(publishers, max_folds=6)
    assert len(names) == 6
    assert sorted(name for group in names for name in group.split(" + ")) == sorted(set(publishers))
    for publisher in set(publishers):
        assert len({fold for fold, name in zip(folds, publishers, strict=True) if name == publisher}) == 1
    assert np.ptp(np.bincount(folds)) <= 2


def test_publishers_with_a_common_ancestor_are_left_out_together() -> None:
    publishers = ["Meta", "Ai2", "Google", "Nous", "Meta", "Nous"]
    lineages = ["Llama-3.1-8B", "Llama-3.1-8B", "gemma", "Llama-3.2-1B", "Llama-3.2-1B", "Yi"]
    found = connected_publishers(publishers, lineages)
    together = "Ai2 + Meta + Nous"
    assert found == [together, together, "Google", together, together, together]
    assert connected_publishers(publishers, list("abcdef")) == publishers
