"""Figures of lessons: one for every explanation, PNGs of a bounded size, the same bytes each time."""

import io

import numpy as np
import pytest
from PIL import Image
from test_trace import LAYERS, arrays_of, logits_of, made

from tinynet import figures
from tinynet.trace import explain


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("RGB"))


@pytest.mark.parametrize("kind", [*LAYERS, "linear"])
def test_every_explanation_can_be_drawn(kind):
    traced = made(kind)
    for of, array in arrays_of(traced["it"]).items():
        seen = explain(traced, "it", (0,) * array.ndim, of)
        figure = figures.draw_explanation(seen)
        titles = [axes.get_title() for axes in figure.axes]
        if seen.axes and seen.last.size:
            assert all(any(title.startswith(name) for title in titles) for name in seen.terms)
        assert seen.name in figure.get_suptitle() and seen.lines[-1][0][:8] in figure.get_supxlabel()
        assert pixels(figure).std() > 5


def test_a_pixel_that_no_window_saw_has_a_figure_too():
    seen = explain(made("conv gaps"), "it", (0, 0, 2, 2), "dx")
    assert seen.last.size == 0 and seen.value == 0
    assert "no window saw this pixel" in figures.draw_explanation(seen).get_suptitle()


def test_the_loss_can_be_drawn():
    traced = logits_of()
    for of, index in (("y", ()), ("dx", (0, 1)), ("probs", (2, 3))):
        assert pixels(figures.draw_explanation(explain(traced, "loss", index, of))).std() > 5


def shown(axes):
    image, = axes.images
    return image.get_array()


def test_the_panels_of_a_window_hold_its_numbers_and_padding_is_grey():
    seen = explain(made("conv strided"), "it", (0, 0, 1, 0))
    figure = figures.draw_explanation(seen)
    panels = [axes for axes in figure.axes if axes.images and axes.get_ylabel() == "channel 0"]
    panels += [axes for axes in figure.axes if axes.get_title() in ("w", "product")]
    for axes, name in zip(panels, ("x", "w", "product")):
        expected = seen.terms[name][0]
        if name != "w":
            assert (np.ma.getmaskarray(shown(axes)) == ~seen.inside[0]).all() and (~seen.inside[0]).any()
            expected = np.ma.masked_array(expected, ~seen.inside[0])
        np.testing.assert_array_equal(shown(axes).filled(0), np.ma.filled(expected, 0))
        low, high = axes.images[0].get_clim()
        assert low == -high  # white is 0


def test_pictures_maps_and_numbers(tmp_path):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (3, 20, 30)).astype(np.uint8)
    figure = figures.draw_pictures([picture, picture[0]], ["a", "b"], windows=[(2, 3, 5, 6)], path=tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").format == "PNG"
    box = figure.axes[0].patches[0].get_bbox().bounds
    assert box == (2.5, 1.5, 6, 5)  # around pixels 3 to 8 across and 2 to 6 down
    np.testing.assert_array_equal(shown(figure.axes[0]), picture.transpose(1, 2, 0))
    maps = rng.standard_normal((5, 4, 6))
    for share in (True, False):
        figure = figures.draw_maps(maps, list("abcde"), columns=3, share=share)
        np.testing.assert_array_equal(shown(figure.axes[4]), maps[4])
        assert pixels(figure).std() > 5
    figure = figures.draw_numbers({"x": maps[0], "w": maps[1, :2, :2]}, {"x": (1, 1, 2, 2)}, signs=["*"])
    assert [text.get_text() for text in figure.axes[1].texts] == [f"{value:.3g}" for value in maps[1, :2, :2].ravel()]


def test_a_figure_has_the_same_bytes_each_time():
    seen = explain(made("lrn"), "it", (0, 0, 0, 0))
    assert figures.draw_explanation(seen)._repr_png_() == figures.draw_explanation(seen)._repr_png_()


def test_bars_have_their_numbers_and_share_names():
    figure = figures.draw_bars({"a": {"conv1": 0.057, "fc6": 61.9}, "b": {"conv1": 1024.0, "fc6": 3.0}}, unit=" %")
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [0.057, 61.9]
    assert [text.get_text() for text in right.texts] == ["1,024 %", "3 %"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["conv1", "fc6"] and left.yaxis_inverted()


def test_what_crosses_between_two_streams_is_green():
    stages = [("in", "", 9, (0,), False), ("a", "", 9, (1, -1), False), ("b", "", 5, (1, -1), False),
              ("c", "", 3, (1, -1), True), ("d", "", 1, (1,), True)]
    axes, = figures.draw_streams(stages).axes
    crossing = [(line.get_xdata()[1], *line.get_ydata()) for line in axes.lines if line.get_color() == figures.WINDOW]
    assert sorted((round(at + 0.15), start, end) for at, start, end in crossing) == [(3, -1, 1), (3, 1, -1), (4, -1, 1)]
    assert len(axes.lines) == 2 + 2 + 4 + 2 and len(axes.patches) == 8


def test_curves_on_logarithmic_axes():
    axes, = figures.draw_loglog({"a": ([1, 10], [2, 3]), "b": ([1, 10], [4, 5])}, "h", "error", {"limit": 2.5}).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [line.get_ydata()[0] for line in axes.lines] == [2, 4, 2.5]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


def test_a_table_says_in_words_what_is_true():
    axes, = figures.draw_table([[True, False, True]], ["row"], ["a", "b", "c"], ("seen", "not seen")).axes
    assert [text.get_text() for text in axes.texts] == ["seen", "not seen", "seen"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]


def test_rows_of_pictures_have_names_and_marks():
    rng = np.random.default_rng(0)
    rows = {"a": list(rng.random((3, 3, 4, 5))), "b": list(rng.integers(0, 256, (2, 3, 4, 5)).astype(np.uint8))}
    figure = figures.draw_rows(rows, titles=["one", "two"], marked={"a": [True, False, False], "b": [False, True]})
    grid = np.array(figure.axes).reshape(2, 3)
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["a", "b"]
    assert [axes.get_title() for axes in grid[0]] == ["one", "two", ""]
    assert [[len(axes.patches) for axes in line] for line in grid] == [[1, 0, 0], [0, 1, 0]]
    np.testing.assert_array_equal(shown(grid[1, 1]), rows["b"][1].transpose(1, 2, 0))
    assert not grid[1, 2].images


def test_predictions_have_the_five_most_probable_and_the_right_one_in_green():
    probs = np.array([[0.05, 0.4, 0.1, 0.3, 0.01, 0.14], [0.9, 0.02, 0.02, 0.02, 0.02, 0.02]])
    picture = np.zeros((3, 4, 4), np.uint8)
    figure = figures.draw_predictions([picture, picture], probs, [3, 0], list("uvwxyz"))
    bars = figure.axes[2]
    assert figure.axes[0].get_title() == "x" and [text.get_text() for text in bars.texts] == ["v", "x", "z", "w", "u"]
    assert [bar.get_width() for bar in bars.patches] == [0.4, 0.3, 0.14, 0.1, 0.05]
    green = [figures.matplotlib.colors.to_hex(bar.get_facecolor()) == figures.WINDOW for bar in bars.patches]
    assert green == [False, True, False, False, False]
