"""Coverage of a feature against size alone: the difference, and its bootstrap over publishers written out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models_train.selection.coverage import above_and_tied, coverage_differences, top_shares
from models_train.selection.scores import coverage_at_k


def pairs(columns: np.ndarray, publishers: list[str]) -> pl.DataFrame:
    n = len(publishers)
    return pl.DataFrame(
        {
            **{name: [name] * n for name in ("study_id", "objective", "target", "feature")},
            "model_id": [f"m{i:02}" for i in range(n)],
            "publisher": publishers,
            "feature_value": columns[0],
            "log10_params": columns[1],
            "target_value": columns[2],
        }
    )


def test_the_difference_and_its_interval_are_those_of_drawing_publishers_one_by_one() -> None:
    rng = np.random.default_rng(1)
    target = rng.normal(size=30)
    columns = np.stack([target + 0.3 * rng.normal(size=30), np.round(target + rng.normal(size=30)), target])
    publishers = [name for name, n in zip("abcdefg", (8, 6, 5, 4, 3, 2, 2), strict=True) for _ in range(n)]
    (row,) = coverage_differences(pairs(columns, publishers), [10], resamples=4000).to_dicts()

    def difference(rows: np.ndarray) -> float:
        x, size, y = columns[:, rows]
        return coverage_at_k(x, y, 10) - coverage_at_k(size, y, 10)

    assert row["size_difference"] == pytest.approx(difference(np.arange(30)))
    drawn = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(np.array(publishers) == p) for p in rng.choice(list("abcdefg"), 7)])
        drawn += [difference(rows)] if rows.size >= 10 else []
    ends = (row["size_difference_low"], row["size_difference_high"])
    assert ends == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.05)


def test_shares_of_a_draw_are_those_of_its_models_written_out() -> None:
    values, weights = np.array([5.0, 5, 3, 1]), np.array([[1, 1, 1, 1], [0, 2, 0, 3]])
    assert top_shares(*above_and_tied(values, weights), 3).tolist() == [[1, 1, 1, 0], [1, 1, 1, pytest.approx(1 / 3)]]


def test_one_publisher_and_too_few_models_have_no_interval() -> None:
    columns = np.arange(18.0).reshape(3, 6)
    for publishers, k in ((["a"] * 6, 2), (list("aabbcd"), 6)):
        (row,) = coverage_differences(pairs(columns, publishers), [k]).to_dicts()
        assert (row["size_difference"], row["size_difference_low"], row["size_difference_high"]) == (0, None, None)
