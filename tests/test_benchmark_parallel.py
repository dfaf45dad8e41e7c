"""The program that measures steps of several ranks: bytes are counted right, and a table grows by a row a run."""

import csv
import os
import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).parents[1] / "examples" / "benchmark_parallel.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1]), "TINYNET_THREADS": "1"}


def measured(*options):
    return subprocess.run([sys.executable, SCRIPT, *map(str, options)], capture_output=True, text=True, timeout=120,
                          env=ENVIRONMENT)


def test_ranks_that_are_threads(tmp_path):
    table = tmp_path / "steps.csv"
    for ranks in (1, 4):
        ran = measured("--ranks", ranks, "--latency", 0.005, "--batch-size", 4, "--repeats", 1, "--csv", table)
        assert (ran.returncode, ran.stderr) == (0, "")
    with table.open(encoding="utf-8") as file:
        one, four = csv.DictReader(file)
    assert (one["ranks"], one["sent MB"], one["silent"]) == ("1", "0.0", "")
    gradients, logits = 2 * 4 * 145_578 * 3 / 4, 4 * 10 * 3  # CifarNet; three rows of ten logits
    assert four["sent MB"] == str(round((gradients + logits) / 1e6, 3))
    assert float(four["latency us"]) >= 5000 and float(four["together"]) > 2 * 2 * 0.005


def test_mpiexec_forgotten():
    ran = measured("--parallel", "columns")
    assert ran.returncode == 2 and ran.stderr.startswith("benchmark_parallel.py: --parallel columns needs ")
    assert ran.stderr.count("\n") == 1


def test_a_table_that_cannot_be_written_is_refused_first(tmp_path):
    (tmp_path / "file").write_text("")
    ran = measured("--ranks", 1, "--csv", tmp_path / "file" / "steps.csv")
    line = f"benchmark_parallel.py: --csv {tmp_path / 'file'}: cannot be written to (Not a directory)\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", line)
