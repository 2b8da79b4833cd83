"""The sentence on trust follows the paired differences."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models_train.selection.performance import compare, mix_verdict, verdict


def made(errors: dict[str, float]) -> pl.DataFrame:
    """Predictions of 12 models from 4 publishers that miss by the given number of points, slightly spread."""
    observed = np.linspace(60, 90, 12)
    spread = np.tile([0.9, 1.0, 1.1], 4)
    return pl.concat(
        pl.DataFrame(
            {
                "model_id": [f"m{i:02d}" for i in range(12)],
                "objective": "regression",
                "target": "score",
                "protocol": "leave_publisher_out",
                "predictor": name,
                "predicted": observed + error * spread,
                "observed": observed,
                "fold": [f"p{i // 3}" for i in range(12)],
            }
        )
        for name, error in errors.items()
    )


def test_differences_are_paired() -> None:
    table = compare(made({"log10_params": 4.0, "selected": 3.0, "mean": 6.0}))
    assert table["predictor"].to_list() == ["mean", "selected"]
    assert table["reference"].to_list() == ["log10_params", "log10_params"]
    row = table.row(1, named=True)
    assert (row["n"], row["mae"], row["reference_mae"]) == (12, pytest.approx(3.0), pytest.approx(4.0))
    assert row["difference"] == pytest.approx(-1.0)
    assert row["difference_low"] == pytest.approx(-1.0)
    assert row["difference_high"] == pytest.approx(-1.0)
    assert table["verdict"].to_list() == ["worse", "better"]


@pytest.mark.parametrize(
    ("errors", "start"),
    [
        ({"log10_params": 4.0, "selected": 3.0, "mean": 6.0}, "Size alone is beaten: "),
        ({"log10_params": 4.0, "selected": 5.0, "mean": 6.0}, "Nothing reliably beats size alone: "),
        ({"log10_params": 4.0, "selected": 5.0, "elastic_net": 3.0}, "Nested selection does not reliably beat"),
    ],
)
def test_the_sentence(errors: dict[str, float], start: str) -> None:
    sentence = verdict(compare(made(errors)), "regression", "score")
    assert sentence.startswith(start)
    assert f"{errors['selected']:.1f} points with nested selection and 4.0 with log10 size" in sentence


def test_without_a_reference_nothing_is_compared() -> None:
    assert compare(made({"mean": 1.0, "selected": 2.0})).is_empty()


def test_an_interval_around_zero_decides_nothing() -> None:
    frame = made({"log10_params": 4.0, "selected": 4.0})
    other_way = pl.col("fold").is_in(["p0", "p1"]) & (pl.col("predictor") == "selected")
    uneven = frame.with_columns(predicted=pl.when(other_way).then(pl.col("observed") + 3).otherwise("predicted") + 0.5)
    (row,) = compare(uneven).to_dicts()
    assert row["difference_low"] < row["difference"] < 0 <= row["difference_high"]
    assert row["verdict"] == "undecided"


MIX, PLACEBO = "elastic_net_with_mix", "elastic_net_with_placebo"


@pytest.mark.parametrize(
    ("without", "mix", "placebo", "start"),
    [
        (3.0, 2.0, 3.0, "The pre-training mix improves the prediction: "),
        (3.0, 2.0, 1.0, "The pre-training mix improves the prediction no more than a placebo does: "),
        (2.0, 3.0, 4.0, "The pre-training mix beats a placebo but does not"),
        (2.0, 3.0, 2.0, "The pre-training mix does not reliably improve"),
    ],
)
def test_the_mix_has_to_beat_both(without: float, mix: float, placebo: float, start: str) -> None:
    sentence = mix_verdict(compare(made({"elastic_net": without, MIX: mix, PLACEBO: placebo})), "regression", "score")
    assert sentence.startswith(start)
    assert f"is {mix:.1f} points with it" in sentence


def test_a_placebo_does_not_count_against_size() -> None:
    sentence = verdict(compare(made({"log10_params": 4.0, "selected": 5.0, PLACEBO: 1.0})), "regression", "score")
    assert sentence.startswith("Nothing reliably beats size alone: ")
