"""Figures of lessons: one for every explanation, PNGs of a bounded size, the same bytes each time."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image
from test_trace import LAYERS, arrays_of, logits_of, made

import tinynet
from tinynet import figures, layers, ops
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


def test_lines_have_their_numbers_and_their_style():
    curves = {"one": ([1, 2, 3], [0.1, 10, 1]), "two": ([1, 2], [5, 6])}
    panels = {"a": curves, "b": {"": ([0, 1], [2, 2])}}
    figure = figures.draw_lines(panels, "step", "size", log="y", levels={"here": 25})
    left, right = figure.axes
    one, two, level = left.lines
    assert set(level.get_ydata()) == {25} and left.texts[0].get_text() == "here"
    assert one.get_xydata().tolist() == [[1, 0.1], [2, 10], [3, 1]] and (one.get_linestyle(), two.get_linestyle()) == (
        "-", "--")
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["one", "two"] and not right.get_legend()
    assert (left.get_title(), right.get_title(), left.get_yscale()) == ("a", "b", "log")
    assert pixels(figure).std() > 5


def test_a_figure_has_the_same_bytes_each_time():
    seen = explain(made("lrn"), "it", (0, 0, 0, 0))
    assert figures.draw_explanation(seen)._repr_png_() == figures.draw_explanation(seen)._repr_png_()


def test_bars_have_their_numbers_and_share_names():
    figure = figures.draw_bars({"a": {"conv1": 0.057, "fc6": 61.9}, "b": {"conv1": 1024.0, "fc6": 3.0}}, unit=" %")
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [0.057, 61.9]
    assert [text.get_text() for text in right.texts] == ["1,024 %", "3 %"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["conv1", "fc6"] and left.yaxis_inverted()


def test_curves_on_logarithmic_axes():
    lines = {"a": ([1, 10], [2, 3]), "b": ([1, 10], [4, 5])}
    axes, = figures.draw_lines({"": lines}, "h", "error", "xy", {"limit": 2.5}).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [line.get_ydata()[0] for line in axes.lines] == [2, 4, 2.5]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


def test_a_table_says_in_words_what_is_true():
    axes, = figures.draw_table([[True, False, True]], ["row"], ["a", "b", "c"], ("seen", "not seen")).axes
    assert [text.get_text() for text in axes.texts] == ["seen", "not seen", "seen"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]


def test_lines_share_colours_and_lie_on_their_ground():
    panels = {"one": {"a": [1.0, 4, 2], "b": ([0, 5], [1.0, 2])}, "two": {"b": (["x", "y"], [3.0, 4])}}
    x, y = np.meshgrid(np.linspace(0, 2, 30), np.linspace(0, 4, 20))
    figure = figures.draw_lines(panels, "step", "loss", drops=[1], ground=(x, y, x**2 + y), dots=["a"])
    one, two = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"] and one.get_xlabel() == "step"
    lines = {line.get_label(): line for line in one.lines}
    np.testing.assert_array_equal(lines["a"].get_xydata(), [[0, 1], [1, 4], [2, 2]])
    np.testing.assert_array_equal(lines["b"].get_xydata(), [[0, 1], [5, 2]])
    assert lines["a"].get_linestyle() == "None" and set(lines["rate cut"].get_xdata()) == {1}
    assert two.lines[0].get_color() == lines["b"].get_color() != lines["a"].get_color()
    assert pixels(figure).std() > 5
    assert figures.draw_lines({"": {"a": [1.0, 10]}}, log="xy").axes[0].get_yscale() == "log"


def test_curves_can_be_drawn_without_a_file():
    metrics = {"step": [1, 2, 3], "loss": [2.0, 1, 1], "lr": [1, 1, 0.1], "train_error": [1.0, 1, 0],
               "top1_error": [np.nan, 0.5, 0.4], "top5_error": [np.nan] * 3}
    assert pixels(figures.draw_curves(None, metrics)).std() > 5


def test_every_number_is_a_dot():
    figure = figures.draw_dots({"one": {"base": [1.0, 3], "other": [2.0]}, "two": {"base": [5.0], "other": [4.0, 6]}})
    left, right = figure.axes
    dots = [line.get_xydata().tolist() for line in left.lines]
    assert dots == [[[1, 0], [3, 0]], [[2, 0]], [[2, 1]], [[2, 1]]]    # the dots of base, their mean; of other
    assert right.lines[3].get_xdata() == [5] and left.yaxis_inverted()
    assert left.patches[0].get_x() == 1 and left.patches[0].get_width() == 2 and pixels(figure).std() > 5


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


GREEN = matplotlib.colors.to_rgba(figures.canvas.WINDOW)


def small_alexnet():
    kernels = {"pad": 1, "groups": 2}
    rows = [layers.Conv2d("conv1", 8, 5, stride=2), layers.ReLU("relu1"), layers.LRN("lrn1"),
            layers.MaxPool("pool1", 3, 2), layers.Conv2d("conv2", 12, 3, **kernels), layers.ReLU("relu2"),
            layers.Conv2d("conv3", 16, 3, pad=1), layers.Flatten("flatten"), layers.Linear("fc4", 20),
            layers.Dropout("drop4"), layers.Linear("fc5", 10)]
    return tinynet.Sequential(rows, (3, 35, 35), np.random.default_rng(0))


def crops(picture):
    return figures.draw_crops(picture, 32, [(0, 0), (8, 4)])


GRAPH = ([("linear", ["w_1", "b_1"], "x"), ("ReLU", [], "h"), ("linear", ["w_2"], "h"), ("loss", [], "")],
         ["x", "z", "h", "s", "L"])
DRAWN = {
    "network": lambda: figures.draw_network(small_alexnet()),
    "stack": lambda: figures.draw_stack(small_alexnet()),
    "kernel": figures.draw_kernel,
    "neuron": figures.draw_neuron,
    "thinned": lambda: figures.draw_thinned([[1, 1, 1], [1, 0, 1, 0], [1, 1]]),
    "graph": lambda: figures.draw_graph(*GRAPH),
    "crops": lambda: crops(np.zeros((3, 40, 40), np.uint8)),
    "windows": lambda: figures.draw_windows({"apart": (2, 2), "overlapping": (3, 2)}, 7),
}


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


@pytest.mark.parametrize("name", DRAWN)
def test_words_in_a_drawing_are_inside_it_and_do_not_overlap(name, tmp_path):
    figure = DRAWN[name]()
    figures.canvas.done(figure, tmp_path / "drawing.png")
    width, height = figure.canvas.get_width_height()
    boxes = [(text.get_text(), text.get_window_extent()) for axes in figure.axes
             for text in (*axes.texts, axes.title) if text.get_text()]
    assert boxes
    for number, (said, box) in enumerate(boxes):
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -1, said  # in pixels
        for other, second in boxes[number + 1:]:
            assert not box.overlaps(second), (said, other)


def test_a_network_on_two_gpus_says_its_numbers_and_where_it_crosses():
    net = small_alexnet()
    figure = DRAWN["network"]()
    said = texts(figure)
    for text in ("35 × 35", "4 + 4 maps", "5 × 5 × 3", "stride 2", "LRN over 5 maps", "max-pool 3 × 3",
                 "3 × 3 × 4", "3 × 3 × 12", "8 + 8 maps", "10 + 10", "10", "dropout"):
        assert text in said
    assert net["conv2"].params["w"].shape[1] == 4 and said.count("stride 1, pad 1") == 2
    arrows = [text.arrow_patch.get_edgecolor() for text in figure.axes[0].texts if hasattr(text, "arrow_patch")]
    assert len(arrows) == 2 + 2 + 4 + 4 + 2
    assert arrows.count(GREEN) == 2 + 2 + 1  # both ways to conv3 and fc4, from GPU 2 to fc5


def test_a_stack_says_what_the_network_is():
    net = small_alexnet()
    said = texts(DRAWN["stack"]())
    for row in net.summary().rows:
        assert row.name in said
        assert not row.params or f"{row.params:,}" in said
        assert " × ".join(f"{size:,}" for size in row.output_shape) in said
    assert "12 kernels 3 × 3 × 4, stride 1, padding 1, 2 groups" in said
    assert [text for text in said if text.startswith("layer ")] == [f"layer {i}" for i in range(1, 6)]


def test_the_marked_number_is_that_of_the_window():
    axes, = figures.draw_kernel(channels=1, size=7, kernel=3, stride=2, at=(0, 2)).axes
    empty = [patch for patch in axes.patches if not patch.get_fill()]
    frames = [patch for patch in empty if patch.get_edgecolor() == GREEN]
    maps = [patch for patch in empty if patch.get_edgecolor() != GREEN]
    cell = maps[0].get_width() / 7
    for frame, whole, column, high in zip(frames, maps, (4, 0, 2), (3, 3, 1)):
        assert (frame.get_x() - whole.get_x()) / cell == pytest.approx(column)
        assert frame.get_y() + frame.get_height() == pytest.approx(whole.get_y() + whole.get_height())
        assert frame.get_height() / cell == pytest.approx(high)
    assert maps[2].get_width() / cell == pytest.approx(3)


def test_a_thinned_network_has_the_lines_of_the_units_that_speak():
    axes, = DRAWN["thinned"]().axes
    lines = [line for line in axes.lines if line.get_color() == figures.canvas.INK]
    assert len(lines) == 3 * 4 + 4 * 2 + (3 * 2 + 2 * 2)
    assert sum(patch.get_facecolor() == (1, 1, 1, 1) for patch in axes.patches) == 2


def test_a_graph_has_a_gradient_for_everything():
    said = texts(DRAWN["graph"]())
    for name in ("x", "z", "h", "s"):
        assert f"${name}$" in said and f"$d{name}$" in said
    assert "$L$" in said and "$1$" in said and "$dw_1,\\ db_1$" in said and "$dw_2$" in said
    assert "saves $x$" in said and sum(text.startswith("saves") for text in said) == 3


def test_crops_lie_where_they_were_cut():
    picture = np.random.default_rng(0).integers(0, 256, (3, 40, 40)).astype(np.uint8)
    whole, _, second = crops(picture).axes
    places, first, other = whole.patches
    assert places.get_width() == places.get_height() == 40 - 32 + 1 and "9 × 9" in whole.get_title()
    assert (first.get_xy(), other.get_xy(), other.get_width()) == ((-0.5, -0.5), (3.5, 7.5), 32)
    np.testing.assert_array_equal(shown(second), picture[:, 8:, 4:36].transpose(1, 2, 0))


def test_windows_count_the_windows_of_each_pixel():
    said = texts(DRAWN["windows"]())
    for start, (size, stride) in ((0, (2, 2)), (50, (3, 2))):
        counts = ops.conv2d_backward(np.ones((1, 1, 3, 3)), np.zeros((1, 1, 7, 7)), np.ones((1, 1, size, size)),
                                     stride, 0, 1)[0]
        assert said[start:start + 49] == [f"{count:.0f}" for count in counts.ravel()]


def test_threads_without_a_number_are_grey():
    figure = figures.draw_threads(20, block=8)
    boxes = figure.axes[0].patches
    assert len(boxes) == 24 and len({box.get_facecolor() for box in boxes[:20]}) == 1
    assert all(box.get_facecolor() != boxes[0].get_facecolor() for box in boxes[20:])
    assert "block 2" in texts(figure) and "block 3" not in texts(figure)


def test_access_shows_the_sectors_that_are_touched():
    figure = figures.draw_access({"near": range(32), "far": range(0, 128, 4)})
    assert [axes.get_title("left") for axes in figure.axes] == ["near: 4 sectors", "far: 16 sectors"]


def test_a_reduction_ends_with_the_sum():
    said = texts(figures.draw_reduction([3, 1, 4, 1, 5, 9, 2, 6]))
    assert said.count("barrier") == 3 and "31" in said and "30" not in said


def test_no_figure_is_wider_than_a_page_and_digits_stay_as_large_as_other_words():
    rows, numbers = np.zeros((1, 9)), np.full((2, 2), -0.953)
    drawn = [figures.draw_lines({name: {name: [1.0, 2]} for name in "abcd"}), figures.draw_pictures([np.eye(8)] * 6),
             figures.draw_maps(np.ones((5, 4, 4)), columns=5), figures.draw_numbers(dict.fromkeys("abcd", rows)),
             figures.draw_explanation(explain(made("lrn"), "it", (0, 0, 0, 0), "dx"))]
    assert max(figure.get_figwidth() for figure in drawn) <= figures.lessons.WIDEST + 1e-6
    places = np.array([axes.get_position().p0 for axes in drawn[0].axes])  # four panels: two rows of two
    assert len(np.unique(places[:, 0].round(1))) == len(np.unique(places[:, 1].round(1))) == 2
    sizes = {text.get_fontsize() for axes in figures.draw_numbers(dict.fromkeys("abcdefg", numbers)).axes
             for text in axes.texts}
    assert sizes == {9}
    figure = figures.draw_numbers({"a": np.full((1, 40), 1e-300)})         # no room: nothing is written
    assert not figure.axes[0].texts
