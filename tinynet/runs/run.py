"""A training loop that can be stopped at any moment and continued as if it had never stopped.

    with run:
        for epoch in run.epochs():
            for x, labels in run.steps():
                value = loss(net(x), labels)
                net.backward(loss.backward())
                sgd.step()
                run.record(value, loss.probs, labels)
            run.record_evaluation(evaluate(net, loss, run.test_batches()))
"""

import math
import platform
import time
from collections import Counter, deque, namedtuple

import numpy as np

from tinynet import __version__, backend, checkpoint, console
from tinynet.evaluation import memory_advice, would_have_fitted
from tinynet.metrics import top_k_wrong
from tinynet.parallel import Communicator
from tinynet.runs import folder as files
from tinynet.runs.log import Log
from tinynet.shapes import ceil_div


class NotFinite(ArithmeticError):
    """The loss has become infinite or not a number; the message names the step."""


# A step that was recorded: its number and rate, the labels of its batch, a function that returns
# its loss and probabilities, and the moments at which it began and ended.
Recorded = namedtuple("Recorded", "number lr labels read began ended")


class Run:
    """The state of a training run. It saves checkpoints, shows progress and obeys Ctrl-C.

    A checkpoint is written before the first step, after each epoch, every few minutes, and when the
    run is stopped between two steps by a signal or by a fault of the world outside (a full disk,
    lost data). The weights are not saved when a step was not completed, or when the loss is not
    finite.

    step        how many steps are done
    evaluated   whether the test error after the last step of an epoch has been measured
    evaluation  the last Evaluation that was recorded here; None before that
    log         the metrics of every step
    began_at    how many steps were done when this process began: 0, or those before --resume
    images, seconds  trained on since this process began, and the time that the steps took
    sent, received   bytes that this rank exchanged in a step, on average: {"conv3": number, ...}

    Args     lock: a folder.Lock on the folder of the run; net, sgd, schedule, batches, log and hint
             have state() and restore(state); test_batches(ten_views): an iterator over the test
             set; test_images: how many pictures it has; identity: a dict of everything that a run
             must share with the checkpoint it continues (JSON values); minutes: between two
             checkpoints; keep_checkpoints: keep the first one and that of every epoch, also after
             the end; communicator: of the ranks that train together. Rank 0 alone has a lock,
             writes files and shows progress; split: each rank has only a part of the network, so
             that all of them must save at once
    """

    def __init__(self, lock, net, sgd, schedule, batches, test_batches, test_images, *, steps,
                 steps_per_epoch, identity, hint, minutes=10.0, keep_checkpoints=False,
                 quiet=False, communicator=None, split=False):
        self.communicator = communicator or Communicator()
        self.is_first, self.split = self.communicator.rank == 0, split
        self.lock, self.folder = lock, lock.folder if self.is_first else None
        self.identity, self.quiet = identity, quiet or not self.is_first
        self.net, self.sgd, self.schedule, self.batches = net, sgd, schedule, batches
        self.log, self.hint = Log(self.folder), hint
        self.last_step, self.steps_per_epoch = steps, steps_per_epoch
        self.seconds_between_saves, self.keep_checkpoints = 60 * minutes, keep_checkpoints
        self.step, self.evaluated, self.evaluation = 0, True, None
        self.began_at, self.images, self.seconds = 0, 0, 0.0
        self._sent, self._received = Counter(), Counter()  # in all steps of this process
        self._test_batches, self._test_images = test_batches, test_images
        self._interrupt, self._progress = console.Interrupt(), None
        self._step_began = None  # a moment while a step is being computed, otherwise None
        self._unread = deque()  # steps that were recorded, but not yet read
        self._saved_at = time.monotonic()

    # ----------------------------------------------------------------------------- training loop

    def __enter__(self):
        self._interrupt.__enter__()
        self._progress = console.Progress(self.last_step, "training", "steps", self.quiet,
                                          done=self.step)
        backend.on_compile = self._progress.say
        return self

    def __exit__(self, kind, error, traceback):
        try:
            at_once = isinstance(error, console.Interrupted)  # all ranks have raised it
            if self._step_began is None and (
                    at_once or isinstance(error, OSError) and not self.split):
                self.save()
                if at_once:
                    self.communicator.barrier()
                    error.args = (f"{error}; the same command with --resume goes on from here",)
        finally:
            self._progress.close()
            self._interrupt.__exit__()
            backend.on_compile = None
            self.log.close()
            if error is not None and self.is_first:
                self.lock.release()
        in_a_step = self._step_began is not None
        if in_a_step and self.net.device != "cpu" and backend.is_out_of_memory(error):
            raise MemoryError(would_have_fitted(self.net, self.batches.batch_size)) from None

    def epochs(self):
        """Yield the number of each epoch that is not complete, counted from 1."""
        while self.step < self.last_step or not self.evaluated:
            yield self.step // self.steps_per_epoch + 1 if self.evaluated else self._epoch()
            if not self.evaluated:
                raise RuntimeError("call run.record_evaluation(...) after the steps of each epoch")

    def steps(self):
        """Yield the batches x, labels that remain in this epoch; call record after each.

        Raises   Interrupted, between two steps, after Ctrl-C
        """
        while not self._at_end_of_epoch():
            sent, received = self.communicator.sent.copy(), self.communicator.received.copy()
            self._interrupt.check(self.communicator)
            with memory_advice(self.net, self.batches.batch_size):
                x, labels = next(self.batches)
            self._step_began = backend.moment(self.net.device)
            yield x, labels
            if self._step_began is not None:
                raise RuntimeError("call run.record(...) after each step")
            self._sent += self.communicator.sent - sent
            self._received += self.communicator.received - received
            due = time.monotonic() - self._saved_at >= self.seconds_between_saves
            if self.communicator.from_first(due):
                self.save()
        self._read()

    def record(self, loss, probs, labels):
        """Record the step that was just made.

        A GPU that trains alone is still computing it: its numbers are read after the next step has
        been queued, or before anything is saved, so that the GPU never waits for the host.

        Args     loss: before the update; probs (N, classes) and labels (N,) of the batch
        Raises   NotFinite if the loss, here or of the step before, is infinite or not a number
        """
        ended = backend.moment(self.net.device)  # before the copies: it is past when they are there
        self.step, self.evaluated = self.step + 1, False
        self._unread.append(Recorded(self.step, self.sgd.lr, labels,
                                     backend.to_numpy_later(loss, probs), self._step_began, ended))
        runs_ahead = self.net.device != "cpu" and self.communicator.size == 1
        self._read(but=1 if runs_ahead else 0)
        self._step_began = None

    def _read(self, but=0):
        """Read the numbers of all recorded steps but the last `but`, and write them to the log."""
        while len(self._unread) > but:
            step = self._unread.popleft()
            loss, probs = step.read()
            loss = require_finite(loss, step.number)
            self.seconds += backend.seconds_between(step.began, step.ended)
            self.images += len(step.labels)
            train_error = float(top_k_wrong(probs, step.labels, 1).mean())
            self.log.append(step=step.number, epoch=ceil_div(step.number, self.steps_per_epoch),
                            lr=step.lr, loss=loss, train_error=train_error)
            self._progress.update(1, f"loss {loss:.3f}, {self.images / self.seconds:.0f} images/s")
            if text := self.hint.update(loss):
                self._progress.say(text)

    @property
    def sent(self):
        return self._each_step(self._sent)

    @property
    def received(self):
        return self._each_step(self._received)

    def _each_step(self, total):
        return {label: size / (self.step - self.began_at) for label, size in total.most_common()}

    def whole_net(self):
        """Return the whole network, of which each rank may have a part. All ranks call it."""
        return self.net.whole() if self.split else self.net

    def test_batches(self, ten_views=False, label="testing"):
        """Yield the batches x, labels of the test set. Raises Interrupted after Ctrl-C."""
        with console.Progress(self._test_images, label, "pictures", self.quiet,
                              leave=False) as progress:
            for x, labels in self._interrupt.watch(self._test_batches(ten_views),
                                                   self.communicator):
                yield x, labels
                progress.update(len(labels))

    def record_evaluation(self, evaluation):
        """Record the test error after the last step of an epoch, and write a checkpoint.

        Raises   NotFinite if the loss is infinite or not a number
        """
        require_finite(evaluation.loss, self.step)
        self.log.amend(top1_error=evaluation.top1_error, top5_error=evaluation.top5_error,
                       test_loss=evaluation.loss)
        self.evaluated, self.evaluation = True, evaluation
        self.save()
        self._progress.say(f"epoch {self._epoch()}: test error {evaluation.top1_error:.1%}, "
                           f"top-5 {evaluation.top5_error:.1%}")

    def _epoch(self):
        return ceil_div(self.step, self.steps_per_epoch)

    def _at_end_of_epoch(self):
        return self.step == self.last_step or (
            not self.evaluated and self.step % self.steps_per_epoch == 0)

    # ------------------------------------------------------------------------------- checkpoints

    def begin(self, config):
        """Start a new run: write config.json and the checkpoint of step 0."""
        if self.is_first:
            files.remove_unfinished(self.folder)
            files.write_json(self.folder / "config.json", config | {
                "tinynet": __version__, "numpy": np.__version__,
                "python": platform.python_version()})
        self.save()
        self.log.open()

    def resume(self):
        """Continue from the newest checkpoint that can be read, and return its path.

        Raises   RunError if there is none, or with the first entry in which it differs from this
                 run
        """
        path = state = None
        if self.is_first:
            files.require_resumable(self.folder)
            path, state = files.load_newest(self.folder)
            files.require_same(path, state["identity"], self.identity)
            files.remove_unfinished(self.folder)
        path, state = self.communicator.from_first((path, state))
        for name, part in self._parts().items():
            part.restore(state[name])
        self.step, self.evaluated = state["step"], state["evaluated"]
        self.began_at = self.step
        self.log.open()
        return path

    def save(self):
        """Write a checkpoint, completely or not at all, and remove the old ones.

        Raises   NotFinite if the loss of the last step is infinite or not a number; OSError
        """
        self._read()
        if not (self.is_first or self.split):
            return
        state = {name: part.state() for name, part in self._parts().items()}
        if not self.is_first:  # it has given its part
            return
        state |= {"identity": self.identity, "step": self.step, "evaluated": self.evaluated}
        path = self.folder / f"checkpoint-{self.step:06}.npz"
        try:
            checkpoint.save_state(path, state)
        except OSError as error:
            whole = files.checkpoints(self.folder)
            kept = (f"{whole[-1].name} is complete: make room and continue with --resume" if whole
                    else "there is no checkpoint")
            reason = error.strerror or error
            raise OSError(f"{path}: cannot be written ({reason}); {kept}") from error
        for old in files.checkpoints(self.folder)[:-files.KEPT]:
            if not (self.keep_checkpoints and files.step_of(old) % self.steps_per_epoch == 0):
                old.unlink()
        self._saved_at = time.monotonic()

    def finish(self, summary):
        """Write summary.json, which says that the run is finished, and remove the checkpoints."""
        files.write_json(self.folder / "summary.json", summary)
        self.log.close()
        if not self.keep_checkpoints:
            for path in files.checkpoints(self.folder):
                path.unlink()
        self.lock.release()

    def _parts(self):
        """Return all that changes while the network trains; each part has state() and restore()."""
        return {"network": self.net, "sgd": self.sgd, "schedule": self.schedule,
                "batches": self.batches, "hint": self.hint, "log": self.log}


def require_finite(loss, step):
    """Return the loss of a step as a float. Raises NotFinite if it is infinite or not a number."""
    loss = float(loss)
    if not math.isfinite(loss):
        raise NotFinite(f"step {step}: the loss is {loss}; the last checkpoint has good weights; "
                        "a lower rate often helps")
    return loss
