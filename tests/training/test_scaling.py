"""Fits that find the law they were given, intervals that widen and cover, and budgets that are spent."""

import numpy as np
import pytest

from course_utils.training import scaling

SIZES = np.geomspace(2e4, 8e5, 5)
FLOORED = scaling.PowerLaw(30.0, 0.3, 3.0)


def test_a_law_without_noise_is_found():
    losses = scaling.PowerLaw(9.0, 0.2).loss(SIZES)
    law = scaling.fit_without_floor(SIZES, losses)
    assert law == pytest.approx((9.0, 0.2, 0.0))


def test_the_floor_is_found_nearly():
    law = scaling.fit_with_floor(SIZES, FLOORED.loss(SIZES))
    assert law.floor == pytest.approx(3.0, abs=0.03)
    assert law.loss(4e6) == pytest.approx(FLOORED.loss(4e6), rel=2e-3)


def test_without_a_floor_a_floored_law_is_predicted_too_low():
    law = scaling.fit_without_floor(SIZES, FLOORED.loss(SIZES))
    assert law.exponent < 0.3 and law.loss(1e8) < FLOORED.loss(1e8)


def test_a_pure_law_needs_no_floor():
    law = scaling.fit_with_floor(SIZES, scaling.PowerLaw(9.0, 0.2).loss(SIZES))
    assert law.floor == pytest.approx(0.0, abs=1e-9)


def test_intervals_cover_what_a_new_model_loses():
    rng, truth, hits = np.random.default_rng(0), scaling.PowerLaw(9.0, 0.1), 0
    for _ in range(60):
        twice = np.tile(SIZES, 2)
        losses = truth.loss(twice) * np.exp(rng.normal(0, 0.01, 10))
        draws = scaling.bootstrap_predictions(scaling.fit_without_floor, twice, losses, [4e6], num_resamples=200)
        low, high = scaling.interval(draws)
        hits += low[0] <= truth.loss(4e6) * np.exp(rng.normal(0, 0.01)) <= high[0]
    assert 50 <= hits < 60


def test_intervals_widen_away_from_the_points():
    losses = FLOORED.loss(SIZES) * np.exp([0.01, -0.01, 0.005, 0.01, -0.01])
    draws = scaling.bootstrap_predictions(scaling.fit_with_floor, SIZES, losses, [1e5, 1e8], num_resamples=200)
    low, high = scaling.interval(draws)
    assert high[1] - low[1] > high[0] - low[0]


@pytest.mark.parametrize(
    ("sizes", "losses", "fit", "message"),
    [
        ([1e4, 1e5], [4.0, 3.0], scaling.fit_with_floor, "at least 3 different sizes; got 2"),
        ([1e4, 1e4], [4.0, 3.0], scaling.fit_without_floor, "at least 2 different sizes; got 1"),
        ([1e4, 1e5], [4.0], scaling.fit_without_floor, "two rows of equal length"),
        ([1e4, 0.0], [4.0, 3.0], scaling.fit_without_floor, "above 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(sizes, losses, fit, message):
    with pytest.raises(ValueError, match=message):
        fit(sizes, losses)


def test_three_losses_give_a_floored_law_no_interval():
    with pytest.raises(ValueError, match="more than 3 losses"):
        scaling.bootstrap_predictions(scaling.fit_with_floor, SIZES[:3], FLOORED.loss(SIZES[:3]), [1e6])


@pytest.mark.parametrize("surface", [scaling.HOFFMANN, scaling.BESIROGLU])
@pytest.mark.parametrize("flops", [1e18, 3.14e23])
def test_the_optimum_of_the_surface_is_one(surface, flops):
    N, D = surface.compute_optimal(flops)
    assert pytest.approx(flops) == 6 * N * D
    assert all(surface.loss(N, D) < surface.loss(N * k, D / k) for k in (0.9, 1.1))


def test_chinchilla_is_its_own_optimum():
    N, D = scaling.chinchilla_optimal(5.88e23)
    assert pytest.approx((70e9, 1.4e12)) == (N, D)


def test_kaplan_spends_the_budget():
    N, D = scaling.kaplan_optimal(scaling.PF_DAY)
    assert pytest.approx(1.3e9) == N and pytest.approx(scaling.PF_DAY) == 6 * N * D


def test_seconds_shrink_with_devices_and_with_the_share_of_the_peak():
    one = scaling.training_seconds(1e18, 1e12, 0.5)
    assert one == pytest.approx(2e6) and scaling.training_seconds(1e18, 1e12, 0.25, 4) == pytest.approx(one / 2)
    with pytest.raises(ValueError, match="share of the peak"):
        scaling.training_seconds(1e18, 1e12, 40)
