"""Ranks that are processes: the bits of one process, one line for each fault, and nobody waits for ever."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tinynet.parallel import mpi

pytest.importorskip("mpi4py") if not os.environ.get("TINYNET_REQUIRE_MPI") else None

HERE = pathlib.Path(__file__).parent
MPIEXEC = pathlib.Path(sys.executable).with_name("mpiexec")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent), "TINYNET_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


KILLED = 9  # what mpiexec returns if it killed a rank before that one had ended by itself
MISTAKE = 2, KILLED  # 2, but now and then mpiexec returns the status of the rank that it killed


def command(size, *arguments):
    ranks = [str(MPIEXEC), "-n", str(size)] if size else []
    return [*ranks, sys.executable, str(HERE / "parallel_program.py"), *map(str, arguments)]


def program(size, *arguments, env=ENVIRONMENT):
    """Run it; 60 seconds without an end are a failure."""
    return subprocess.run(command(size, *arguments), capture_output=True, text=True, timeout=60, env=env)


def digests(ran):
    assert ran.returncode == 0, ran.stderr
    return set(re.findall(r"[0-9a-f]{64}", ran.stdout))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return digests(program(0, tmp_path_factory.mktemp("alone"), 5))


@pytest.mark.parametrize("size", [2, 4])
def test_processes_give_the_bits_of_one(alone, tmp_path, size):
    assert len(alone) == 1
    assert digests(program(size, tmp_path, 5, "--parallel", "data")) == alone


@pytest.mark.parametrize("number, before, after", [(signal.SIGINT, 2, 0), (signal.SIGTERM, 4, 2)])
def test_a_signal_saves_once_and_ends_all_ranks(alone, tmp_path, number, before, after):
    """Another number of ranks then goes on, or one process, and ends with the same bits."""
    ran = subprocess.Popen(command(before, tmp_path, 5, "--parallel", "data", "--slow", 400), stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert "two steps" in ran.stdout.readline()
    ran.send_signal(number)
    said = ran.communicate(timeout=60)[1]
    assert ran.returncode in (128 + number, KILLED)
    assert said.count("parallel_program.py: stopped") == 1 and "Traceback" not in said
    assert (tmp_path / "checkpoint-000002.npz").exists() or (tmp_path / "checkpoint-000003.npz").exists()
    resumed = program(after, tmp_path, 5, "--resume", *["--parallel", "data"] * bool(after))
    assert re.search("continuing from step [23]", resumed.stdout)
    assert digests(resumed) == alone


@pytest.mark.parametrize("size, rank", [(2, 0), (2, 1), (4, 2)])
@pytest.mark.parametrize("fault, code, line", [
    ("fail", 1, "parallel_program.py: disk: gone"), ("defect", 1, "AssertionError: a defect"),
    ("die", 9, ""), ("hang", 1, "rank {} has given no sign of life")])
def test_a_fault_of_one_rank_ends_the_others_within_seconds(tmp_path, size, rank, fault, code, line):
    began = time.monotonic()
    ran = program(size, tmp_path, 400, "--parallel", "data", f"--{fault}", rank)
    assert ran.returncode in (code, KILLED) and time.monotonic() - began < 40
    assert ran.stderr.count(line.format(rank)) == 1 or not line
    assert fault != "die" or re.search("Killed|KILLED", ran.stdout + ran.stderr)


@pytest.mark.parametrize("rank", [-1, 0, 1])
def test_a_mistake_is_one_line_and_code_2(tmp_path, rank):
    """Rank -1: all make it, as with a wrong option."""
    ran = program(2, tmp_path, 5, "--parallel", "data", "--mistake", rank)
    assert ran.returncode in MISTAKE and ran.stderr == "parallel_program.py: a mistake\n"


def test_an_unknown_option_is_told_once(tmp_path):
    ran = program(2, tmp_path, 5, "--unknown")
    assert ran.returncode == 2 and ran.stderr.count("unrecognized") == 1


@pytest.mark.parametrize("size, arguments, line", [
    (0, ["--parallel", "data"], "--parallel data needs several ranks: put mpiexec -n 2 before the command"),
    (2, [], "started by mpiexec, but without --parallel: every rank would train by itself"),
    (3, ["--parallel", "data"], "3 ranks: the number of ranks must be a power of 2; start 2 or 4")])
def test_mistakes_with_mpiexec(tmp_path, size, arguments, line):
    ran = program(size, tmp_path, 5, *arguments)
    assert ran.returncode in MISTAKE and ran.stderr == f"parallel_program.py: {line}\n"


def test_a_mistake_is_told_by_a_rank_0_that_is_slower_than_the_others():
    """The others wait for it, so that mpiexec neither cuts its line off nor reports a killed rank."""
    slow = ("import time\n"
            "from tinynet.parallel import ParallelError, execute\n"
            "def main():\n"
            "    from mpi4py import MPI\n"
            "    time.sleep(0.7 * (MPI.COMM_WORLD.rank == 0))\n"
            "    raise ParallelError('a mistake')\n"
            "execute(main, ParallelError)")
    ran = subprocess.run([str(MPIEXEC), "-n", "2", sys.executable, "-c", slow], capture_output=True, text=True,
                         timeout=60, env=ENVIRONMENT)
    assert (ran.returncode, ran.stderr) == (2, "-c: a mistake\n")


def test_without_mpi4py(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('not here')")
    env = {**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}:{HERE.parent}"}
    ran = program(0, tmp_path / "run", 5, "--parallel", "data", env=env)
    assert ran.returncode == 2
    assert "needs mpi4py" in ran.stderr and ran.stderr.endswith("pip install -e '.[mpi]'\n")


# ---- ranks that do not fit together ----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Pictures; pictures of the same names with other pixels; a picture more; a tinynet of another version."""
    root = tmp_path_factory.mktemp("folders")
    for name, seed, count in (("mine", 0, 10), ("repainted", 1, 10), ("longer", 0, 11)):
        rng = np.random.default_rng(seed)
        for kind in ("cat", "dog"):
            (root / name / kind).mkdir(parents=True)
            for i in range(count):
                picture = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
                picture.save(root / name / kind / f"{i}.png")
    (root / "newer").mkdir()
    (root / "newer" / "sitecustomize.py").write_text("import tinynet\ntinynet.__version__ = '9.9'\n")
    return root


@pytest.mark.parametrize("first, second, line", [
    ("--data mine", "--data repainted", r"pixels digest is \w{16} on rank 0, \w{16} on rank 1"),
    ("--data mine", "--data longer", r"data train is 16 on rank 0, 18 on rank 1"),
    ("--data mine --shards 2", "--data mine --shards 4", "options shards is 2 on rank 0, 4 on rank 1"),
    ("--data mine", "--data mine --newer", r"versions tinynet is [\d.]+ on rank 0, 9.9 on rank 1")])
def test_ranks_must_train_the_same(folders, tmp_path, first, second, line):
    ran = trained(folders, tmp_path, first, second)
    assert ran.returncode in MISTAKE
    assert re.fullmatch(f"train_cifar10.py: the ranks do not train the same: {line}\n", ran.stderr), ran.stderr
    assert not list(tmp_path.glob("checkpoint*"))


def test_a_run_does_not_go_on_with_other_shards(folders, tmp_path):
    assert trained(folders, tmp_path, *["--data mine --shards 4"] * 2).returncode == 0
    (tmp_path / "summary.json").unlink()  # as if it had not finished
    ran = trained(folders, tmp_path, *["--data mine --shards 2 --resume"] * 2)
    assert ran.returncode in MISTAKE
    assert ran.stderr == (f"train_cifar10.py: {tmp_path}/config.json: made by another run: options shards was 4, now "
                          "it is 2\n")


@pytest.mark.parametrize("options, line", [
    ("--shards 1", "a run of --shards 1 cannot be divided among 2 ranks: start 1 or fewer"),
    ("--data none", "none: there is no such folder; the data is a folder with one sub-folder for each class, or "
                    "'embedded'; python -m tinynet.data download cifar10 data fetches CIFAR-10")])
def test_mistakes_that_all_ranks_make(folders, tmp_path, options, line):
    ran = trained(folders, tmp_path, options, options)
    assert ran.returncode in MISTAKE and ran.stderr == f"train_cifar10.py: {line}\n"


def trained(folders, out, *options):
    """Start train_cifar10.py as ranks with options of their own, and return how it ended."""
    script = [sys.executable, HERE.parent / "examples" / "train_cifar10.py", "--parallel", "data", "--epochs", "1",
              "--batch-size", "8", "--out", out]
    words = [MPIEXEC]
    for one in options:
        path = f"{folders / 'newer'}:{HERE.parent}" if "--newer" in one else HERE.parent
        words += ["-n", "1", "env", f"PYTHONPATH={path}", *script, *one.replace("--newer", "").split(), ":"]
    return subprocess.run(list(map(str, words[:-1])), capture_output=True, text=True, timeout=60, env=ENVIRONMENT,
                          cwd=folders)


def test_a_rank_that_fails_before_mpi_has_started(tmp_path):
    """MPI_Init waits for all ranks, here for one that has stumbled over its options."""
    alone = command(0, tmp_path, 5, "--parallel", "data")
    began = time.monotonic()
    ran = subprocess.run([str(MPIEXEC), "-n", "1", *alone, ":", "-n", "1", *alone, "--unknown"], capture_output=True,
                         text=True, timeout=60, env=ENVIRONMENT)
    assert ran.returncode and time.monotonic() - began < 40
    assert ran.stderr == ("parallel_program.py: MPI has not started within 5 s; a rank hangs, or has failed before\n")


def test_the_watcher_outlives_neither_its_rank_nor_a_signal():
    """It is started by a rank that has ended meanwhile, and ignores what the rank is to obey."""
    stranger = [sys.executable, "-I", "-c", mpi.WATCHER, "1", "0", "never said"]
    ran = subprocess.run(stranger, capture_output=True, text=True, timeout=20)
    assert (ran.returncode, ran.stderr) == (0, "")
    watcher = subprocess.Popen([sys.executable, "-I", "-c", mpi.WATCHER, str(os.getpid()), "60", "never said"],
                               stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        watcher.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        watcher.wait(0.5)
    watcher.kill()
    assert watcher.communicate()[1] == ""
