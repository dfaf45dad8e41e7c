"""A training run: its folder, its steps, its checkpoints, and the network that it leaves.

    setup.py     the options and the preparations that all training scripts share
    run.py       Run: the steps and epochs of a training loop, safe against faults
    folder.py    the files of a run: lock, checkpoints, configuration
    log.py       the metrics of every step, in memory and as files
    stall.py     StallHint: notices a network that does not begin to learn
    trained.py   load: the network of a run, with all that is needed to show it a picture
    report.py    finish: figures and a summary
"""

from tinynet.runs.folder import (
    Lock,
    RunError,
    checkpoints,
    is_finished,
    read_config,
    require_unused,
    write_json,
)
from tinynet.runs.log import COLUMNS, read_metrics
from tinynet.runs.run import NotFinite, Run, require_finite
from tinynet.runs.stall import StallHint
from tinynet.runs.trained import Trained, load

__all__ = ["COLUMNS", "Lock", "NotFinite", "Run", "RunError", "StallHint", "Trained", "checkpoints",
           "is_finished", "load", "read_config", "read_metrics", "require_finite", "require_unused",
           "write_json"]
