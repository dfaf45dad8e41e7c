"""Data parallelism is exact: 1, 2, 4 and 8 ranks give the same bits, also when stopped and resumed."""

import threading

import numpy as np
import pytest

import tinynet
from tinynet import data, runs
from tinynet.evaluation import evaluate
from tinynet.layers import LRN, Conv2d, Dropout, Flatten, Linear, MaxPool, ReLU
from tinynet.parallel import (
    SPLIT,
    Batches,
    ColumnSGD,
    Communicator,
    DataParallel,
    ParallelError,
    own_shards,
    require_shards,
    threads,
)

SHARDS, PICTURES, N, SIZE = 8, 45, 20, 12  # batches of 20, 20 and 5 pictures: the last one has empty shards


class Pictures:
    """45 random pictures, of which number 7 cannot be read."""

    names = [f"{i}.png" for i in range(PICTURES)]
    labels = np.arange(PICTURES) % 4
    unreadable = {"7.png": "damaged"}
    pixels = np.random.default_rng(1).integers(0, 256, (PICTURES, 3, 16, 16), np.uint8)

    def __len__(self):
        return PICTURES

    def read(self, indices):
        readable = indices != 7
        return self.pixels[indices[readable]], readable


def network(seed=0):
    return tinynet.Sequential([
        Conv2d("conv1", 4, 3, std=0.1, need_dx=False), ReLU("relu1"), Dropout("drop1"), MaxPool("pool1", 2, 2),
        Flatten("flatten"), Linear("fc1", 16, std=0.1), ReLU("relu2"), Dropout("drop2"), Linear("fc2", 4, std=0.1)],
        (3, SIZE, SIZE), np.random.default_rng(seed))


def network_of_two_columns(seed=0):
    return tinynet.Sequential([
        Conv2d("conv1", 8, 3, std=0.1, need_dx=False), ReLU("relu1"), LRN("lrn1"), MaxPool("pool1", 2, 2),
        Conv2d("conv2", 8, 3, pad=1, groups=2, std=0.1), ReLU("relu2"), Conv2d("conv3", 4, 3, std=0.1), ReLU("relu3"),
        Flatten("flatten"), Linear("fc1", 16, std=0.1), ReLU("relu4"), Dropout("drop4"), Linear("fc2", 4, std=0.1)],
        (3, SIZE, SIZE), np.random.default_rng(seed))


def make_run(communicator, folder, steps, shards=SHARDS, overlap=True, split=None):
    """What setup.open_run makes, with a small network. split: "columns" or "mixed"; a single rank has everything."""
    shards = 1 if split else shards
    parts = 2 if split == "mixed" and communicator.size > 1 else shards
    pictures, net = Pictures(), network_of_two_columns() if split else network()
    statistics = data.Statistics(np.full((3, 16, 16), 128, np.float32), np.diag([900.0, 400.0, 100.0]))
    sgd = tinynet.SGD(net, lr=0.05)
    schedule = tinynet.StepDecay(sgd, (1,))
    batches = data.TrainingBatches(pictures, N, SIZE, statistics, np.random.default_rng(5),
                                   data.AUGMENTATIONS["paper"], threads=1, shards=parts,
                                   own=slice(None) if split == "columns" else own_shards(communicator, parts))
    if split and communicator.size > 1:
        net = SPLIT[split](net, communicator)
        sgd = ColumnSGD(sgd, net)
    if shards > 1:
        net = DataParallel(net, communicator, shards, overlap)
    if parts > 1:
        batches = Batches(batches, communicator)

    def test_batches(ten_views):
        return data.test_batches(pictures, N, SIZE, statistics.mean, ten_views)

    lock = runs.Lock(folder) if communicator.rank == 0 else None
    return runs.Run(lock, net, sgd, schedule, batches, test_batches, PICTURES, steps=steps,
                    steps_per_epoch=3, identity={"shards": shards}, hint=runs.StallHint(4), quiet=True,
                    communicator=communicator, keep_checkpoints=True, split=bool(split) and communicator.size > 1)


def train(run, stop_after=None):
    """The loop of train_alexnet.py."""
    loss = tinynet.SoftmaxCrossEntropy()
    with run:
        for _ in run.epochs():
            run.net.train()
            for x, labels in run.steps():
                value = loss.forward(run.net.forward(x), labels)
                run.net.backward(loss.backward())
                run.sgd.step()
                run.record(value, loss.probs, labels)
                if run.step == stop_after and run.communicator.rank == run.communicator.size - 1:
                    run._interrupt.received = 2  # as if a signal had come to the last rank
            result = evaluate(run.net, loss, run.test_batches())
            run.schedule.end_epoch(result.top1_error)
            run.record_evaluation(result)
    ten = evaluate(run.net, loss, run.test_batches(True))
    if run.is_first:
        run.lock.release()
    return {**{name: w.copy() for name, w in run.whole_net().named_params().items()},
            **{f"v {name}": v for name, v in run.sgd.state()["velocity"].items()},
            **{f"log {name}": np.array(run.log[name]) for name in runs.COLUMNS}, "ten views": ten.probs}


def trained(size, folder, steps=5, **rest):
    """The results of `size` ranks, which must all have the same."""
    def work(communicator):
        run = make_run(communicator, folder, steps, **rest)
        run.begin({})
        return train(run)

    first, *others = threads.run(size, work)
    for other in others:
        require_equal(first, other)
    return first


def require_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].tobytes() == second[name].tobytes(), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(1, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("size", [2, 4, 8])
def test_any_number_of_ranks_gives_the_same_bits(alone, tmp_path, size):
    require_equal(alone, trained(size, tmp_path))


def test_without_overlap_too(alone, tmp_path):
    require_equal(alone, trained(2, tmp_path, overlap=False))


@pytest.mark.parametrize("before, after", [(4, 2), (1, 8)])
def test_stopped_on_some_ranks_and_resumed_on_others(alone, tmp_path, before, after):
    def begin(communicator):
        run = make_run(communicator, tmp_path, 5)
        run.begin({})
        with pytest.raises(KeyboardInterrupt):
            train(run, stop_after=2)

    def resume(communicator):
        run = make_run(communicator, tmp_path, 5)
        run.resume()
        assert run.step == 2
        return train(run)

    threads.run(before, begin)
    require_equal(alone, threads.run(after, resume)[0])


def test_another_number_of_shards_is_refused(tmp_path):
    trained(1, tmp_path, 1)
    with pytest.raises(runs.RunError, match="shards was 8, now it is 4"):
        make_run(Communicator(), tmp_path, 5, shards=4).resume()


def test_shards_change_the_last_bits_only(alone, tmp_path):
    """Without shards everything random is the same, but the sums are rounded in another order."""
    whole = trained(1, tmp_path, shards=1)
    assert all(np.allclose(alone[name], whole[name], rtol=1e-3, atol=1e-5, equal_nan=True)
               for name in alone if not name.startswith("v "))
    assert alone["fc1.w"].tobytes() != whole["fc1.w"].tobytes()


def test_files_come_from_rank_0_alone(tmp_path):
    trained(4, tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-000000.npz", "checkpoint-000003.npz", "config.json", "metrics.csv", "metrics.jsonl"]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("n", [0, 1, 5, 64])
def test_collectives(size, n):
    values = np.random.default_rng(n).standard_normal((size, n)).astype(np.float32)
    wanted = list(values)
    while len(wanted) > 1:
        wanted = [wanted[i] + wanted[i + 1] for i in range(0, len(wanted), 2)]

    def work(communicator):
        x, y = values[communicator.rank].copy(), values[communicator.rank].copy()
        communicator.all_reduce(x, "conv1")
        sent = communicator.sent["conv1"], communicator.received["conv1"]
        communicator.broadcast(y, "conv2")
        return x, y, sent, communicator.share(communicator.rank), communicator.from_first(communicator.rank)

    for x, y, _, ranks, first in threads.run(size, work):
        assert x.tobytes() == wanted[0].tobytes() and y.tobytes() == values[0].tobytes()
        assert (ranks, first) == (list(range(size)), 0)
    if n % size == 0:
        each = 2 * 4 * n * (size - 1) // size
        assert {sent for _, _, sent, _, _ in threads.run(size, work)} == {(each, each)}


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_rows_are_gathered(size):
    """Ranks may have different numbers of rows, or none."""
    ends = [0, 3, 3, 4, 9, 9, 9, 20, 21][:size + 1]
    whole = np.random.default_rng(size).standard_normal((ends[-1], 5))

    def work(communicator):
        own = slice(*ends[communicator.rank:communicator.rank + 2])
        x = np.full(whole.shape, np.nan)
        x[own] = whole[own]
        communicator.gather_rows(x, ends, "logits")
        return x, communicator.received["logits"] == whole.nbytes - whole[own].nbytes

    for x, counted in threads.run(size, work):
        assert counted and x.tobytes() == whole.tobytes()


def test_a_rank_that_fails_ends_the_others():
    def work(communicator):
        if communicator.rank == 2:
            raise ArithmeticError("rank 2")
        communicator.barrier()

    with pytest.raises(ArithmeticError, match="rank 2"):
        threads.run(4, work)
    assert not [thread for thread in threading.enumerate() if "(one)" in thread.name]


@pytest.mark.parametrize("shards, size, message", [
    (6, 2, "--shards 6: must be a power of 2"),
    (4, 8, "a run of --shards 4 cannot be divided among 8 ranks: start 4 or fewer")])
def test_shards_that_do_not_fit(shards, size, message):
    with pytest.raises(ParallelError, match=message):
        require_shards(shards, size)


def test_the_number_of_ranks_is_a_power_of_2():
    with pytest.raises(ParallelError, match="3 ranks: the number of ranks must be a power of 2; start 2 or 4"):
        threads.run(3, lambda communicator: None)


def test_each_rank_reads_its_own_pictures_only(monkeypatch):
    read = []
    monkeypatch.setattr(Pictures, "read", lambda self, indices: (read.append(len(indices)), self.pixels[indices],
                                                                  np.ones(len(indices), bool))[1:])
    statistics = data.Statistics(np.zeros((3, 16, 16), np.float32), np.eye(3))
    batches = data.TrainingBatches(Pictures(), N, SIZE, statistics, np.random.default_rng(0), threads=1, shards=4,
                                   own=slice(1, 2))
    x, labels, counts = batches.take()
    assert (len(x), len(labels), counts, set(read)) == (5, 5, [5], {5})


def test_a_plain_network_draws_the_same_masks():
    """Masks do not depend on the number of shards: dropout drops the same units."""
    plain, sharded = network(), network()
    parallel = DataParallel(sharded, Communicator(), 4)
    x = np.random.default_rng(2).standard_normal((N, 3, SIZE, SIZE)).astype(np.float32)
    assert np.allclose(plain.forward(x), parallel.forward(x), rtol=1e-5, atol=1e-6)
    assert plain.rng.random() == sharded.rng.random()
