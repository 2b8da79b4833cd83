"""The delete-one-publisher jackknife against SciPy's t test, a hand-worked case and a simulation."""

import numpy as np
import pytest
from scipy import stats

from models_train.selection.jackknife import jackknife_t, mean_over_clusters, over_clusters
from tests.support.selection_frames import PUBLISHER_SIZES


def test_one_row_per_cluster_is_the_one_sample_t_test() -> None:
    values = np.array([1.2, -0.4, 2.2, 0.3, 1.9, 0.8])
    found = mean_over_clusters(values, np.arange(values.size))
    expected = stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-12)


def test_unequal_clusters_by_hand() -> None:
    found = mean_over_clusters(np.array([2.0, 2.0, 5.0, 7.0]), np.array(["a", "a", "b", "b"]))
    assert found.estimate == 4
    # Means without a, b: 6, 2; their mean 4; variance (1 / 2) (4 + 4) = 4.
    assert found.standard_error == pytest.approx(2)
    three = mean_over_clusters(np.array([0.0, 0.0, 3.0, 9.0]), np.array(["a", "a", "b", "c"]))
    # Means without a, b, c: 6, 3, 1; their mean 10 / 3; variance (2 / 3) (64 + 1 + 49) / 9 = 76 / 9.
    assert three.standard_error == pytest.approx((76 / 9) ** 0.5)


def test_what_cannot_be_told_is_nan() -> None:
    one = mean_over_clusters(np.array([1.0, 2.0]), np.array(["a", "a"]))
    assert one.estimate == 1.5
    assert np.isnan([one.standard_error, one.low, one.high, one.p_value]).all()
    undefined = over_clusters(lambda rows: float("nan") if rows.size < 3 else 1.0, np.array(["a", "b", "b"]))
    assert np.isnan(undefined.low)


def test_equal_figures_have_no_error() -> None:
    assert jackknife_t(0.0, np.zeros(4)).p_value == 1
    assert jackknife_t(1.0, np.ones(4)).p_value == 0


@pytest.mark.parametrize("share_of_publisher", [0.0, 0.5])
def test_coverage_with_the_real_publisher_sizes(share_of_publisher: float) -> None:
    # Values of a publisher share a normal effect; the mean over models is 0.
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(len(PUBLISHER_SIZES)), PUBLISHER_SIZES)
    covered = 0
    for _ in range(4000):
        effects = generator.normal(size=len(PUBLISHER_SIZES))[clusters] * share_of_publisher**0.5
        found = mean_over_clusters(
            effects + generator.normal(size=clusters.size) * (1 - share_of_publisher) ** 0.5, clusters
        )
        covered += found.low <= 0 <= found.high
    assert covered / 4000 >= 0.93
