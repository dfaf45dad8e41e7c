"""A run that is stopped, killed, or starved, and goes on: it ends, bit for bit, as one that was never stopped."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from test_train_script import ROOT, SIZE, finish, make_colours, run_slim as run, start_slim as start

from tinynet import checkpoint, data
from tinynet.runs import COLUMNS, checkpoints

OPTIONS = ["--data", "colours", "--out", "out", "--device", "cpu", "--image-size", SIZE, "--batch-size", 16,
           "--epochs", 3, "--recipe", "code-2012", "--schedule", "recipe", "--checkpoint-minutes", 1e-6]
# The schedule: rates fall after the first and the second epoch; after the second, colours go and conv1 is frozen.


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed."""
    base = tmp_path_factory.mktemp("whole")
    make_colours(base / "colours", train=18, test=4)                                 # 54 pictures: 4 steps a pass
    code, _, err = run(*OPTIONS, cwd=base)
    assert code == 0, err
    return base


@pytest.fixture
def place(whole, tmp_path):
    shutil.copytree(whole / "colours", tmp_path / "colours")
    return tmp_path


def test_the_run_nobody_disturbed_has_the_drops_that_the_others_go_on_across(whole):
    rows = [json.loads(line) for line in (whole / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [row["lr"] for row in rows] == pytest.approx([0.01] * 4 + [0.001] * 4 + [0.0001] * 4)


def same(whole, place):
    """All that depends on the training alone."""
    for name in ("metrics.csv", "metrics.jsonl", "statistics.npz", "weights.npz"):
        assert (whole / "out" / name).read_bytes() == (place / "out" / name).read_bytes(), name
    assert not checkpoints(place / "out")
    keys = ("top1_error", "top5_error", "loss", "steps")
    before, after = (json.loads((base / "out" / "summary.json").read_text()) for base in (whole, place))
    assert [before[key] for key in keys] == [after[key] for key in keys]


def wait_for(process, happened):
    deadline = time.monotonic() + 300
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline, finish(process)
        time.sleep(0.002)


def steps_done(place):
    return max((int(path.stem[-6:]) for path in checkpoints(place / "out")), default=-1)


def writes(place):
    return list((place / "out").glob(".checkpoint-*.tmp"))


def test_killed_again_and_again_at_random_moments_it_ends_the_same(whole, place):
    rng = np.random.default_rng()
    more, kills = [], 0
    for goal in (0, 2, 5, 8, 11):
        process = start(*(OPTIONS if not more else ["--out", "out"]), *more, cwd=place)
        wait_for(process, lambda goal=goal: steps_done(place) >= goal)
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.communicate()
        more = ["--resume"]
    assert kills >= 4
    (place / "out" / ".metrics.csv.x1y2.tmp").write_text("step,ep")        # as a kill may leave it
    code, out, err = run("--out", "out", "--resume", cwd=place)
    assert code == 0 and "continuing from out/checkpoint-" in out, err
    assert not list((place / "out").glob(".*"))
    same(whole, place)


def test_killed_while_a_checkpoint_is_being_written_it_ends_the_same(whole, place):
    process = start(*OPTIONS, cwd=place)
    wait_for(process, lambda: steps_done(place) >= 3 and writes(place))
    process.kill()
    process.communicate()
    assert writes(place), "the process was quicker; nothing was tested"
    code, _, err = run("--out", "out", "--resume", cwd=place)
    assert code == 0 and not writes(place), err
    same(whole, place)


@pytest.fixture(scope="module")
def interrupted(whole, tmp_path_factory):
    """A run that was stopped with Ctrl-C after some steps."""
    base = tmp_path_factory.mktemp("interrupted")
    shutil.copytree(whole / "colours", base / "colours")
    process = start(*OPTIONS, cwd=base)
    wait_for(process, lambda: steps_done(base) >= 5)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130 and err.splitlines()[-1] == (
        "train_alexnet.py: stopped; the same command with --resume goes on from here")
    assert len(checkpoints(base / "out")) == 2
    return base


@pytest.fixture
def stopped(interrupted, place):
    """A copy of it."""
    shutil.copytree(interrupted / "out", place / "out")
    return place


def refused(place, *arguments):
    """The line with which a run is not continued. Nothing in its folder has changed, so it can still be."""
    def contents():
        return {path: path.read_bytes() for path in (place / "out").iterdir()}
    before = contents()
    code, out, err = run("--out", "out", *arguments, cwd=place)
    assert code == 2 and err.count("\n") == 1 and contents() == before, err
    return err


def test_stopped_with_ctrl_c_it_ends_the_same(whole, stopped):
    assert run("--out", "out", "--resume", "--quiet", cwd=stopped) == (0, "", "")
    same(whole, stopped)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(whole, stopped):
    before, newest = checkpoints(stopped / "out")
    flip(newest, np.random.default_rng().integers(newest.stat().st_size))
    code, out, err = run("--out", "out", "--resume", cwd=stopped)
    assert code == 0 and f"out/{newest.name}: " in err and f"continuing from out/{before.name}" in out
    same(whole, stopped)


def test_where_no_checkpoint_is_whole_it_says_so(stopped):
    for path in checkpoints(stopped / "out"):
        flip(path, path.stat().st_size // 2)
    code, _, err = run("--out", "out", "--resume", cwd=stopped)
    assert code == 2 and err.splitlines()[-1] == "train_alexnet.py: out: none of its 2 checkpoints can be read"


def test_damaged_statistics_are_named_not_computed_anew_in_silence(stopped):
    path = stopped / "out" / "statistics.npz"
    flip(path, path.stat().st_size // 2)
    assert "out/statistics.npz: not a file of arrays, or damaged" in refused(stopped, "--resume")


def test_statistics_that_are_missing_are_computed_again(whole, stopped):
    kept = (stopped / "out" / "statistics.npz").read_bytes()
    (stopped / "out" / "statistics.npz").unlink()
    assert run("--out", "out", "--resume", cwd=stopped)[0] == 0
    (stopped / "out" / "statistics.npz").write_bytes(kept)
    same(whole, stopped)


def flip(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x10]))


def test_data_taken_away(stopped):
    (stopped / "colours").rename(stopped / "away")
    assert "colours: there is no such folder" in refused(stopped, "--resume")


def test_data_that_vanishes_in_mid_run_and_comes_back(whole, place):
    process = start(*OPTIONS, cwd=place)
    wait_for(process, lambda: steps_done(place) >= 2)
    (place / "colours").rename(place / "away")
    code, _, err = finish(process)
    (place / "away").rename(place / "colours")
    assert code == 1 and "was there at the start" in err.splitlines()[-1], err
    assert run("--out", "out", "--resume", cwd=place)[0] == 0
    same(whole, place)


def test_a_disk_that_is_full_keeps_what_there_was(whole, place):
    """The limit on the size of a file stands in for the disk: a checkpoint of this net is far larger than 5 MB."""
    process = start(*OPTIONS, cwd=place)
    wait_for(process, lambda: steps_done(place) >= 3)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))
    code, _, err = finish(process)
    newest = checkpoints(place / "out")[-1]
    assert code == 1 and err.splitlines()[-1].endswith(
        f"(File too large); {newest.name} is complete: make room and continue with --resume"), err
    assert not writes(place)
    assert run("--out", "out", "--resume", cwd=place)[0] == 0
    same(whole, place)


@pytest.mark.parametrize("arguments, what", [
    (["--recipe", "caffe"], "options recipe was code-2012, now it is caffe"),
    (["--image-size", "83"], "options image_size was 67, now it is 83"),
    (["--batch-size", "8"], "options batch_size was 16, now it is 8"),
    (["--lr", "0.02"], "options lr was 0.01, now it is 0.02"), (["--seed", "1"], "options seed was 0, now it is 1"),
    (["--schedule", "short"], "options schedule was recipe, now it is short"),
    (["--data", "other"], "data "), (["--epochs", "4"], "options epochs was 3, now it is 4")])
def test_another_network_or_data_set_is_refused_with_what_differs(stopped, arguments, what):
    make_colours(stopped / "other", train=18, test=5)
    assert f"made by another run: {what}" in refused(stopped, "--resume", *arguments)


def test_data_may_move(whole, stopped):
    (stopped / "colours").rename(stopped / "moved")
    assert run("--out", "out", "--resume", "--data", "moved", cwd=stopped)[0] == 0
    same(whole, stopped)


def test_a_stopped_run_is_not_written_over(stopped):
    assert "continue it with --resume" in refused(stopped, *OPTIONS)


def test_a_finished_run_is_not_written_over(whole):
    assert refused(whole, *OPTIONS) == ("train_alexnet.py: out: holds a finished run; choose another --out, or remove "
                                        "the folder\n")


def test_statistics_of_another_run_are_refused(stopped):
    path = stopped / "out" / "statistics.npz"
    statistics = data.load_statistics(path)
    checkpoint.save_arrays(path, {"mean": statistics.mean + 1, "covariance": statistics.covariance})
    assert "made by another run: statistics.npz digest was " in refused(stopped, "--resume")


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_second_process_is_refused_and_other_signals_end_a_run_as_ctrl_c_does(whole, place, number, code):
    process = start(*OPTIONS, cwd=place)
    wait_for(process, lambda: steps_done(place) >= 2)
    process.send_signal(signal.SIGSTOP)
    for more in ([], ["--resume"]):
        second, _, err = run(*OPTIONS, *more, cwd=place)
        assert second == 2 and err.count("\n") == 1 and "out: " in err, err
        assert ("another process is training there" if more else "holds a run that was stopped") in err
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    ended, _, err = finish(process)
    assert ended == code and err.splitlines()[-1] == (
        f"train_alexnet.py: stopped by {number.name}; the same command with --resume goes on from here")
    assert run("--out", "out", "--resume", "--quiet", cwd=place) == (0, "", "")
    same(whole, place)


def test_nothing_to_resume_is_said_in_a_line(whole, tmp_path):
    code, _, err = run("--resume", cwd=tmp_path)
    assert code == 2 and err.count("\n") == 1 and "is not the folder of a run" in err
    code, _, err = run("--resume", cwd=whole)
    assert code == 2 and "is not the folder of a run" in err                         # the default folder, not ours
    code, _, err = run("--resume", "--out", "out", cwd=whole)
    assert code == 2 and err.endswith("out: the run is finished, there is nothing to continue\n")


def test_metrics_of_both_kinds_say_the_same(whole):
    with open(whole / "out" / "metrics.csv") as file:
        head, *lines = file.read().splitlines()
    assert head == ",".join(COLUMNS) and len(lines) == 12
    for line, text in zip(lines, (whole / "out" / "metrics.jsonl").read_text().splitlines(), strict=True):
        assert {key: float(value) for key, value in zip(COLUMNS, line.split(",")) if value} == json.loads(text)


def command(module, *arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], cwd=cwd, env=environment,
                         capture_output=True, text=True, timeout=120)
    return ran.returncode, ran.stdout, ran.stderr


def test_curves_are_drawn_anew_from_the_log_of_a_run_that_still_goes(stopped):
    assert not (stopped / "out" / "curves.png").exists()
    with open(stopped / "out" / "metrics.jsonl", "a") as file:
        file.write('{"step": 99, "epo')                                              # a line that is being written
    assert command("tinynet.figures", "out", cwd=stopped) == (0, "out/curves.png\n", "")
    with Image.open(stopped / "out" / "curves.png") as image:
        assert len(image.convert("L").getcolors()) > 20


def test_curves_of_what_is_no_run(tmp_path):
    code, out, err = command("tinynet.figures", "nowhere", cwd=tmp_path)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "nowhere is not the folder of a run" in err


def test_downloads_have_to_be_asked_for_by_name(tmp_path):
    for arguments, said in ((["imagenet", "d"], "not without an account"), (["vgg", "d"], "no data set of that name")):
        code, out, err = command("tinynet.data", "download", *arguments, cwd=tmp_path)
        assert (code, out) == (2, "") and err.count("\n") == 1 and said in err, err
        assert not (tmp_path / "d").exists()
