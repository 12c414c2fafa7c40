"""Metrics of classifiers from arrays: accuracy, macro-F1, intervals, calibration. No models and no batches here.

N examples, C classes, labels and predictions (N,), logits (N, C)
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

NUM_BINS = 10
NUM_RESAMPLES = 2_000


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """The share of predictions that equal their label."""
    return float(np.mean(np.asarray(labels) == np.asarray(predictions)))


def confusion_counts(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> np.ndarray:
    """How often each class (row) was predicted as each class (column): integers (C, C)."""
    cells = np.asarray(labels) * num_classes + np.asarray(predictions)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def macro_f1(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> float:
    """The plain mean of the classes' F1 scores: small classes count as much as large ones.

    F1 is 2 TP / (2 TP + FP + FN); a class that occurs neither in the labels nor in the predictions counts as 0.
    """
    counts = confusion_counts(labels, predictions, num_classes)
    occurrences = counts.sum(axis=0) + counts.sum(axis=1)  # predicted + true = 2 TP + FP + FN
    return float(np.mean(2 * counts.diagonal() / np.maximum(occurrences, 1)))


def bootstrap_interval(
    *columns: ArrayLike,
    statistic: Callable[..., float],
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile interval of `statistic(*columns)` when examples are drawn again with replacement.

    Rows stay together, so that two methods judged on the same examples are compared in pairs. Efron 1979.
    """
    arrays = [np.asarray(column) for column in columns]
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(arrays[0]), size=(num_resamples, len(arrays[0])))
    values = [statistic(*(array[rows] for array in arrays)) for rows in draws]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


class CalibrationBins(NamedTuple):
    """Per bin of confidence: mean confidence, accuracy (both NaN where empty), number of examples; each (bins,)."""

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray


def calibration_bins(confidence: ArrayLike, correct: ArrayLike, num_bins: int = NUM_BINS) -> CalibrationBins:
    """Group predictions into equal steps of confidence from 0 to 1; a bin includes its upper edge. Guo et al. 2017."""
    confidence, correct = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    divisor = np.where(counts > 0, counts, np.nan)
    sums = [np.bincount(bins, weights=values, minlength=num_bins) for values in (confidence, correct)]
    return CalibrationBins(sums[0] / divisor, sums[1] / divisor, counts)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, num_bins: int = 10) -> float:
    """The mean gap between confidence and accuracy over bins, each bin weighted by its share of the examples.

    `confidence` (N,) is the probability of the predicted class, `correct` (N,) whether it was right. 0 is perfect.
    Guo et al. 2017, section 2, equation 3.
    """
    bins = calibration_bins(confidence, correct, num_bins)
    gaps = np.nan_to_num(np.abs(bins.accuracy - bins.confidence))
    return float(np.sum(bins.counts / bins.counts.sum() * gaps))


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The number T > 0 for which softmax(logits / T) gives held-out labels the highest likelihood.

    T > 1 means that the model was too sure. The ranking of classes, and so the accuracy, never changes. Fit it on
    validation data. Guo et al. 2017, section 4.2.
    """
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=60, line_search_fn="strong_wolfe")
    logits = logits.detach().double()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / log_temperature.exp(), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    return log_temperature.exp().item()
