"""The generated pictures cannot be told apart without looking at shapes: a linear classifier on their pixels fails."""

import numpy as np
import pytest

from tinynet import data
from tinynet.data.embedded import CLASS_NAMES, EmbeddedSource, draw_figure, draw_picture

SIZE, COUNTS = 56, (1500, 500)


@pytest.fixture(scope="module")
def drawn():
    """(pictures, labels) for training, and for testing."""
    source = EmbeddedSource(SIZE, seed=0, quiet=True, counts=COUNTS)
    return [(split.read(np.arange(len(split)))[0], split.labels) for split in (source.train, source.test)]


def linear_error(train, test):
    """The test error of ridge regression from 28 x 28 colour pixels to ten classes, fitted exactly.

    Of several strengths of ridge the best on the test pictures counts: what fails here had every advantage.
    """
    def pixels(pictures):
        halved = pictures.reshape(len(pictures), 3, 28, 2, 28, 2).mean(axis=(3, 5), dtype=np.float32)
        return halved.reshape(len(pictures), -1) / 255                                 # (N, 2352)

    A, B = pixels(train[0]), pixels(test[0])
    A, B = A - A.mean(axis=0), B - A.mean(axis=0)
    targets = np.eye(10, dtype=np.float32)[train[1]] - 0.1                             # (N, 10)
    gram, likeness, errors = A @ A.T, B @ A.T, []                                      # dual: fewer rows than pixels
    for strength in (0.3, 1, 10):
        ridge = strength * np.trace(gram) / len(gram) * np.eye(len(gram), dtype=np.float32)
        scores = likeness @ np.linalg.solve(gram + ridge, targets)                     # (M, 10)
        errors.append(np.mean(scores.argmax(axis=1) != test[1]))
    return min(errors)


def test_a_linear_classifier_on_pixels_fails(drawn):
    assert 0.6 < linear_error(*drawn) < 0.9  # measured: 0.79; guessing has 0.90, and colours do help a little


def test_the_same_classifier_solves_what_colours_give_away(drawn):
    """The test of the test: the same pictures, each with a faint red stripe where its class has it."""
    striped = []
    for pictures, labels in drawn:
        pictures = pictures.copy()
        for picture, label in zip(pictures, labels):
            stripe = picture[0, 4 * label:4 * label + 4]
            stripe[...] = np.minimum(stripe + 60.0, 255)
        striped.append((pictures, labels))
    assert linear_error(*striped) < 0.3


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_every_class_can_be_drawn_at_any_size(name):
    for size in (1, 2, 7, 112):
        picture = draw_picture(name, np.random.default_rng(0), size)
        assert picture.shape == (3, size, size) and picture.dtype == np.uint8
    again, other = (draw_picture(name, np.random.default_rng(seed), 112) for seed in (0, 1))
    np.testing.assert_array_equal(picture, again)
    assert np.abs(picture.astype(int) - other).mean() > 10


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_figures_differ_in_place_size_and_shape(name):
    figures = [draw_figure(name, np.random.default_rng(seed), 64) for seed in range(40)]
    masks = np.array([np.asarray(figure) > 127 for figure in figures])                  # (40, 64, 64)
    areas = masks.sum(axis=(1, 2))
    rows, columns = (masks.sum(axis=axis) @ np.arange(64) / areas for axis in (2, 1))  # their middles
    assert min(rows.std(), columns.std()) > 2.5 and areas.std() > 0.15 * areas.mean()


def test_any_picture_can_be_drawn_alone(drawn):
    """From (seed, split, index): no picture depends on those before it."""
    for split, (pictures, labels) in enumerate(drawn):
        for index in (0, 17, len(labels) - 1):
            alone = draw_picture(CLASS_NAMES[labels[index]], np.random.default_rng((0, split, index)), SIZE)
            np.testing.assert_array_equal(pictures[index], alone)


def test_the_set_that_the_main_job_uses():
    source = data.open_source("embedded", 8, quiet=True)
    assert (len(source.train), len(source.test)) == (3000, 1000)
    for split, count in ((source.train, 300), (source.test, 100)):
        assert np.bincount(split.labels).tolist() == [count] * 10
