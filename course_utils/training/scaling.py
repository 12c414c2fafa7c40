"""Scaling laws: a power law fitted to losses of small models, how sure its prediction is, and how to spend a budget.

Arrays and numbers only: no models, no training. Sizes are parameters N, amounts of data are tokens D, budgets are
FLOPs C = 6 N D, losses are nats per token.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from course_utils.config import require

PF_DAY = 1e15 * 86_400  # FLOPs of a day at 10^15 a second, the unit of Kaplan et al.
NUM_FLOORS = 400  # candidates that `fit_with_floor` tries


class PowerLaw(NamedTuple):
    """loss(N) = floor + factor * N ** -exponent."""

    factor: float
    exponent: float
    floor: float = 0.0

    def loss(self, sizes: ArrayLike) -> np.ndarray:
        """The losses at these sizes."""
        return self.floor + self.factor * np.asarray(sizes, dtype=float) ** -self.exponent


Fit = Callable[[np.ndarray, np.ndarray], PowerLaw]


def fit_power_law(sizes: ArrayLike, losses: ArrayLike, floor: float = 0.0) -> tuple[float, float]:
    """The factor and the exponent of `losses = floor + factor * sizes ** -exponent`, by least squares in logarithms.

    There the law is a straight line: log(loss - floor) = log(factor) - exponent * log(size).
    """
    slope, intercept = np.polyfit(np.log(sizes), np.log(np.asarray(losses) - floor), 1)
    return float(np.exp(intercept)), float(-slope)


def fit_without_floor(sizes: ArrayLike, losses: ArrayLike) -> PowerLaw:
    """The pure power law, which would fall to 0 for a large enough model. Raises ValueError for too few sizes."""
    sizes, losses = _checked(sizes, losses, num_free=2)
    return PowerLaw(*fit_power_law(sizes, losses))


def fit_with_floor(sizes: ArrayLike, losses: ArrayLike) -> PowerLaw:
    """The power law above a floor: of many floors the one whose straight line misses the log-losses least.

    The floor stands for what no size removes: the text's own surprise, and what this amount of data cannot teach.
    Raises ValueError for fewer than three sizes, which a curve of three numbers would always meet.
    """
    sizes, losses = _checked(sizes, losses, num_free=3)
    floors = losses.min() * (1 - np.geomspace(1e-3, 1, NUM_FLOORS))  # fine steps near the lowest loss; the last is 0
    above = np.log(losses[:, None] - floors)  # (n, F): all candidates at once
    slopes, intercepts = np.polyfit(np.log(sizes), above, 1)  # (F,) each
    predicted = floors + np.exp(intercepts + slopes * np.log(sizes)[:, None])  # (n, F)
    best = np.square(np.log(losses)[:, None] - np.log(predicted)).sum(0).argmin()
    return PowerLaw(float(np.exp(intercepts[best])), float(-slopes[best]), float(floors[best]))


def bootstrap_predictions(
    fit: Fit, sizes: ArrayLike, losses: ArrayLike, new_sizes: ArrayLike, *, num_resamples: int = 500, seed: int = 0
) -> np.ndarray:
    """What models of `new_sizes` (M,) may lose, (num_resamples, M): the law fitted again to losses with other luck.

    Each resample adds to the fitted law residuals drawn with replacement, fits again, and adds one more residual to
    each prediction, because a single new model has luck of its own. Residuals are widened by sqrt(n / (n - p)): a curve
    of p numbers passes closer to its n points than to the next ones. Efron and Tibshirani 1993, chapter 9.
    It knows of luck only, not of a wrong law.
    """
    sizes, losses, new_sizes = (np.asarray(values, dtype=float) for values in (sizes, losses, new_sizes))
    law, rng = fit(sizes, losses), np.random.default_rng(seed)
    num_points, num_free = len(losses), 3 if fit is fit_with_floor else 2
    require(num_points > num_free, f"an interval needs more than {num_free} losses", num_points)
    residuals = np.log(losses / law.loss(sizes)) * np.sqrt(num_points / (num_points - num_free))
    predictions = np.empty((num_resamples, len(new_sizes)))
    for row in predictions:
        refitted = fit(sizes, law.loss(sizes) * np.exp(rng.choice(residuals, num_points)))
        row[:] = refitted.loss(new_sizes) * np.exp(rng.choice(residuals, len(new_sizes)))
    return predictions


def interval(predictions: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The middle `level` of predictions (R, M): lower and upper bounds, (M,) each."""
    low, high = np.quantile(predictions, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


class LossSurface(NamedTuple):
    """loss(N, D) = floor + A / N^alpha + B / D^beta: Hoffmann et al. 2022, section 3.3, equation 2."""

    floor: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, num_parameters: ArrayLike, num_tokens: ArrayLike) -> np.ndarray:
        """Nats per token of a model of N parameters that has read D tokens."""
        N, D = (np.asarray(values, dtype=float) for values in (num_parameters, num_tokens))
        return self.floor + self.A / N**self.alpha + self.B / D**self.beta

    def compute_optimal(self, flops: float) -> tuple[float, float]:
        """The parameters and tokens with the lowest loss for C = 6 N D FLOPs (Hoffmann et al. 2022, equation 4)."""
        G = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        N = G * (flops / 6) ** (self.beta / (self.alpha + self.beta))
        return float(N), float(flops / 6 / N)


HOFFMANN = LossSurface(1.69, 406.4, 410.7, 0.34, 0.28)  # Hoffmann et al. 2022, equation 10
BESIROGLU = LossSurface(1.8172, 482.01, 2085.43, 0.3478, 0.3658)  # its figure read off and fitted: Besiroglu 2024


def chinchilla_optimal(flops: float, tokens_per_parameter: float = 20.0) -> tuple[float, float]:
    """Parameters N and tokens D that a budget should go to: D = 20 N and 6 N D = C.

    The ratio is read from Hoffmann et al. 2022, table 3, whose sizes and tokens grow alike.
    """
    num_parameters = (flops / (6 * tokens_per_parameter)) ** 0.5
    return num_parameters, tokens_per_parameter * num_parameters


def kaplan_optimal(flops: float) -> tuple[float, float]:
    """The same question answered two years earlier: N = 1.3e9 * (C in PF-days)^0.73, and the tokens that C pays for.

    Kaplan et al. 2020, table 6; N leaves out the embeddings, and C is the least compute for a loss.
    """
    num_parameters = 1.3e9 * (flops / PF_DAY) ** 0.73
    return num_parameters, flops / (6 * num_parameters)


def training_seconds(flops: float, peak_flops: float, share_of_peak: float, num_devices: int = 1) -> float:
    """How long devices take that each do `peak_flops` a second, of which training uses a share."""
    require(0 < share_of_peak <= 1, "the share of the peak lies above 0 and is at most 1", share_of_peak)
    return flops / (peak_flops * share_of_peak * num_devices)


def _checked(sizes: ArrayLike, losses: ArrayLike, num_free: int) -> tuple[np.ndarray, np.ndarray]:
    sizes, losses = np.asarray(sizes, dtype=float), np.asarray(losses, dtype=float)
    require(sizes.ndim == 1 and sizes.shape == losses.shape, "sizes and losses are two rows of equal length",
            (sizes.shape, losses.shape))  # fmt: skip
    all_positive = bool((sizes > 0).all() and (losses > 0).all())
    require(all_positive, "sizes and losses are above 0, since their logarithms are fitted", (sizes, losses))
    num_sizes = len(np.unique(sizes))
    require(num_sizes >= num_free, f"a law of {num_free} numbers needs at least {num_free} different sizes", num_sizes)
    return sizes, losses
