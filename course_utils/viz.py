"""Plots of the course: arrays in, Axes out, one message per figure, the same colour per method everywhere.

Colours come from one table (Okabe and Ito's set, safe for colour-blind readers); markers, dashes and hatches differ
too, so that a grey print still reads. Nothing here computes what it draws: bins, means and intervals arrive ready.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import ArrayLike

SIZE_INCHES = (6.0, 4.0)
GREY = "#5f6368"
RC = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 10,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e3e5e8",
    "figure.figsize": SIZE_INCHES,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Style:
    """How one method looks in every figure of the course."""

    color: str
    marker: str = "o"
    dash: str = "-"
    hatch: str = ""


BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PINK, BLACK = "#56B4E9", "#CC79A7", "#222222"

# The one table. What several lessons show gets a line here; a name used once takes a spare style.
METHODS: dict[str, Style] = {
    "majority": Style(GREY, "x", ":", "xx"),
    "chance": Style(GREY, "x", ":", "xx"),
    "TF-IDF": Style(ORANGE, "s", "--", "//"),
    "retrieval": Style(ORANGE, "s", "--", "//"),
    "BERT": Style(BLUE, "o", "-", ""),
    "BERT, fine-tuned": Style("#004488", "D", "-", "--"),
    "BERT, top layers": Style(BLUE, "o", "-", ""),
    "BERT, frozen": Style(SKY, "^", "-.", ".."),
    "GPT": Style(GREEN, "D", "-", ""),
    "train": Style(SKY, "^", "-", ""),
    "validation": Style(RED, "o", "--", "//"),
    "test": Style(BLACK, "s", "-", ""),
    "one process": Style(BLACK, "s", "-", ""),
    "DataParallel": Style(PINK, "v", "-.", "\\\\"),
    "DDP": Style(BLUE, "o", "-", ""),
    "FSDP": Style(GREEN, "D", "--", ".."),
    "MirroredStrategy": Style(RED, "^", "--", "//"),
}
SPARE = (
    Style(BLUE, "o", "-", ""),
    Style(ORANGE, "s", "--", "//"),
    Style(GREEN, "D", "-.", ".."),
    Style(PINK, "^", ":", "\\\\"),
    Style(BLACK, "v", "-", "xx"),
    Style(SKY, "P", "--", "++"),
    Style(RED, "X", "-.", "--"),
)


def styles(names: Sequence[str]) -> dict[str, Style]:
    """The style of each name: the course's own where the table has one, else spare ones in an unused colour."""
    found = {name: METHODS[name] for name in names if name in METHODS}
    taken = {style.color for style in found.values()}
    spare = (style for style in SPARE if style.color not in taken)
    for name in names:
        if name not in found:
            found[name] = next(spare, Style(GREY, "*", ":", "oo"))
    return found


def new_axes(size_inches: tuple[float, float] = SIZE_INCHES, num_columns: int = 1) -> Axes | list[Axes]:
    """One Axes, or a list of `num_columns` side by side, in the course's look; as a last value they print nothing."""
    # The first figure of a kernel switches Jupyter's inline backend on, which an rc_context would undo at its end.
    figure = plt.figure(figsize=size_inches, layout="constrained")
    with plt.rc_context(RC):
        axes = figure.subplots(1, num_columns, squeeze=False)
    for ax in axes.flat:
        ax._ipython_display_ = lambda: None  # the figure itself is shown anyway; its repr would only be noise
    return axes[0, 0] if num_columns == 1 else list(axes.flat)


def finish(ax: Axes, *, xlabel: str = "", ylabel: str = "", title: str = "") -> Axes:
    """Labels and title in the course's look."""
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_title(title, loc="left", fontsize=11.5, fontweight="bold", wrap=True)
    return ax


def draw_baselines(ax: Axes, baseline: float | Mapping[str, float] | None) -> None:
    """Dotted horizontal lines, each with its name beside its right end, where no bar or line can hide it."""
    if baseline is None:
        return
    for name, height in (baseline if isinstance(baseline, Mapping) else {"": baseline}).items():
        ax.axhline(height, color=GREY, linestyle=":", linewidth=1.4, zorder=1)
        place = {"xy": (1, height), "xycoords": ("axes fraction", "data"), "xytext": (4, 0)}
        ax.annotate(name, **place, textcoords="offset points", va="center", fontsize=9, color=GREY)


def bars(
    values: Mapping[str, float],
    *,
    ylabel: str,
    title: str,
    baseline: float | Mapping[str, float] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    value_format: str = "{:.3g}",
    ax: Axes | None = None,
) -> Axes:
    """One bar per name with its value written on it.

    `intervals` maps a name to (low, high), drawn as a whisker; `baseline` is a height, or names with heights, dotted.
    """
    ax = new_axes() if ax is None else ax
    ax.grid(axis="x", visible=False)
    look = styles(list(values))
    for position, (name, value) in enumerate(values.items()):
        color, hatch = look[name].color, look[name].hatch
        ax.bar(position, value, width=0.62, color=color, hatch=hatch, edgecolor="white", linewidth=0)
        top = value
        if intervals and name in intervals:
            low, high = intervals[name]
            ax.errorbar(
                position, value, yerr=[[value - low], [high - value]], color="#222222", capsize=5, linewidth=1.4
            )
            top = max(value, high)
        ax.annotate(value_format.format(value), (position, max(top, 0)), xytext=(0, 3), textcoords="offset points",
                    ha="center", va="bottom", fontsize=10)  # fmt: skip
    ax.set_xticks(range(len(values)), list(values))
    ax.margins(y=0.12)
    draw_baselines(ax, baseline)
    return finish(ax, ylabel=ylabel, title=title)


def lines(
    series: Mapping[str, ArrayLike],
    *,
    x: ArrayLike | None = None,
    xlabel: str,
    ylabel: str,
    title: str,
    intervals: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    baseline: float | Mapping[str, float] | None = None,
    log_x: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """One line per name: y values over `x` (default 0, 1, 2, ...), or a pair (x, y) where the lines have their own.

    `intervals` maps a name to (low, high) arrays, drawn as a band. Markers appear when a line has at most 30 points.
    """
    ax = new_axes() if ax is None else ax
    look = styles(list(series))
    for name, values in series.items():
        xs, ys = values if isinstance(values, tuple) else (np.arange(len(values)) if x is None else x, values)
        xs, ys = np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)
        marker = look[name].marker if len(xs) <= 30 else None
        ax.plot(xs, ys, color=look[name].color, linestyle=look[name].dash, marker=marker, markersize=5.5, label=name)
        if intervals and name in intervals:
            low, high = (np.asarray(bound, dtype=float) for bound in intervals[name])
            ax.fill_between(xs, low, high, color=look[name].color, alpha=0.18, linewidth=0)
    if log_x:
        use_log_x(ax, np.unique(np.concatenate([line.get_xdata() for line in ax.get_lines()])))
    draw_baselines(ax, baseline)
    if len(series) > 1:
        ax.legend(frameon=False)
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title)


def use_log_x(ax: Axes, ticks: np.ndarray) -> None:
    """A logarithmic x axis; with few distinct values, exactly those are its ticks, written out in full."""
    ax.set_xscale("log")
    if len(ticks) <= 8:
        ax.set_xticks(ticks)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def histogram(
    samples: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    title: str,
    bins: int | ArrayLike = 30,
    ylabel: str = "count",
    ax: Axes | None = None,
) -> Axes:
    """Overlaid outline histograms, one per name, on shared bins."""
    ax = new_axes() if ax is None else ax
    look = styles(list(samples))
    edges = np.histogram_bin_edges(np.concatenate([np.ravel(values) for values in samples.values()]), bins=bins)
    for name, values in samples.items():
        color, dash, values = look[name].color, look[name].dash, np.ravel(values)
        ax.hist(values, bins=edges, histtype="stepfilled", color=color, alpha=0.18)
        ax.hist(values, bins=edges, histtype="step", color=color, linestyle=dash, linewidth=1.6, label=name)
    if len(samples) > 1:
        ax.legend(frameon=False)
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title)


def heatmap(
    values: ArrayLike,
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    xticks: Sequence[str] | None = None,
    yticks: Sequence[str] | None = None,
    value_label: str = "",
    center: float | None = None,
    texts: Sequence[Sequence[str]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A matrix (rows, columns) as colours, light to dark as it grows; diverging around `center` when that is given.

    `texts`, a matrix of strings of the same shape, is written into the cells. Row 0 is at the top.
    """
    ax = new_axes() if ax is None else ax
    matrix = np.asarray(values, dtype=float)
    reach = None if center is None else max(float(np.nanmax(np.abs(matrix - center))), 1e-12)
    limits = {} if reach is None else {"vmin": center - reach, "vmax": center + reach}
    image = ax.imshow(matrix, cmap="Blues" if center is None else "RdBu_r", aspect="auto", **limits)
    ax.grid(visible=False)
    for axis, ticks in [("x", xticks), ("y", yticks)]:
        if ticks is not None:
            crowded = axis == "x" and sum(max(map(len, tick.split("\n"))) for tick in ticks) > 70
            getattr(ax, f"set_{axis}ticks")(
                range(len(ticks)), ticks, **({"rotation": 60, "ha": "right"} if crowded else {})
            )
    for (row, column), value in np.ndenumerate(matrix) if texts is not None else ():
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
        ax.text(
            column, row, texts[row][column], ha="center", va="center", fontsize=10, color="white" if dark else "#222222"
        )
    ax.figure.colorbar(image, ax=ax, label=value_label, shrink=0.9)
    return finish(ax, xlabel=xlabel, ylabel=ylabel, title=title)


def confusion(counts: ArrayLike, names: Sequence[str], *, title: str, ax: Axes | None = None) -> Axes:
    """A confusion matrix: rows are true classes, columns predicted; colours and percentages are shares of the row."""
    table = np.asarray(counts)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    texts = [
        [f"{share:.0%}\n{count:,}" for share, count in zip(*rows, strict=True)]
        for rows in zip(shares, table, strict=True)
    ]
    return heatmap(shares, xlabel="predicted", ylabel="true", title=title, xticks=names, yticks=names,
                   value_label="share of the true class", texts=texts, ax=ax)  # fmt: skip


def reliability(
    confidence: ArrayLike,
    accuracy: ArrayLike,
    counts: ArrayLike,
    *,
    title: str,
    name: str = "BERT",
    ax: Axes | None = None,
) -> Axes:
    """Accuracy against confidence: on the diagonal when a model's confidence can be taken at its word.

    All three arrays are per bin: mean confidence, accuracy, number of examples. Dots grow with the examples in a bin,
    vertical lines show the gap to the diagonal, empty bins are left out.
    """
    ax = new_axes((5.2, 4.4)) if ax is None else ax
    confidence, accuracy, counts = (np.asarray(values, dtype=float) for values in (confidence, accuracy, counts))
    full = counts > 0
    confidence, accuracy, counts = confidence[full], accuracy[full], counts[full]
    look = styles([name])[name]
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.4, label="perfectly calibrated")
    ax.vlines(confidence, accuracy, confidence, color=RED, linewidth=1.6, label="gap")
    ax.plot(confidence, accuracy, color=look.color, linestyle=look.dash, linewidth=1)
    ax.scatter(
        confidence,
        accuracy,
        s=20 + 220 * counts / counts.max(),
        color=look.color,
        marker=look.marker,
        zorder=3,
        label=name,
    )
    ax.set(
        xlim=(min(confidence.min(), accuracy.min()) - 0.07, 1.03),
        ylim=(min(confidence.min(), accuracy.min()) - 0.07, 1.03),
    )
    ax.legend(loc="upper left", markerscale=0.6, frameon=False)
    return finish(ax, xlabel="confidence (probability of the predicted class)", ylabel="accuracy", title=title)
