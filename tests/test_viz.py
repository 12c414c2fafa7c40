"""What a reader sees: values, labels, colours, and nothing else printed."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from course_utils import viz


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_bars_write_values_intervals_and_baseline():
    ax = viz.bars({"TF-IDF": 0.69, "BERT": 0.731}, ylabel="accuracy", title="BERT wins", baseline={"majority": 0.42},
                  intervals={"BERT": (0.70, 0.76)})  # fmt: skip
    assert [patch.get_height() for patch in ax.patches] == [0.69, 0.731]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["TF-IDF", "BERT"]
    assert {"0.69", "0.731", "majority"} <= set(texts(ax))
    assert (ax.get_ylabel(), ax.get_title(loc="left")) == ("accuracy", "BERT wins")


def test_one_method_has_one_colour_in_every_figure():
    bar_ax = viz.bars({"BERT": 1.0, "other": 2.0}, ylabel="y", title="t")
    line_ax = viz.lines({"more": [1, 2], "BERT": [2, 3]}, xlabel="x", ylabel="y", title="t")
    bert_line = next(line for line in line_ax.get_lines() if line.get_label() == "BERT")
    assert matplotlib.colors.same_color(bar_ax.patches[0].get_facecolor(), bert_line.get_color())
    assert not matplotlib.colors.same_color(bar_ax.patches[0].get_facecolor(), bar_ax.patches[1].get_facecolor())


def test_unknown_names_never_share_a_colour_with_known_ones():
    names = ["BERT", "TF-IDF", "a", "b", "c", "d"]
    assert len({style.color for style in viz.styles(names).values()}) == len(names)


def test_lines_keep_points_bands_and_log_ticks():
    ax = viz.lines({"BERT": [0.5, 0.6, 0.7]}, x=[100, 300, 1000], xlabel="labels", ylabel="y", title="t", log_x=True,
                   intervals={"BERT": ([0.4, 0.5, 0.6], [0.6, 0.7, 0.8])})  # fmt: skip
    assert ax.get_lines()[0].get_xdata().tolist() == [100, 300, 1000]
    assert ax.get_xscale() == "log" and len(ax.collections) == 1
    ax.figure.canvas.draw()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["100", "300", "1,000"]


def test_lines_accept_their_own_x():
    ax = viz.lines({"a": ([0, 2], [1, 1]), "b": ([0, 1, 2], [2, 2, 2])}, xlabel="x", ylabel="y", title="t")
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [2, 3]


def test_confusion_shows_counts_and_row_shares():
    ax = viz.confusion([[8, 2], [1, 3]], ["no", "yes"], title="t")
    assert texts(ax) == ["80%\n8", "20%\n2", "25%\n1", "75%\n3"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.8, 0.2], [0.25, 0.75]])


def test_heatmap_with_a_centre_is_symmetric():
    ax = viz.heatmap([[1.0, -3.0]], xlabel="x", ylabel="y", title="t", center=0.0)
    assert ax.images[0].get_clim() == (-3.0, 3.0)


def test_reliability_leaves_out_empty_bins():
    ax = viz.reliability([0.5, np.nan, 0.9], [0.4, np.nan, 0.95], [10, 0, 30], title="t")
    assert ax.collections[-1].get_offsets().tolist() == [[0.5, 0.4], [0.9, 0.95]]


def test_histogram_shares_bins():
    ax = viz.histogram({"a": [0, 1, 2], "b": [2, 3, 4]}, xlabel="x", title="t", bins=4)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_an_axes_as_last_value_prints_nothing():
    from IPython.core.formatters import DisplayFormatter

    formatter = DisplayFormatter()
    formatter.ipython_display_formatter.enabled = True
    assert formatter.format(viz.new_axes()) == ({}, {})
