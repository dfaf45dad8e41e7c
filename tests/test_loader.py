"""How pictures become batches: what is drawn and applied, in which order, by which threads, and the statistics."""

import gc
import itertools
import json
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from test_data import in_time, message

import tinynet
from tinynet import data
from tinynet.data.augment import Sample
from tinynet.threads import ThreadCountError

ROOT = pathlib.Path(__file__).parents[1]
AXES = data.principal_axes(np.eye(3))


def sample(rng, N, margin):
    drawn = data.sample(rng, N, margin, data.Augmentation(), AXES)
    assert drawn.shifts is None
    return drawn.tops, drawn.lefts, drawn.flips


def training(split, batch_size, size, mean, rng, **more):
    return data.TrainingBatches(split, batch_size, size, data.Statistics(mean, np.eye(3)), rng, **more)


# ---- crops and flips -----------------------------------------------------------------------------------------------
def test_offsets_cover_zero_to_margin_inclusive_and_nothing_else():
    tops, lefts, flips = sample(np.random.default_rng(0), 3000, 4)
    for offsets in (tops, lefts):
        assert set(offsets.tolist()) == {0, 1, 2, 3, 4}
        assert np.bincount(offsets).min() > 500                                    # of 600 expected
    assert flips.dtype == bool and 0.45 < flips.mean() < 0.55


def test_each_picture_is_drawn_by_itself():
    tops, lefts, flips = sample(np.random.default_rng(0), 2178 * 20, 32)
    versions = set(zip(tops.tolist(), lefts.tolist(), flips.tolist()))
    assert len(versions) == 33 * 33 * 2 == 2178
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.03 and abs(np.corrcoef(tops[1:], tops[:-1])[0, 1]) < 0.03
    assert abs(np.corrcoef(flips, lefts)[0, 1]) < 0.03


def test_no_margin_leaves_one_place():
    tops, lefts, _ = sample(np.random.default_rng(0), 50, 0)
    assert not tops.any() and not lefts.any()


@pytest.mark.parametrize("share, expected", [(0, 0), (0.25, 250), (1, 1000)])
def test_flip_is_the_share_of_pictures_that_are_mirrored(share, expected):
    drawn = data.sample(np.random.default_rng(0), 1000, 0, data.Augmentation(flip=share), AXES)
    assert abs(drawn.flips.sum() - expected) <= 45 * (0 < share < 1)  # three standard deviations


def test_the_same_seed_draws_the_same():
    first, again, other = (sample(np.random.default_rng(seed), 20, 9) for seed in (5, 5, 6))
    assert all((a == b).all() for a, b in zip(first, again))
    assert any((a != b).any() for a, b in zip(first, other))


@pytest.mark.parametrize("mean_at", ["middle", "crop"])
@pytest.mark.parametrize("colour, divide", [(None, 1.0), ("deviations", 1.1)])
def test_augment_pixel_by_pixel(mean_at, colour, divide):
    rng = np.random.default_rng(0)
    N, S, size = 6, 9, 5
    pictures = rng.integers(0, 256, (N, 3, S, S)).astype(np.uint8)
    mean = rng.uniform(0, 255, (3, S, S)).astype(np.float32)
    tops, lefts = np.array([0, 4, 0, 4, 2, 1]), np.array([0, 0, 4, 4, 3, 2])
    flips = np.array([False, True, False, True, True, False])
    shifts = rng.normal(0, 9, (N, 3)) if colour else None
    before = pictures.copy()
    x = data.augment(pictures, Sample(tops, lefts, flips, shifts), mean, size,
                     data.Augmentation(mean_at=mean_at, colour=colour, divide=divide))
    assert x.shape == (N, 3, size, size) and x.dtype == np.float32 and x.flags.c_contiguous
    for n, channel, row, column in np.ndindex(x.shape):
        across = size - 1 - column if flips[n] else column
        top, left = tops[n], lefts[n]
        less = mean[channel, top + row, left + across] if mean_at == "crop" else mean[channel, 2 + row, 2 + column]
        expected = float(pictures[n, channel, tops[n] + row, lefts[n] + across]) - less
        expected = (expected + (shifts[n, channel] if colour else 0)) / divide
        assert abs(x[n, channel, row, column] - expected) < 1e-3
    np.testing.assert_array_equal(pictures, before)


def test_thirty_two_in_a_row_share_a_draw_in_the_2012_code():
    drawn = data.sample(np.random.default_rng(0), 100, 32, data.AUGMENTATIONS["code-2012"], AXES)
    for start in (0, 32, 64, 96):
        for values in (drawn.tops, drawn.lefts, drawn.flips):
            assert len(set(values[start:start + 32].tolist())) == 1
    assert len(set(drawn.tops.tolist())) > 1 and len(drawn.tops) == len(drawn.flips) == len(drawn.shifts) == 100
    assert len(set(drawn.shifts[:, 0].tolist())) == 100, "colours are drawn for each picture by itself"


COVARIANCE = np.array([[5476.0, 5100, 4700], [5100, 5184, 5000], [4700, 5000, 5929]])  # of photographs, about


def test_colours_shift_along_the_axes_by_a_tenth_of_the_deviations():
    how = data.Augmentation(colour="deviations")
    shifts = data.sample(np.random.default_rng(0), 40000, 0, how, data.principal_axes(COVARIANCE)).shifts
    np.testing.assert_allclose(np.cov(shifts.T), 0.01 * COVARIANCE, rtol=0.05)       # std 0.1 of the pixels' own
    assert abs(shifts.mean()) < 0.2 and 7 < shifts[:, 0].std() < 8                   # grey levels, as measured of it


def test_taken_literally_the_eigenvalues_are_those_of_pixels_from_0_to_1():
    how = data.Augmentation(colour="eigenvalues")
    shifts = data.sample(np.random.default_rng(0), 40000, 0, how, data.principal_axes(COVARIANCE)).shifts / 255
    unit = COVARIANCE / 255**2
    np.testing.assert_allclose(np.cov(shifts.T), 0.01 * unit @ unit, rtol=0.05)


class Colourful:
    """A split of seven pictures of one grey, so that whatever else a crop is, is the shift."""

    labels, names, unreadable = np.arange(7), [str(i) for i in range(7)], {}

    def __len__(self):
        return 7

    def read(self, indices):
        return np.full((len(indices), 3, 6, 6), 100, np.uint8), np.ones(len(indices), bool)


def colour_batches(epochs, seed=0):
    statistics = data.Statistics(np.full((3, 6, 6), 100, np.float32), COVARIANCE)
    return data.TrainingBatches(Colourful(), 3, 4, statistics, np.random.default_rng(seed),
                                data.AUGMENTATIONS["code-2012"], colour_epochs=epochs)


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_colours_are_switched_off_at_the_first_batch_of_an_epoch_and_not_a_batch_earlier_or_later(epochs):
    batches = colour_batches(epochs)
    shifted = [np.abs(next(batches)[0]).max(axis=(1, 2, 3)) > 1e-3 for _ in range(12)]     # three batches an epoch
    assert [picture.all() for picture in shifted] == [True] * 3 * epochs + [False] * (12 - 3 * epochs)
    assert not any(picture.any() for picture in shifted[3 * epochs:])
    assert all(np.abs(next(batches)[0]).max() > 1e-3 for batches in [colour_batches(None)] for _ in range(30))


def test_without_colour_nothing_is_divided_any_more():
    how = data.AUGMENTATIONS["code-2012"].without_colour()
    assert (how.colour, how.divide, how.chunk, how.mean_at) == (None, 1, 32, "middle")


@pytest.mark.parametrize("kept_after", range(9))
def test_batches_that_go_on_before_or_after_the_colours_went_are_the_same(kept_after):
    batches = colour_batches(2)
    for _ in range(kept_after):
        next(batches)
    state, later = json.loads(json.dumps(batches.state())), colour_batches(2, seed=5)
    next(later)                                                     # it may have begun with something else
    later.restore(state)
    for _ in range(9):
        for one, other in zip(next(batches), next(later)):
            np.testing.assert_array_equal(one, other)


def test_the_ten_views_are_four_corners_the_middle_and_their_mirror_images():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 256, 256), dtype=np.uint8)
    views = data.ten_crops(pictures, 224)
    assert views.shape == (2, 10, 3, 224, 224) and views.dtype == np.uint8
    for i, (top, left) in enumerate([(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]):
        cut = pictures[:, :, top:top + 224, left:left + 224]
        np.testing.assert_array_equal(views[:, i], cut)
        np.testing.assert_array_equal(views[:, i + 5], cut[..., ::-1])


def test_every_recipe_has_its_augmentation():
    assert data.AUGMENTATIONS.keys() == tinynet.RECIPES.keys()


def test_a_crop_larger_than_the_picture_is_refused():
    with pytest.raises(ValueError, match="a crop of 9 pixels does not fit into pictures of 8"):
        data.center_crop(np.zeros((1, 3, 8, 8)), 9)


@pytest.mark.parametrize("S, size, start", [(256, 224, 16), (256, 227, 14), (112, 99, 6), (8, 8, 0)])
def test_the_middle_is_where_the_2012_code_has_it(S, size, start):
    pictures = np.arange(3 * S * S).reshape(1, 3, S, S)
    middle = data.center_crop(pictures, size)
    assert middle.shape == (1, 3, size, size) and np.shares_memory(middle, pictures)
    np.testing.assert_array_equal(middle, pictures[:, :, start:start + size, start:start + size])
    np.testing.assert_array_equal(data.center_crop(pictures[0], size), middle[0])


# ---- batches -------------------------------------------------------------------------------------------------------
class Numbered:
    """A split whose picture i says i in its first channel, its row in the second and its column in the third."""

    def __init__(self, N, S, unreadable=()):
        self.labels = np.arange(N, dtype=np.int64) % 10
        self.names = [str(i) for i in range(N)]
        self.S, self.bad, self.unreadable, self.reads = S, set(unreadable), {}, []

    def __len__(self):
        return len(self.labels)

    def read(self, indices):
        self.reads.append(indices.copy())
        readable = np.array([i not in self.bad for i in indices])
        rows, columns = np.indices((self.S, self.S))
        pictures = [np.stack([np.full((self.S, self.S), i), rows, columns]) for i in indices[readable]]
        return np.array(pictures, np.uint8).reshape(-1, 3, self.S, self.S), readable


def numbers(x):
    return x[:, 0, 0, 0].astype(int).tolist()


def zeros(S):
    return np.zeros((3, S, S), np.float32)


def test_an_epoch_has_every_picture_once_in_a_new_order():
    split = Numbered(23, 8)
    batches = training(split, 5, 6, zeros(8), np.random.default_rng(0))
    epochs = [[next(batches) for _ in range(5)] for _ in range(3)]
    orders = []
    for batch_list in epochs:
        assert [len(x) for x, _ in batch_list] == [5, 5, 5, 5, 3]                  # the last one is short
        order = [i for x, _ in batch_list for i in numbers(x)]
        assert sorted(order) == list(range(23)) and order != list(range(23))
        assert [i % 10 for i in order] == [label for _, labels in batch_list for label in labels]
        orders.append(order)
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_is_cut_and_mirrored_and_all_offsets_occur():
    batches = training(Numbered(40, 9), 40, 6, zeros(9), np.random.default_rng(0))
    corners, mirrored = set(), 0
    for x, labels in itertools.islice(batches, 10):
        assert x.dtype == np.float32 and x.shape == (40, 3, 6, 6) and labels.dtype == np.int64
        step = x[:, 2, 0, 1] - x[:, 2, 0, 0]                                       # the columns, left to right or back
        assert set(step.tolist()) == {1.0, -1.0}
        mirrored += int((step < 0).sum())
        corners |= set(zip(x[:, 1, 0, 0].tolist(), x[:, 2, 0].min(axis=1).tolist()))
    assert corners == set(itertools.product(range(4), range(4))) and 150 < mirrored < 250


def test_the_middle_of_the_mean_image_is_taken_off_wherever_the_crop_was():
    """As in the 2012 code; Caffe takes off what lies under the crop."""
    S, size = 10, 6
    mean = np.random.default_rng(1).uniform(0, 255, (3, S, S)).astype(np.float32)
    plain, less = (training(Numbered(12, S), 12, size, image, np.random.default_rng(0))
                   for image in (zeros(S), mean))
    for _ in range(3):
        (x, labels), (y, same) = next(plain), next(less)
        np.testing.assert_array_equal(labels, same)
        np.testing.assert_allclose(y, x - mean[:, 2:8, 2:8], atol=1e-4)
        assert y.dtype == np.float32


def test_batches_are_the_same_for_the_same_seed_only():
    def some(seed):
        return list(itertools.islice(
            training(Numbered(20, 9), 6, 7, zeros(9), np.random.default_rng(seed)), 9))
    first, again, other = some(3), some(3), some(4)
    assert all((x == y).all() and (a == b).all() for (x, a), (y, b) in zip(first, again))
    assert any(x.shape != y.shape or (x != y).any() for (x, _), (y, _) in zip(first, other))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_batches_do_not_depend_on_how_many_threads_there_are_nor_on_their_speed(threads):
    def some(threads, pause):
        split, pauses = Numbered(20, 9), np.random.default_rng(1)
        read = split.read
        split.read = lambda indices: threading.Event().wait(pause * pauses.random()) or read(indices)
        return list(itertools.islice(training(split, 6, 7, zeros(9), np.random.default_rng(0), threads=threads), 9))
    for (x, a), (y, b) in zip(some(1, 0), some(threads, 0.02), strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("stop", range(9))
def test_a_kept_position_brings_the_same_batches_again(stop):
    """In the middle of an epoch, at its end, and where nothing was asked for yet."""
    def fresh(seed):
        how = data.Augmentation(colour="deviations", chunk=2)
        return training(Numbered(20, 9), 6, 7, zeros(9), np.random.default_rng(seed), how=how)
    batches = fresh(0)
    for _ in range(stop):
        next(batches)
    kept = json.loads(json.dumps(batches.state()))
    again = fresh(1)
    again.restore(kept)
    for (x, a), (y, b) in itertools.islice(zip(batches, again), 9):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(a, b)


def test_to_leave_early_waits_for_nobody():
    """Nor does the garbage collector, in whose hands a loader may end."""
    split, free = Numbered(40, 8), threading.Event()
    read = split.read
    split.read = lambda indices: len(split.reads) < 1 and read(indices) or free.wait(30) and read(indices)
    batches = data.test_batches(split, 4, 6, zeros(8))
    try:
        next(batches)
        in_time(batches.close)
    finally:
        free.set()


def test_reading_ahead_is_done_by_other_threads_and_has_a_bound():
    split, threads = Numbered(400, 8), set()
    read = split.read

    def watched(indices):
        threads.add(threading.current_thread())
        return read(indices)

    split.read = watched
    batches = training(split, 4, 6, zeros(8), np.random.default_rng(0), threads=2)
    next(batches)
    time.sleep(0.2)
    assert len(split.reads) == 3 and threading.current_thread() not in threads


def test_an_exception_in_the_thread_reaches_the_caller():
    split = Numbered(8, 8)

    def fail(indices):
        raise OSError("disk.png: gone")

    split.read = fail
    batches = training(split, 4, 6, zeros(8), np.random.default_rng(0))
    assert message(OSError, lambda: in_time(lambda: next(batches))) == "disk.png: gone"


def test_a_batch_of_nothing_is_skipped():
    split = Numbered(8, 8, unreadable=range(7))                                    # only picture 7 can be read
    batches = training(split, 2, 6, zeros(8), np.random.default_rng(0))
    assert [numbers(in_time(lambda: next(batches))[0]) for _ in range(3)] == [[7], [7], [7]]
    assert [numbers(x) for x, _ in data.test_batches(split, 2, 6, zeros(8))] == [[7]]


def test_a_broken_file_does_not_change_how_the_others_are_cut():
    def some(unreadable):
        batches = training(Numbered(30, 12, unreadable), 30, 6, zeros(12), np.random.default_rng(0))
        x, _ = next(batches)
        return dict(zip(numbers(x), x))
    whole, fewer = some([]), some([3, 11, 20])
    assert len(fewer) == 27
    for i, crop in fewer.items():
        np.testing.assert_array_equal(crop, whole[i])


def test_testing_takes_every_picture_once_in_order_from_the_middle():
    S, size = 11, 6
    mean = np.full((3, S, S), 0.5, np.float32)
    got = list(data.test_batches(Numbered(13, S), 5, size, mean))
    assert [len(x) for x, _ in got] == [5, 5, 3]
    assert [label for _, labels in got for label in labels] == [i % 10 for i in range(13)]
    x = np.concatenate([x for x, _ in got])
    assert x.dtype == np.float32 and (x[:, 0] + 0.5 == np.arange(13)[:, None, None]).all()
    np.testing.assert_array_equal(x[:, 1] + 0.5, np.broadcast_to(np.arange(2, 8)[:, None], (13, 6, 6)))
    np.testing.assert_array_equal(x[:, 2] + 0.5, np.broadcast_to(np.arange(2, 8), (13, 6, 6)))


def test_testing_takes_off_the_middle_of_the_mean_image():
    mean = np.random.default_rng(1).uniform(0, 255, (3, 10, 10)).astype(np.float32)
    (x, _), = data.test_batches(Numbered(4, 10), 4, 6, zeros(10))
    (y, _), = data.test_batches(Numbered(4, 10), 4, 6, mean)
    np.testing.assert_allclose(y, x - mean[:, 2:8, 2:8], atol=1e-4)


def test_the_covariance_is_that_of_all_pixels():
    class Noise(Numbered):
        def read(self, indices):
            return pictures[indices], np.ones(len(indices), bool)
    pictures = np.random.default_rng(0).integers(0, 256, (150, 3, 4, 4), dtype=np.uint8)
    pictures[:, 1] = pictures[:, 0] // 2                                             # green goes with red
    found = data.compute_statistics(Noise(150, 4), quiet=True).covariance
    np.testing.assert_allclose(found, np.cov(pictures.transpose(1, 0, 2, 3).reshape(3, -1), bias=True), rtol=1e-3)


def test_a_test_set_without_a_readable_picture_gets_one_line():
    split = Numbered(6, 8, unreadable=range(6))
    assert "none of" in message(data.DataError, lambda: list(data.test_batches(split, 4, 6, zeros(8))))


# ---- the mean image ------------------------------------------------------------------------------------------------
def test_the_mean_is_exact_over_more_than_one_run():
    class Noise(Numbered):
        def read(self, indices):
            return pictures[indices], np.ones(len(indices), bool)
    pictures = np.random.default_rng(0).integers(0, 256, (600, 3, 4, 4), dtype=np.uint8)
    mean = data.compute_statistics(Noise(600, 4), quiet=True).mean
    assert mean.dtype == np.float32 and mean.shape == (3, 4, 4)
    np.testing.assert_array_equal(mean, (pictures.astype(np.int64).sum(0) / 600).astype(np.float32))


def test_the_mean_leaves_out_what_cannot_be_read():
    mean = data.compute_statistics(Numbered(5, 4, unreadable=[0, 4]), quiet=True).mean
    assert (mean[0] == 2).all()


def test_quiet_is_quiet_and_a_long_mean_is_not(capsys, monkeypatch):
    data.compute_statistics(Numbered(5, 4), quiet=True)
    assert capsys.readouterr() == ("", "")
    clock = itertools.count(0, 60)
    monkeypatch.setattr("tinynet.console.time.monotonic", lambda: next(clock))
    data.compute_statistics(Numbered(5, 4))
    assert "mean image: 5/5 pictures" in capsys.readouterr().err


# ---- threads ---------------------------------------------------------------------------------------------------------
def taken_ahead(split):
    """How many batches have been read when one was handed out, and the threads have had time to go on."""
    batches = training(split, 4, 6, zeros(8), np.random.default_rng(0))
    next(batches)
    before = -1
    while before < len(split.reads):
        before = len(split.reads)
        time.sleep(0.1)
    return before


@pytest.mark.parametrize("cores, threads", [(64, 4), (2, 2), (1, 1)])
def test_on_any_number_of_cores_only_a_few_batches_are_prepared(cores, threads, monkeypatch):
    monkeypatch.delenv("TINYNET_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert taken_ahead(Numbered(400, 8)) == threads + 1


@pytest.mark.parametrize("wanted, threads", [("64", 4), ("3", 3), ("1", 1)])
def test_the_loader_has_as_many_threads_as_the_environment_says(wanted, threads, monkeypatch):
    monkeypatch.setenv("TINYNET_THREADS", wanted)
    assert taken_ahead(Numbered(400, 8)) == threads + 1


@pytest.mark.parametrize("wanted", ["0", "abc", "-1", "1.5"])
def test_a_number_of_threads_that_is_none_gets_one_line(wanted, monkeypatch):
    monkeypatch.setenv("TINYNET_THREADS", wanted)
    text = message(ThreadCountError, next, data.test_batches(Numbered(4, 8), 4, 6, zeros(8)))
    assert text == f"TINYNET_THREADS must be a whole number of at least 1, it is {wanted!r}"


def data_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("tinynet data")]


def gone():
    """Whether the threads of loaders end. One that is busy yet keeps its loader from being collected."""
    deadline = time.monotonic() + 10
    while data_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
        gc.collect()
    return not data_threads()


@pytest.mark.parametrize("how", ["to the end", "left early", "an exception", "thrown away"])
def test_no_threads_are_left_behind(how):
    assert gone()
    split = Numbered(40, 8)
    if how == "an exception":
        split.read = lambda indices: (_ for _ in ()).throw(OSError("gone"))
        with pytest.raises(OSError):
            next(training(split, 4, 6, zeros(8), np.random.default_rng(0)))
    elif how == "thrown away":
        batches = training(split, 4, 6, zeros(8), np.random.default_rng(0))
        next(batches)
        assert data_threads()
        del batches
    else:
        batches = data.test_batches(split, 4, 6, zeros(8))
        next(batches)
        assert data_threads()
        if how == "to the end":
            list(batches)
        else:
            batches.close()
    assert gone()


def test_a_forked_process_is_told_and_does_not_wait_for_threads_that_it_has_not():
    program = """
import os, sys
from tinynet.data.workers import in_order
results = in_order(lambda task: task, iter(range(100)), threads=2)
assert next(results) == 0
child = os.fork()
if child == 0:
    try:
        list(results)
    except RuntimeError as error:
        print(error)
        fresh = list(in_order(lambda task: task, range(9), threads=2))
        sys.stdout.flush()
        os._exit(7 if fresh == list(range(9)) else 1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert list(results) == list(range(1, 100))
"""
    ran = subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", program], capture_output=True,
                         text=True, timeout=60, cwd=ROOT)
    assert (ran.returncode, ran.stderr) == (0, "") and ran.stdout.startswith("this process was forked ")


# ---- mistakes --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, value", [
    ("colour", "typo"), ("colour", ""), ("mean_at", "centre"), ("flip", -0.1), ("flip", 1.1), ("flip", float("nan")),
    ("chunk", 0), ("chunk", 2.0), ("spread", -1.0), ("divide", 0.0), ("divide", float("inf"))])
def test_an_augmentation_that_is_none_is_refused(name, value):
    assert message(ValueError, lambda: data.Augmentation(**{name: value})).startswith(f"Augmentation: {name} must be ")


@pytest.mark.parametrize("size", [-3, 0, 9])
def test_crops_that_do_not_fit_are_refused(size):
    pictures, mean = np.zeros((1, 3, 8, 8), np.uint8), zeros(8)
    at = Sample(np.array([0]), np.array([0]), np.array([False]), None)
    for function in (lambda: data.center_crop(pictures, size), lambda: data.ten_crops(pictures, size),
                     lambda: data.augment(pictures, at, mean, size),
                     lambda: training(Numbered(4, 8), 4, size, mean, np.random.default_rng(0)),
                     lambda: next(data.test_batches(Numbered(4, 8), 4, size, mean))):
        assert message(ValueError, function) == f"a crop of {size} pixels does not fit into pictures of 8"


def test_places_outside_the_picture_are_refused():
    pictures, mean, rng = np.zeros((2, 3, 8, 8), np.uint8), zeros(8), np.random.default_rng(0)
    for tops, lefts, name in (([0, 4], [0, 0], "tops"), ([0, 0], [-1, 0], "lefts")):
        at = Sample(np.array(tops), np.array(lefts), np.zeros(2, bool), None)
        assert f"{name} must lie between 0 and 3" in message(ValueError, data.augment, pictures, at, mean, 5)
    assert "by 2 pixels" in message(ValueError, data.sample, rng, 2, -2, data.Augmentation(), AXES)


def test_colours_that_do_not_vary_are_not_shifted_by_a_number_that_is_none():
    """A grey data set has two axes without variance, which rounding can make negative."""
    for seed in range(20):
        grey = np.outer(*[np.ones(3) * np.random.default_rng(seed).uniform(30, 90)] * 2)
        drawn = data.sample(np.random.default_rng(0), 50, 0, data.AUGMENTATIONS["code-2012"], data.principal_axes(grey))
        assert np.isfinite(drawn.shifts).all()
        assert np.ptp(drawn.shifts, axis=1).max() < 1e-4 * np.abs(drawn.shifts).max()
