"""The metrics of a run: one row a step, in memory, as metrics.csv and as metrics.jsonl."""

import array
import json
import math
import os

import numpy as np

from tinynet import checkpoint
from tinynet.runs.folder import RunError

COLUMNS = ("step", "epoch", "lr", "loss", "train_error", "top1_error", "top5_error", "test_loss")
WHOLE_NUMBERS = ("step", "epoch")


class Log:
    """All rows so far. Where a column has no value, memory has nan and the files have nothing.

    columns  {name: numbers, one a step}

    Args     folder: None keeps the rows in memory only
    """

    def __init__(self, folder):
        self.folder = folder
        self.columns = {name: array.array("d") for name in COLUMNS}
        self._files = []

    def __getitem__(self, name):
        return self.columns[name]

    def append(self, **row):
        """Add the row of a step, in memory and to both files."""
        for name in COLUMNS:
            self.columns[name].append(row.get(name, math.nan))
        i = len(self.columns["step"]) - 1
        for file, line in zip(self._files, (self._csv, self._json)):
            file.write(line(i))

    def amend(self, **values):
        """Add values to the last row. Both files are written again."""
        for name, value in values.items():
            self.columns[name][-1] = value
        self.open()

    def open(self):
        """Write both files from the rows in memory, and leave them open for more rows."""
        self.close()
        if self.folder is None:
            return
        rows = range(len(self.columns["step"]))
        head = ",".join(COLUMNS) + "\n"
        for name, first, line in (("metrics.csv", head, self._csv),
                                  ("metrics.jsonl", "", self._json)):
            with checkpoint.atomic_write(self.folder / name) as file:
                file.write(first.encode() + b"".join(line(i).encode() for i in rows))
            self._files.append(open(self.folder / name, "a", buffering=1))

    def close(self):
        """Close both files."""
        for file in self._files:
            file.close()
        self._files = []

    def state(self):
        """Return all rows as {column: array}, for a checkpoint."""
        for file in self._files:
            file.flush()
        return {name: np.array(values) for name, values in self.columns.items()}

    def restore(self, state):
        """Put back the rows that state() returned."""
        self.columns = {name: array.array("d", state[name]) for name in COLUMNS}

    def _row(self, i):
        values = {name: self.columns[name][i] for name in COLUMNS}
        return {name: int(value) if name in WHOLE_NUMBERS else value
                for name, value in values.items() if not math.isnan(value)}

    def _csv(self, i):
        row = self._row(i)
        return ",".join(repr(row[name]) if name in row else "" for name in COLUMNS) + "\n"

    def _json(self, i):
        return json.dumps(self._row(i)) + "\n"


def read_metrics(folder):
    """Return the metrics of a run, finished or not, as {column: numbers, one for each step}.

    A column has nan where there is no value.

    Raises   RunError
    """
    path = os.path.join(folder, "metrics.jsonl")
    try:
        with open(path, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.endswith("\n")]  # not a cut one
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a line is not a JSON object")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}; {folder} is not the folder of a run") from None
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error})") from None
    if not rows:
        raise RunError(f"{path}: the run has not done its first step yet")
    return {name: [row.get(name, math.nan) for row in rows] for name in COLUMNS}
