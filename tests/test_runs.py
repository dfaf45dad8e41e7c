"""A run, step by step, with a network of one layer: what is saved, when, and what a wrong loop is told."""

import os
import re
import signal

import numpy as np
import pytest

import tinynet
from tinynet import backend, console, runs
from tinynet.evaluation import evaluate
from tinynet.layers import Flatten, Linear
from tinynet.runs import report

PER_EPOCH = 3


class Batches:
    """The same batches for ever; position counts them."""

    batch_size = 4

    def __init__(self, fail_at=None):
        self.position, self.fail_at = 0, fail_at

    def __next__(self):
        if self.position == self.fail_at:
            raise OSError("disk.png: gone")
        self.position += 1
        rng = np.random.default_rng(self.position)
        return rng.standard_normal((4, 3, 2, 2), dtype=np.float32), np.arange(4)

    def state(self):
        return {"position": self.position}

    def restore(self, state):
        self.position = state["position"]


class Job:
    """A run of 2 epochs and one step, and its loop."""

    def __init__(self, folder, steps=7, device="cpu", **rest):
        self.batches, self.tested = Batches(rest.pop("fail_at", None)), 0
        net = tinynet.Sequential([Flatten("flatten"), Linear("fc", 4, std=0.3)], (3, 2, 2), np.random.default_rng(0))
        net.to(device)
        self.sgd, self.loss = tinynet.SGD(net, lr=0.1), tinynet.SoftmaxCrossEntropy()
        self.run = runs.Run(runs.Lock(folder), net, self.sgd, tinynet.StepDecay(self.sgd, (1,)), self.batches,
                            self.test_batches, 4, steps=steps, steps_per_epoch=PER_EPOCH, identity={"job": 1},
                            hint=runs.StallHint(4), **rest)

    def test_batches(self, ten_views):
        self.tested += 1
        yield next(Batches())

    def train(self, during=lambda job: None):
        with self.run as run:
            for epoch in run.epochs():
                for x, labels in run.steps():
                    value = self.loss.forward(run.net.forward(backend.to_device(x, run.net.device)), labels)
                    run.net.backward(self.loss.backward())
                    during(self)
                    self.sgd.step()
                    run.record(value, self.loss.probs, labels)
                result = evaluate(run.net, self.loss, run.test_batches())
                run.schedule.end_epoch(result.top1_error)
                run.record_evaluation(result)
                assert epoch == self.run.log["epoch"][-1]
        return self


def names(folder):
    return [path.name for path in runs.checkpoints(folder)]


def begun(folder, **rest):
    job = Job(folder, **rest)
    job.run.begin({})
    return job


def test_a_run_from_beginning_to_end(tmp_path, capsys):
    job = begun(tmp_path).train()
    assert job.run.step == 7 and list(job.run.log["epoch"]) == [1, 1, 1, 2, 2, 2, 3]
    assert np.flatnonzero(~np.isnan(job.run.log["test_loss"])).tolist() == [2, 5, 6] and job.tested == 3
    assert list(job.run.log["lr"]) == pytest.approx([0.1] * 3 + [0.01] * 4)
    assert names(tmp_path) == ["checkpoint-000006.npz", "checkpoint-000007.npz"]
    assert capsys.readouterr().err.count("test error") == 3
    job.run.finish({})
    assert names(tmp_path) == [] and runs.is_finished(tmp_path)


def test_the_checkpoints_of_epochs_are_kept_if_wanted_also_after_the_end(tmp_path):
    job = begun(tmp_path, keep_checkpoints=True, minutes=1e-9, quiet=True).train()
    job.run.finish({})
    assert names(tmp_path) == [f"checkpoint-00000{step}.npz" for step in (0, 3, 6, 7)]
    with pytest.raises(runs.RunError, match="is finished, there is nothing to continue"):
        Job(tmp_path).run.resume()


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("step", range(7))
def test_a_signal_in_any_step_completes_it_saves_and_continues_to_the_same_bits(tmp_path, step, number, code):
    def interrupt(job):
        if job.run.step == step:
            os.kill(os.getpid(), number)

    whole = begun(tmp_path / "whole", quiet=True).train().run
    with pytest.raises(console.Interrupted) as stopped:
        begun(tmp_path / "stopped", quiet=True).train(interrupt)
    assert 128 + stopped.value.signal == code
    assert names(tmp_path / "stopped")[-1] == f"checkpoint-{step + 1:06}.npz"
    resumed = Job(tmp_path / "stopped", quiet=True)
    resumed.run.resume()
    assert resumed.run.step == resumed.batches.position == step + 1
    resumed.train()
    for name in ("metrics.csv", "metrics.jsonl"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    np.testing.assert_array_equal(resumed.run.net["fc"].params["w"], whole.net["fc"].params["w"])


def test_lost_data_is_saved_for_and_a_step_that_was_not_completed_is_not(tmp_path):
    with pytest.raises(OSError, match="disk.png: gone"):
        begun(tmp_path / "data", fail_at=4, quiet=True).train()
    assert names(tmp_path / "data")[-1] == "checkpoint-000004.npz"

    def fail(job):
        if job.run.step == 4:
            raise OSError("in the middle of a step")

    with pytest.raises(OSError, match="in the middle"):
        begun(tmp_path / "step", quiet=True).train(fail)
    assert names(tmp_path / "step")[-1] == "checkpoint-000003.npz"


def test_faulty_weights_are_not_saved(tmp_path):
    def spoil(job):
        if job.run.step == 4:
            job.run.net["fc"].grads["w"][...] = np.nan

    with pytest.raises(runs.NotFinite, match="step 6: the loss is nan"):
        begun(tmp_path, quiet=True).train(spoil)
    assert names(tmp_path)[-1] == "checkpoint-000003.npz"


def test_on_a_gpu_the_host_waits_for_the_step_before_alone(tmp_path, stand_in):
    """Of each wait, how many kernels were launched between the point that it waits for and the wait itself: those of a
    whole step, but for the last step of an epoch and the one batch of the test set, after which nothing is queued."""
    run = begun(tmp_path, device="gpu", quiet=True).train().run
    waits, launches, recorded = [], 0, {}
    for _, what, which in stand_in.meter.told:
        launches += what == "launch"
        if what == "record":
            recorded[which] = launches
        elif what == "synchronize":
            waits.append(launches - recorded[which])
    of_a_step = max(waits)
    assert of_a_step >= 6 and waits == [*2 * [of_a_step, of_a_step, 0, 0], 0, 0]
    assert run.step == len(run.log["loss"]) == 7


def test_on_a_gpu_a_run_records_what_it_records_on_the_cpu(tmp_path, stand_in):
    here, there = (begun(tmp_path / device, device=device, quiet=True).train().run.log for device in ("cpu", "gpu"))
    for name in runs.COLUMNS:
        np.testing.assert_allclose(there[name], here[name], rtol=1e-5, err_msg=name)


def test_on_a_gpu_faulty_weights_are_not_saved(tmp_path, stand_in):
    def spoil(job):
        if job.run.step == 3:
            job.run.net["fc"].grads["w"] = backend.to_device(np.full((4, 12), np.nan, np.float32), "gpu")

    with pytest.raises(runs.NotFinite, match="step 5: the loss is nan"):
        begun(tmp_path, device="gpu", quiet=True).train(spoil)
    assert names(tmp_path)[-1] == "checkpoint-000003.npz"


def test_on_a_gpu_a_stopped_run_continues_to_the_same_bits(tmp_path, stand_in):
    def interrupt(job):
        if job.run.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    begun(tmp_path / "whole", device="gpu", quiet=True).train()
    with pytest.raises(console.Interrupted):
        begun(tmp_path / "stopped", device="gpu", quiet=True).train(interrupt)
    resumed = Job(tmp_path / "stopped", device="gpu", quiet=True)
    resumed.run.resume()
    resumed.train()
    assert (tmp_path / "stopped/metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()


def test_a_loop_that_forgets_to_record_is_told_so(tmp_path):
    with pytest.raises(RuntimeError, match="run.record"), begun(tmp_path / "a", quiet=True).run as run:
        for _ in run.epochs():
            for _ in run.steps():
                pass
    with pytest.raises(RuntimeError, match="run.record_evaluation"), begun(tmp_path / "b", quiet=True).run as run:
        for _ in run.epochs():
            for _, labels in run.steps():
                run.record(1.0, np.eye(4), labels)


def test_the_evaluation_shows_progress_and_the_last_one_is_not_repeated(tmp_path, monkeypatch):
    shown = []

    class Progress(console.Progress):
        def __init__(self, total, label, *rest, **more):
            super().__init__(total, label, *rest, **more)
            shown.append((label, total, more.get("done", 0)))

    monkeypatch.setattr(console, "Progress", Progress)
    job = begun(tmp_path, quiet=True).train()
    assert shown == [("training", 7, 0)] + 3 * [("testing", 4, 0)]
    monkeypatch.setattr(report, "draw_figures", lambda *_: None)
    source = type("Source", (), {"class_names": list("abcd"), "test": None})
    report.finish(job.run, source, job.loss)
    assert job.tested == 3

    resumed = begun(tmp_path / "again", quiet=True).train()  # stopped between the last evaluation and the report
    resumed.run.lock.release()
    resumed = Job(tmp_path / "again", quiet=True)
    resumed.run.resume()
    shown.clear()
    resumed.train()
    report.finish(resumed.run, source, resumed.loss)
    assert resumed.tested == 1 and shown[0] == ("training", 7, 7)


def test_two_runs_cannot_have_one_folder(tmp_path):
    first = runs.Lock(tmp_path)
    with pytest.raises(runs.RunError, match=re.escape(f"{tmp_path}: another process is training there")):
        runs.Lock(tmp_path)
    first.release()
    runs.Lock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []
