"""Two ranks with a part of the network each compute what one process computes, and send what the papers say."""

import copy
import hashlib
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from test_parallel import make_run, train
from test_train_script import FILES, SCRIPT, make_colours, options

import tinynet
from tinynet import runs
from tinynet.checkpoint import load_arrays
from tinynet.layers import LRN, Conv2d, Flatten, Linear, ReLU
from tinynet.parallel import (
    SPLIT,
    Columns,
    ColumnSGD,
    DataParallel,
    Mixed,
    ParallelError,
    columns,
    mixed,
    require_shards,
    threads,
)

needs_mpi = pytest.mark.skipif(not (os.environ.get("TINYNET_REQUIRE_MPI") or importlib.util.find_spec("mpi4py")),
                               reason="mpi4py is not installed: pip install -e '.[mpi]'")
HERE = pathlib.Path(__file__).parent
RECIPES = ["paper", "code-2012", "caffe"]
CASES = [(recipe, "columns") for recipe in RECIPES] + [("paper", "mixed"), ("owt", "mixed")]
N, SIZE, CLASSES = 5, 67, 5  # odd numbers: 2 and 3 pictures, 2 and 3 units of the last layer


def narrow(recipe, dtype="float32", classes=CLASSES):
    """The table of a recipe with an eighth of the kernels, and 32 units."""
    layers = tinynet.RECIPES[recipe].layers(classes)
    for layer in layers[:-1]:
        if isinstance(layer, Conv2d):
            layer.K //= 8
        elif isinstance(layer, Linear):
            layer.OUT = 32
    return tinynet.Sequential(layers, (3, SIZE, SIZE), np.random.default_rng(0), dtype)


def batches(dtype, count=1):
    rng = np.random.default_rng(1)
    return [(rng.standard_normal((N, 3, SIZE, SIZE)).astype(dtype) * 50, rng.integers(0, CLASSES, N))
            for _ in range(count)]


def trajectory(net, sgd, steps, dtype):
    """Train; the logits of the last step, the losses, and everything that a checkpoint would keep."""
    loss, losses = tinynet.SoftmaxCrossEntropy(), []
    for x, labels in batches(dtype, steps):
        logits = net.forward(x)
        losses.append(float(loss.forward(logits, labels)))
        net.backward(loss.backward())
        sgd.step()
    return {"logits": logits, "losses": np.array(losses), **net.state()["params"],
            **{f"v {name}": v for name, v in sgd.state()["velocity"].items()}}


def alone(recipe, steps, dtype):
    net = narrow(recipe, dtype)
    return trajectory(net, tinynet.SGD(net, lr=1e-3), steps, dtype)


def on_two_ranks(recipe, kind, steps, dtype):
    def work(communicator):
        net = narrow(recipe, dtype)
        sgd = tinynet.SGD(net, lr=1e-3)
        part = SPLIT[kind](net, communicator)
        return trajectory(part, ColumnSGD(sgd, part), steps, dtype)

    first, second = threads.run(2, work)
    for name in first:
        assert first[name].tobytes() == second[name].tobytes(), name
    return first


def difference(one, other):
    """The largest relative difference of an array, as a norm, and its name."""
    return max((np.linalg.norm(other[name] - one[name]) / max(np.linalg.norm(one[name]), 1e-30), name) for name in one)


@pytest.mark.parametrize("recipe, kind", CASES)
@pytest.mark.parametrize("dtype, bound", [("float32", 3e-6), ("float64", 1e-14)])
def test_one_step_is_that_of_one_process(recipe, kind, dtype, bound):
    """After the first step the velocity is the gradient, times the rate: this compares every gradient.

    Five pictures go by Winograd's method, and parts of two or three by columns.
    """
    worst, name = difference(alone(recipe, 1, dtype), on_two_ranks(recipe, kind, 1, dtype))
    assert worst < bound, name


@pytest.mark.parametrize("recipe, kind", CASES)
@pytest.mark.parametrize("dtype, bound", [("float32", 5e-6), ("float64", 1e-13)])
def test_30_steps_are_those_of_one_process(recipe, kind, dtype, bound):
    worst, name = difference(alone(recipe, 30, dtype), on_two_ranks(recipe, kind, 30, dtype))
    assert worst < bound, name


def no_sum(self, dy):
    return np.ascontiguousarray(dy[:, self.own])


def twice(self, dy):
    return columns.Gather.backward(self, dy)


def no_sum_of_pictures(self, dy):
    return dy[self._rows(self.communicator.rank)]


def own_kernels(self, dy):
    return tinynet.Sequential.backward(self, dy)


def own_mask(self, shape, dtype):
    return tinynet.layers.Dropout.draw_mask(self, shape, dtype)


def not_given_back(self, dy):
    return np.ascontiguousarray(tinynet.layers.LRN.backward(self, self._widened(dy))[:, self.inside])


def nothing_lent(self, x):
    return np.ascontiguousarray(tinynet.layers.LRN.forward(self, self._widened(x))[:, self.inside])


@pytest.mark.parametrize("owner, method, bug", [
    (columns.Gather, "backward", no_sum), (columns.Logits, "backward", twice),
    (columns.HalfDropout, "draw_mask", own_mask), (columns.BorderLRN, "backward", not_given_back),
    (columns.BorderLRN, "forward", nothing_lent), (mixed.GatherPictures, "backward", no_sum_of_pictures),
    (Mixed, "backward", own_kernels)], ids=lambda value: getattr(value, "__name__", value))
def test_a_bug_would_be_seen(monkeypatch, owner, method, bug):
    """The bounds above are narrow enough."""
    monkeypatch.setattr(owner, method, bug)
    kind = "mixed" if owner in (Mixed, mixed.GatherPictures) else "columns"
    with pytest.raises(AssertionError):  # the two ranks differ, or they differ from one process
        assert difference(alone("paper", 1, "float64"), on_two_ranks("paper", kind, 1, "float64"))[0] < 1e-9


def bytes_crossing(size, work):
    """What each rank has sent and received, under each label."""
    def counted(communicator):
        work(communicator)
        return communicator.sent, communicator.received
    return threads.run(size, counted)


def test_bytes_at_227_pixels_are_those_of_the_formula():
    """A picture: 128 maps of 13 x 13 before conv3, of 6 x 6 before fc6, 2048 units before fc7 and before fc8."""
    classes, x = 1000, np.zeros((1, 3, 227, 227), np.float32)

    def work(communicator):
        whole = tinynet.AlexNet("code-2012", classes, 227, rng=np.random.default_rng(0))
        net, loss = Columns(whole, communicator), tinynet.SoftmaxCrossEntropy()
        loss.forward(net.forward(x), [0])
        forward = communicator.sent.copy()
        net.backward(loss.backward())
        assert forward == {"conv3": 86528, "fc6": 18432, "fc7": 8192, "fc8": 8192, "logits": 2000}
        assert communicator.sent == {**{name: 2 * size for name, size in forward.items()}, "logits": 2000}

    for sent, received in bytes_crossing(2, work):
        assert sent == received
        step = 128 * (sent.total() - sent["logits"])
        assert step == 2 * 128 * 4 * (128 * 13 * 13 + 128 * 6 * 6 + 2048 + 2048) == 31_064_064


def test_bytes_of_both_ways_at_once_at_227_pixels():
    """The gradients of the kernels; of a picture, all maps of 6 x 6 or half of the units."""
    batch = np.zeros((4, 3, 227, 227), np.float32)

    def work(communicator):
        whole = tinynet.AlexNet("paper", rng=np.random.default_rng(0))
        net, loss = Mixed(whole, communicator), tinynet.SoftmaxCrossEntropy()
        loss.forward(net.forward(batch), [0, 1, 2, 3])
        net.backward(loss.backward())

    for sent, received in bytes_crossing(2, work):
        assert sent == received
        kernels = sum(size for name, size in sent.items() if name.startswith("conv"))
        assert kernels == 4 * 2_334_080  # parameters
        assert {name: sent[name] for name in ("fc6", "fc7", "fc8", "logits")} == {
            "fc6": 2 * 2 * 4 * 9216, "fc7": 2 * 4 * 4 * 2048, "fc8": 2 * 4 * 4 * 2048, "logits": 4 * 4 * 500}
        assert set(sent) == {"conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8", "logits"}


def test_bytes_are_under_the_layer_that_reads_them():
    """In recipe owt a dropout comes between flatten and fc6."""
    def work(communicator):
        Mixed(narrow("owt"), communicator).forward(batches("float32")[0][0])

    for sent, _ in bytes_crossing(2, work):
        assert set(sent) == {"fc6", "fc7", "fc8", "logits"}


def test_lrn_without_groups_lends_two_maps():
    def work(communicator):
        net, loss = Columns(narrow("paper"), communicator), tinynet.SoftmaxCrossEntropy()
        x, labels = batches("float32")[0]
        loss.forward(net.forward(x), labels)
        net.backward(loss.backward())

    for sent, received in bytes_crossing(2, work):
        assert sent["lrn1"] == received["lrn1"] == 2 * N * 4 * 2 * 15 * 15


def test_bytes_of_data_parallel_are_the_gradients():
    """With two ranks, each sends as many bytes as there are in all parameters: 244 MB for the network of the paper."""
    params = narrow("paper").summary().params

    def work(communicator):
        net, loss = DataParallel(narrow("paper"), communicator, 2), tinynet.SoftmaxCrossEntropy()
        x, labels = (each[:4] for each in batches("float32")[0])
        loss.forward(net.forward(x), labels)
        net.backward(loss.backward())

    for sent, received in bytes_crossing(2, work):
        logits = 2 * CLASSES * 4
        assert abs(sent.total() - logits - 4 * params) <= 4 * 16  # odd arrays are cut unevenly
        assert sent["logits"] == received["logits"] == logits
    assert 4 * 60_965_224 == 243_860_896


# ------------------------------------------------------------------------------------------------------ runs
@pytest.mark.parametrize("kind", SPLIT)
def test_a_run_can_change_between_one_process_and_two(tmp_path, kind):
    def begin(communicator, folder, stop):
        run = make_run(communicator, tmp_path / folder, 5, split=kind)
        run.begin({})
        if stop:
            with pytest.raises(KeyboardInterrupt):
                train(run, stop_after=2)
        else:
            return train(run)

    def resume(communicator, folder):
        run = make_run(communicator, tmp_path / folder, 5, split=kind)
        run.resume()
        assert run.step == 2
        return train(run)

    whole, = threads.run(1, lambda communicator: begin(communicator, "alone", False))
    both = threads.run(2, lambda communicator: begin(communicator, "both", False))
    threads.run(2, lambda communicator: begin(communicator, "both first", True))
    then_alone, = threads.run(1, lambda communicator: resume(communicator, "both first"))
    threads.run(1, lambda communicator: begin(communicator, "alone first", True))
    then_both = threads.run(2, lambda communicator: resume(communicator, "alone first"))
    for name in both[0]:
        assert both[0][name].tobytes() == both[1][name].tobytes(), name
    for other in (both[0], then_alone, then_both[0]):
        assert other.keys() == whole.keys()
        for name, array in whole.items():
            assert np.allclose(other[name], array, rtol=1e-4, atol=1e-6, equal_nan=True), name
    assert {path.name for path in (tmp_path / "both").iterdir()} == {
        "checkpoint-000000.npz", "checkpoint-000003.npz", "checkpoint-000005.npz", "config.json", "metrics.csv",
        "metrics.jsonl"}


@pytest.mark.parametrize("kind", SPLIT)
def test_stopped_and_resumed_on_two_has_the_same_bits(tmp_path, kind):
    def work(communicator, stop):
        run = make_run(communicator, tmp_path / str(stop), 5, split=kind)
        run.begin({})
        if stop:
            with pytest.raises(KeyboardInterrupt):
                train(run, stop_after=2)
            run = make_run(communicator, tmp_path / str(stop), 5, split=kind)
            run.resume()
        return train(run)

    never, stopped = (threads.run(2, lambda communicator, stop=stop: work(communicator, stop))[0]
                      for stop in (False, True))
    assert all(stopped[name].tobytes() == array.tobytes() for name, array in never.items())


def test_when_it_is_time_to_save_is_for_rank_0_to_say(tmp_path):
    """Its clock alone decides, so that both ranks save after the same step."""
    def work(communicator):
        run = make_run(communicator, tmp_path, 2, split="columns")
        run.begin({})
        run.seconds_between_saves = 0 if communicator.rank == 0 else 1e9
        saved, save = [], run.save
        run.save = lambda: (saved.append(run.step), save())
        train(run)
        return saved

    assert threads.run(2, work) == [[1, 2, 2]] * 2  # after each step, and after the epoch


def test_a_fault_of_one_rank_alone_saves_nothing(tmp_path):
    """The other rank cannot be asked for its half: it may be in the middle of a step."""
    def work(communicator):
        run = make_run(communicator, tmp_path, 5, split="columns")
        run.begin({})
        if communicator.rank == 0:
            run.batches = Lost(run.batches)
        train(run)

    with pytest.raises(OSError, match="the data are gone"):
        threads.run(2, work)
    assert [path.name for path in runs.checkpoints(tmp_path)] == ["checkpoint-000000.npz"]


class Lost:
    """Batches of which the third cannot be read."""

    def __init__(self, batches):
        self.batches, self.left = batches, 2

    def __next__(self):
        if not self.left:
            raise OSError("the data are gone")
        self.left -= 1
        return next(self.batches)

    def __getattr__(self, name):
        return getattr(self.batches, name)


@pytest.mark.parametrize("kind", SPLIT)
def test_weights_are_those_of_the_whole_network(tmp_path, kind):
    def work(communicator):
        net = SPLIT[kind](narrow("caffe"), communicator)
        net.save(tmp_path / "weights.npz")
        net.communicator.barrier()
        before = net.whole()
        net.named_params()["conv2.w"][...] = 0
        net.load(tmp_path / "weights.npz")
        return before, net.whole()

    for nets in threads.run(2, work):
        for net in nets:
            assert all(array.tobytes() == narrow("caffe").named_params()[name].tobytes()
                       for name, array in net.named_params().items())
    saved, whole = load_arrays(tmp_path / "weights.npz"), narrow("caffe").named_params()
    assert {name: array.shape for name, array in saved.items()} == {name: w.shape for name, w in whole.items()}


def test_each_rank_has_half_of_every_parameter():
    whole = narrow("paper", classes=6).named_params()

    def work(communicator):
        net = Columns(narrow("paper", classes=6), communicator)
        assert all(2 * half.size == whole[name].size for name, half in net.named_params().items())
        assert not net.net.named_params()

    threads.run(2, work)


@pytest.mark.parametrize("kind", SPLIT)
@pytest.mark.parametrize("count", [1, N])
def test_predictions_are_those_of_the_whole_network(kind, count):
    x = batches("float64")[0][0][:count]
    wanted = narrow("paper", "float64").predict(x)
    for found in threads.run(2, lambda communicator: SPLIT[kind](narrow("paper", "float64"), communicator).predict(x)):
        assert found.shape == wanted.shape and np.allclose(found, wanted, rtol=1e-12)


def program(size, path, *arguments, cwd=None):
    """A program on `size` ranks, or alone."""
    mpiexec = [pathlib.Path(sys.executable).with_name("mpiexec"), "-n", size] if size > 1 else []
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "TINYNET_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run([str(word) for word in (*mpiexec, sys.executable, path, *arguments)],
                          cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@needs_mpi
@pytest.mark.parametrize("kind", SPLIT)
def test_processes_give_the_bits_of_threads(tmp_path, kind):
    def work(communicator):
        run = make_run(communicator, tmp_path / "threads", 5, split=kind)
        run.begin({})
        results, sha = train(run), hashlib.sha256()
        for name in sorted(results):
            sha.update(results[name].tobytes())
        return sha.hexdigest()

    ran = program(2, HERE / "parallel_program.py", tmp_path / "processes", 5, "--parallel", kind)
    assert set(re.findall("[0-9a-f]{64}", ran.stdout)) == set(threads.run(2, work)), ran.stderr


@needs_mpi
def test_the_script_trains_columns(tmp_path):
    make_colours(tmp_path / "colours", train=6, test=2)
    settings = {"batch-size": 8, "recipe": "paper"}
    one = program(1, SCRIPT, *options("colours", "one", **settings), cwd=tmp_path)
    two = program(2, SCRIPT, *options("colours", "two", **settings), "--parallel", "columns", cwd=tmp_path)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert re.search(r"rank 0 of 2 sent [\d.]+ MB in a step, .*: fc7 0.131, fc8 0.131, conv3 0.0737, lrn1 ", two.stdout)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == FILES
    summary = json.loads((tmp_path / "two" / "summary.json").read_text())
    pictures = summary["images"] / summary["steps"]
    assert summary["bytes_sent_per_step"]["fc7"] == summary["bytes_received_per_step"]["fc7"] == pictures * 2 * 8192
    one, two = (load_arrays(tmp_path / out / "weights.npz") for out in ("one", "two"))
    assert max(abs(two[name] - one[name]).max() for name in one) < 1e-6  # conv1's biases are still almost 0
    assert json.loads((tmp_path / "two" / "config.json").read_text())["shards"] == 1


@needs_mpi
@pytest.mark.parametrize("size, more, line", [
    (2, ["--recipe", "owt"], "--parallel columns needs a network whose kernels are in groups, as in the recipes paper, "
                             "code-2012 and caffe"),
    (2, ["--shards", "4"], "--parallel columns trains whole batches, not --shards 4"),
    (3, [], "--parallel columns needs 2 ranks, not 3: put mpiexec -n 2 before the command")])
def test_mistakes_are_one_line_and_code_2(tmp_path, size, more, line):
    make_colours(tmp_path / "colours", train=2, test=1)
    ran = program(size, SCRIPT, *options("colours", "out"), "--quiet", "--parallel", "columns", *more, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (2, f"train_alexnet.py: {line}\n")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------------ mistakes
def conv(name="conv2", **settings):
    return [Conv2d("conv1", 4, 3), Conv2d(name, 4, 3, **settings), Flatten("flatten"), Linear("fc", 2)]


@pytest.mark.parametrize("layers, line", [
    (conv(), "a network whose kernels are in groups, as in the recipes paper, code-2012 and caffe"),
    ([Conv2d("conv1", 6, 3, groups=3), *conv(groups=2)[1:]], "kernels are in groups"),
    ([Conv2d("conv1", 6, 3), Conv2d("conv2", 6, 3, groups=3), *conv()[2:]], "conv2: 3 groups make no two equal"),
    ([Conv2d("conv1", 2, 3), LRN("lrn1", n=5), *conv(groups=2)[1:]], "lrn1: its windows reach past the 1 maps"),
    ([*conv(groups=2)[:2], Conv2d("conv3", 3, 3), *conv()[2:]], "conv3: 3 maps make no two equal columns"),
    ([*conv(groups=2)[:2], tinynet.Sequential([ReLU("relu1")], name="block"), *conv()[2:]], "cannot be cut")])
def test_networks_that_are_no_two_columns(layers, line):
    with pytest.raises(ParallelError, match=line):
        threads.run(2, lambda communicator: Columns(tinynet.Sequential(
            copy.deepcopy(layers), (3, 8, 8), np.random.default_rng(0)), communicator))


@pytest.mark.parametrize("kind", SPLIT)
def test_two_ranks_and_whole_batches_are_needed(kind):
    with pytest.raises(ParallelError, match=f"{kind} needs 2 ranks, not 4"):
        threads.run(4, lambda communicator: SPLIT[kind](narrow("paper"), communicator))
    with pytest.raises(ParallelError, match=f"{kind} trains whole batches, not --shards 4"):
        require_shards(4, 2, kind)


def test_units_are_divided_above_a_flatten():
    with pytest.raises(ParallelError, match="mixed needs a network with a Flatten"):
        threads.run(2, lambda communicator: Mixed(tinynet.Sequential(
            [ReLU("relu")], (3, 8, 8), np.random.default_rng(0)), communicator))
