"""Metrics against scikit-learn, brute force and closed forms."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score

from course_utils.training import metrics


@pytest.fixture(scope="module")
def predictions():
    rng = np.random.default_rng(0)
    labels = rng.choice(4, size=200, p=[0.6, 0.2, 0.15, 0.05])
    return labels, np.where(rng.random(200) < 0.6, labels, rng.integers(0, 4, size=200))


def test_confusion_and_macro_f1_equal_scikit_learn(predictions):
    labels, predicted = predictions
    np.testing.assert_array_equal(metrics.confusion_counts(labels, predicted, 4), confusion_matrix(labels, predicted))
    assert metrics.macro_f1(labels, predicted, 4) == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_a_class_that_never_occurs_counts_as_zero():
    assert metrics.macro_f1([0, 0, 1], [0, 0, 1], 3) == pytest.approx(2 / 3)


def test_the_bootstrap_interval_of_a_mean_has_the_width_of_theory():
    values = np.random.default_rng(1).random(1_000)
    low, high = metrics.bootstrap_interval(values, statistic=np.mean)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(1_000), rel=0.1)


def test_paired_columns_stay_together():
    better = np.random.default_rng(2).random(300)
    interval = metrics.bootstrap_interval(better, better - 0.5, statistic=lambda a, b: float(np.mean(a - b)))
    assert interval == pytest.approx((0.5, 0.5))


def test_calibration_error_by_hand():
    # Two bins: (0.6, 0.7] holds three predictions, two right; (0.9, 1] holds one, wrong.
    confidence, correct = [0.65, 0.7, 0.66, 1.0], [1, 1, 0, 0]
    by_hand = 3 / 4 * abs(2 / 3 - 0.67) + 1 / 4 * 1.0
    assert metrics.expected_calibration_error(confidence, correct) == pytest.approx(by_hand)
    bins = metrics.calibration_bins(confidence, correct)
    assert bins.counts.tolist() == [0] * 6 + [3, 0, 0, 1] and np.isnan(bins.accuracy[0])


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_fitted_temperature_undoes_a_known_one(temperature):
    generator = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(20_000, 3, generator=generator)
    labels = torch.multinomial(honest.softmax(-1), 1, generator=generator).squeeze(-1)
    assert metrics.fit_temperature(honest * temperature, labels) == pytest.approx(temperature, rel=0.05)
