"""What a training run keeps in its folder, so that nothing is lost and it can go on as if it had never stopped.

    config.json              what was asked for, with the versions it ran on
    metrics.csv, .jsonl      a row a step, also as JSON lines
    checkpoint-000123.npz    everything there is after step 123; the two newest are kept
    statistics.npz           the mean image, and how colours vary
    weights.npz              the network, at the end; curves.png, kernels.png and best_and_worst.png show it
    summary.json             the result; a run that has one is finished
"""

import array
import json
import math
import os
import pathlib
import re
import sys
import time

import numpy as np

from tinynet import backend, checkpoint

COLUMNS = ("step", "epoch", "lr", "loss", "train_error", "top1_error", "top5_error", "test_loss")
WHOLE = ("step", "epoch")
WRITTEN = ("checkpoint-*.npz", "config.json", "metrics.csv", "metrics.jsonl", "statistics.npz", "summary.json",
           "weights.npz", "curves.png", "kernels.png", "best_and_worst.png", "classified.png")
KEPT = 2  # checkpoints: should the newest be damaged, there is the one before


class RunError(ValueError):
    """A run that cannot be started or gone on with in a folder; one line for the user."""


class Run:
    """The state of a training run, and its files.

    step       how many steps are done
    evaluated  whether the error after the last step of a pass has been measured
    metrics    {column: numbers, one a step}; nan where there is none

    Args     folder; identity: a dict of what a run that goes on must agree with, key by key (JSON values);
             net, sgd: their arrays and numbers; keepers: {name: object with state() and restore(state)}, for all else
             that changes; minutes: between two checkpoints, and at least one a pass
    """

    def __init__(self, folder, identity, net, sgd, keepers, minutes=10.0):
        self.folder, self.identity, self.net, self.sgd = pathlib.Path(folder), identity, net, sgd
        self.keepers, self.seconds = keepers, 60 * minutes
        self.step, self.evaluated, self.saved_at = 0, True, time.monotonic()
        self.metrics = {name: array.array("d") for name in COLUMNS}
        self._files = []

    def begin(self, config):
        """Start afresh. The first checkpoint is that of step 0."""
        for path in [self.folder / "summary.json", *checkpoints(self.folder)]:
            path.unlink(missing_ok=True)
        self._remove_unfinished()
        write_json(self.folder / "config.json", config)
        self.save()
        self._open()

    def resume(self):
        """Go on from the newest checkpoint that is whole.

        Raises   RunError where there is none, or with the first thing in which it differs from this run
        """
        if not checkpoints(self.folder):
            raise RunError(f"{self.folder}: the run is finished, there is nothing to go on with"
                           if is_finished(self.folder) else
                           f"{self.folder}: there is no checkpoint to go on from; start without --resume")
        path, arrays, state = load_newest(self.folder)
        require_same(path, state["identity"], self.identity)
        self._remove_unfinished()
        self._restore(arrays, state)
        self._open()
        return path

    def _restore(self, arrays, state):
        for name, w in self.net.named_params().items():
            w[...] = backend.like(arrays[f"params/{name}"], w)
            self.sgd.velocity[name] = backend.like(arrays[f"velocity/{name}"], w)
        self.sgd.lr, self.sgd.lr_mult = state["lr"], state["lr_mult"]
        self.net.rng.bit_generator.state = state["generator"]
        for name, keeper in self.keepers.items():
            keeper.restore(state["keepers"][name])
        self.step, self.evaluated = state["step"], state["evaluated"]
        self.metrics = {name: array.array("d", arrays[f"metrics/{name}"]) for name in COLUMNS}

    def _remove_unfinished(self):
        """A process that was killed while it wrote a file has left the part that it had written."""
        for name in WRITTEN:
            for path in self.folder.glob(f".{name}.*.tmp"):
                path.unlink()

    def save(self):
        """Write a checkpoint, whole or not at all, and remove all but the newest two."""
        for file in self._files:
            file.flush()
        state = {"identity": self.identity, "step": self.step, "evaluated": self.evaluated, "lr": self.sgd.lr,
                 "lr_mult": self.sgd.lr_mult, "generator": self.net.rng.bit_generator.state,
                 "keepers": {name: keeper.state() for name, keeper in self.keepers.items()}}
        arrays = {"state": np.frombuffer(json.dumps(state).encode(), np.uint8)}
        arrays |= {f"params/{name}": backend.to_numpy(w) for name, w in self.net.named_params().items()}
        arrays |= {f"velocity/{name}": backend.to_numpy(v) for name, v in self.sgd.velocity.items()}
        arrays |= {f"metrics/{name}": np.array(values) for name, values in self.metrics.items()}
        path = self.folder / f"checkpoint-{self.step:06}.npz"
        try:
            checkpoint.save_arrays(path, arrays)
        except OSError as error:
            whole = checkpoints(self.folder)
            kept = f"{whole[-1].name} is whole: make room and go on with --resume" if whole else "none is kept"
            raise OSError(f"{path}: cannot be written ({error.strerror or error}); {kept}") from error
        for old in checkpoints(self.folder)[:-KEPT]:
            old.unlink()
        self.saved_at = time.monotonic()

    def save_if_due(self):
        """Write a checkpoint where the last one is older than wanted."""
        if time.monotonic() - self.saved_at >= self.seconds:
            self.save()

    def record(self, **row):
        """The numbers of the step that is done, those of COLUMNS that there are."""
        for name in COLUMNS:
            self.metrics[name].append(row.get(name, math.nan))
        self._write(len(self.metrics["step"]) - 1)

    def record_evaluation(self, **row):
        """The errors after the last step, into its row. Files are written anew: there, the row was already."""
        for name, value in row.items():
            self.metrics[name][-1] = value
        self.evaluated = True
        self._open()

    def finish(self, summary):
        """Write summary.json, which says that the run is over; checkpoints are of no more use."""
        write_json(self.folder / "summary.json", summary)
        self.close()
        for path in checkpoints(self.folder):
            path.unlink()

    def close(self):
        for file in self._files:
            file.close()
        self._files = []

    def _open(self):
        """The metrics files as the numbers in memory have them, and open for more."""
        self.close()
        rows = range(len(self.metrics["step"]))
        head = ",".join(COLUMNS) + "\n"
        for name, first, line in (("metrics.csv", head, self._csv), ("metrics.jsonl", "", self._json)):
            with checkpoint.atomic_write(self.folder / name) as file:
                file.write(first.encode() + b"".join(line(i).encode() for i in rows))
            self._files.append(open(self.folder / name, "a", buffering=1))

    def _write(self, i):
        for file, line in zip(self._files, (self._csv, self._json)):
            file.write(line(i))

    def _row(self, i):
        values = {name: self.metrics[name][i] for name in COLUMNS}
        return {name: int(value) if name in WHOLE else value for name, value in values.items() if not math.isnan(value)}

    def _csv(self, i):
        row = self._row(i)
        return ",".join(repr(row[name]) if name in row else "" for name in COLUMNS) + "\n"

    def _json(self, i):
        return json.dumps(self._row(i)) + "\n"


def checkpoints(folder):
    """Those in a folder, the newest last."""
    named = [path for path in pathlib.Path(folder).glob("checkpoint-*.npz") if re.search(r"-\d+\.npz$", path.name)]
    return sorted(named, key=lambda path: int(path.stem.rpartition("-")[2]))


def is_finished(folder):
    """Whether the run in a folder has come to its end."""
    return (pathlib.Path(folder) / "summary.json").exists()


def load_newest(folder):
    """The newest checkpoint that is whole: its path, arrays and state. Raises RunError where there is none."""
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            arrays = checkpoint.load_arrays(path)
            return path, arrays, json.loads(arrays.pop("state").tobytes())
        except (checkpoint.CheckpointError, KeyError, ValueError) as error:
            print(f"{error}; trying the checkpoint before it", file=sys.stderr)
    raise RunError(f"{folder}: not one of {len(found)} checkpoints is whole")


def require_unused(folder):
    """Raise RunError where a folder holds an unfinished run: days of work, perhaps."""
    found = checkpoints(folder)
    if found and not is_finished(folder):
        raise RunError(f"{folder}: holds a run that was stopped ({found[-1].name}); go on with --resume, choose "
                       "another --out, or remove it")


def require_same(path, kept, wanted, where=""):
    """Raise RunError with the first thing that differs, dicts looked into."""
    for key in [*kept, *wanted]:
        before, now = kept.get(key), wanted.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            require_same(path, before, now, f"{where}{key} ")
        elif before != now:
            raise RunError(f"{path}: made by another run: {where}{key} was {before}, now it is {now}")


def read_config(folder):
    """config.json of a run. Raises RunError where there is none."""
    path = os.path.join(folder, "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}; {folder} is not the folder of a run") from None
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error})") from None
    return config


def read_metrics(folder):
    """What a run, finished or not, has logged: {column: numbers, one a step}, nan where none. Raises RunError."""
    path = os.path.join(folder, "metrics.jsonl")
    try:
        with open(path, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.endswith("\n")]  # the last may be half written
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}; {folder} is not the folder of a run") from None
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error})") from None
    if not rows:
        raise RunError(f"{path}: not one step is done yet")
    return {name: [row.get(name, math.nan) for row in rows] for name in COLUMNS}


def write_json(path, values):
    """A dict as readable JSON, whole or not at all."""
    with checkpoint.atomic_write(path) as file:
        file.write(json.dumps(values, indent=2).encode() + b"\n")
