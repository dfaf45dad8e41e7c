"""The end of a run: which pictures are the best and the worst, how they are drawn, what is taken for what."""

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.figure import Figure

import tinynet
from tinynet.evaluation import Evaluation, evaluate
from tinynet.figures import runs
from tinynet.layers import Flatten, Linear
from tinynet.metrics import most_confused, nll
from tinynet.runs import report


def test_the_worst_have_the_lowest_probability_of_the_right_class_and_the_best_the_highest():
    own = np.array([0.3, 0.9, 0.01, 0.5, 0.99, 0.2, 0.0, 0.7, 0.6])
    labels = np.arange(9) % 3
    probs = np.zeros((9, 3))
    probs[np.arange(9), labels] = own
    probs[np.arange(9), (labels + 1) % 3] = 1 - own                # a wrong class that is sure must not count
    best, worst = report.best_and_worst(probs, labels)
    assert best.tolist() == [4, 1, 7, 8] and worst.tolist() == [6, 2, 5, 0]
    best, worst = report.best_and_worst(probs[:5], labels[:5])
    assert best.tolist() == [4, 1] and worst.tolist() == [2, 0]
    assert [list(chosen) for chosen in report.best_and_worst(probs[:1], labels[:1])] == [[0], [0]]


def bars(own, label, names):
    axes = Figure().subplots()
    runs._draw_bars(axes, np.array(own), names, label)
    texts = [text.get_text() for text in axes.texts]
    drawn = [(bar.get_y(), bar.get_width(), colors.to_hex(bar.get_facecolor())) for bar in axes.patches]
    drawn.sort(key=lambda bar: bar[0])
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first is on top"
    return texts[::2], texts[1::2], [width for _, width, _ in drawn], [colour for *_, colour in drawn]


def test_bars_are_the_five_best_in_order_and_the_right_one_stands_out():
    own = [0.05, 0.4, 0.02, 0.25, 0.18, 0.1]
    names, percents, widths, colours = bars(own, 3, list("abcdef"))
    assert names == ["b", "d", "e", "f", "a"] and widths == [0.4, 0.25, 0.18, 0.1, 0.05]
    assert percents == ["40.0%", "25.0%", "18.0%", "10.0%", "5.0%"]
    assert [colour == runs.RIGHT for colour in colours] == [False, True, False, False, False]
    assert runs.RIGHT not in bars(own, 2, list("abcdef"))[3] and runs.RIGHT not in bars(own, None, list("abcdef"))[3]


def test_names_are_drawn_as_they_are_whatever_is_in_them(tmp_path):
    names = ["$x^", "a very long name that nobody has the space for", "\u732b", "lost \udce9", "_{"]
    runs.draw_guesses(tmp_path / "x.png", np.zeros((5, 3, 8, 8), np.uint8), np.eye(5), names, names, np.arange(5))
    assert bars([0.9, 0.1], 0, names)[0][0] == "$x^"
    assert bars([0.1, 0.9], 0, names)[0][0] == "a very long name that n\N{HORIZONTAL ELLIPSIS}"


def test_the_commonest_mistakes_come_first():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    taken = np.array([1, 1, 0, 1, 0, 2, 1, 1, 1])
    probs = np.eye(3)[taken]
    assert most_confused(probs, labels, 2) == [(2, 1, 3), (0, 1, 2)]
    assert most_confused(probs, labels, 9) == [(2, 1, 3), (0, 1, 2), (1, 0, 1)]
    assert most_confused(np.eye(3)[labels], labels, 3) == []
    assert nll(np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 0])) == pytest.approx((np.log(2) + np.log(4)) / 2)


@pytest.mark.parametrize("views", [1, 10])
def test_an_evaluation_keeps_the_probabilities_that_it_was_counted_from(views):
    rng = np.random.default_rng(0)
    net = tinynet.Sequential([Flatten("flatten"), Linear("fc1", 7, std=0.3)], (3, 4, 4), rng)
    x, labels = rng.standard_normal((9, views, 3, 4, 4), dtype=np.float32), rng.integers(0, 7, 9)
    x = x[:, 0] if views == 1 else x
    batches = [(x[:5], labels[:5]), (x[5:], labels[5:])]
    found = evaluate(net, tinynet.SoftmaxCrossEntropy(), batches)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.probs.shape == (9, 7) and found.images == 9
    assert found.top1_error == (found.probs.argmax(axis=1) != labels).mean()
    assert found.loss == pytest.approx(nll(found.probs, labels), rel=1e-5)
    assert all(layer.training for layer in net.layers)


def test_the_summary_says_what_was_left_out_and_needs_no_mistakes_and_no_time():
    one = Evaluation(0.0, 0.0, 0.01, 2, np.eye(2), np.arange(2))
    wrong = Evaluation(0.0, 0.0, 0.01, 2, np.eye(2)[::-1], np.arange(2))
    facts = {"steps": 5, "images": 0, "seconds": 0.0, "device": "cpu"}
    lines = list(report.summary(one, None, list("ab"), facts, None, 3))
    assert [line.split()[0] for line in lines] == ["2", "one", "guessing", "3", "5"]
    assert lines[-2:] == ["3 pictures could not be read and were left out", "5 steps"]
    *_, last = report.summary(one, None, list("ab"), facts | {"images": 10, "seconds": 2.0}, 5.0, 0, began_at=3)
    assert last == "5 steps; since --resume 2 steps, 10 pictures in 2 s on cpu: 5 a second"
    lines = list(report.summary(one, wrong, list("ab"), facts | {"images": 10}, 5.0, 0))
    assert lines[4] == "most frequent mistakes: a taken for b (1 of 1), b taken for a (1 of 1)"
