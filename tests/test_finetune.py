"""train_alexnet.py --weights: a run that starts from another one's weights, stops, continues and answers."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from test_train_script import ROOT, SIZE, SLIM, finish, make_colours, options, run_slim as run, start_slim as start

from tinynet import data, runs, weights

MORE = {"epochs": 2, "checkpoint-minutes": 1e-6, "steps": 7}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, slim_alexnets):
    """A run of three classes, and one of two classes that starts from it and is never stopped."""
    base = tmp_path_factory.mktemp("finetune")
    make_colours(base / "colours", train=16, test=4)
    shutil.copytree(base / "colours", base / "two", ignore=shutil.ignore_patterns("green"))
    code, _, err = run(*options("colours", "first", recipe="caffe"), cwd=base)
    assert code == 0, err
    code, out, err = run(*fine_tuning("out"), cwd=base)
    assert code == 0 and "2 classes" in out, err
    return base


def fine_tuning(out, **more):
    chosen = {"weights": "first", "data": "two", "out": out, "device": "cpu", "batch-size": 8, **MORE, **more}
    return [word for key, value in chosen.items() for word in (f"--{key}", value)]


def test_it_starts_from_the_weights_and_the_old_layers_learn_at_a_tenth(whole):
    config = json.loads((whole / "out" / "config.json").read_text())
    assert (config["recipe"], config["image_size"], config["classes"]) == ("caffe", SIZE, ["blue", "red"])
    before, after = runs.load(whole / "first"), runs.load(whole / "out")
    np.testing.assert_array_equal(*(data.center_crop(run.mean, SIZE) for run in (after, before)))
    old, new = before.net.named_params(), after.net.named_params()
    assert new["fc8.w"].shape[0] == 2
    moved = {name: np.abs(new[name] - old[name]).max() for name in old if not name.startswith("fc8")}
    assert all(0 < size < 0.01 for size in moved.values()), moved


def test_a_stopped_run_continues_to_the_same_bits_from_weights_elsewhere(whole, tmp_path):
    for name in ("two", "first"):
        shutil.copytree(whole / name, tmp_path / name)
    process = start(*fine_tuning("out"), cwd=tmp_path)
    while not list((tmp_path / "out").glob("checkpoint-*2.npz")):
        assert process.poll() is None, finish(process)
    process.kill()
    process.communicate()
    (tmp_path / "first").rename(tmp_path / "moved")
    for arguments, said in (([], "first"), (["--weights", "moved", "--recipe", "owt"], "now it is owt")):
        code, _, err = run("--resume", "--out", "out", *arguments, cwd=tmp_path)
        assert code == 2 and said in err and err.count("\n") == 1, err
    code, out, err = run("--resume", "--out", "out", "--weights", "moved", cwd=tmp_path)
    assert code == 0 and "continuing from" in out, err
    for name in ("metrics.csv", "statistics.npz", "weights.npz"):
        assert (whole / "out" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


def test_other_weights_do_not_continue_it(whole, tmp_path):
    shutil.copytree(whole / "two", tmp_path / "two")
    shutil.copytree(whole / "first", tmp_path / "first")
    code, _, err = run(*fine_tuning("out"), "--keep-checkpoints", cwd=tmp_path)
    assert code == 0, err
    (tmp_path / "out" / "summary.json").unlink()
    net = runs.load(tmp_path / "first").net
    net["conv3"].params["b"][0] += np.float32(1e-3)
    net.save(tmp_path / "first" / "weights.npz")
    code, _, err = run("--resume", "--out", "out", cwd=tmp_path)
    assert code == 2 and "weights digest was" in err and err.count("\n") == 1, err


def test_what_cannot_be_fine_tuned_is_said_in_a_line(whole, tmp_path):
    (tmp_path / "text").write_text("hello")
    for more, said in (({"image-size": 99}, f"for --image-size {SIZE}, not 99"), ({"recipe": "owt"}, "leave --recipe"),
                       ({"weights": tmp_path / "text"}, "text"), ({"weights": "nowhere"}, "nowhere")):
        code, _, err = run(*fine_tuning(tmp_path / "new", **more), cwd=whole)
        assert code == 2 and said in err and err.count("\n") == 1, err
    assert not (tmp_path / "new").exists()


def test_other_programs_take_a_fine_tuned_run(whole):
    pretrained = weights.load(whole / "out")
    assert pretrained.class_names == ["blue", "red"] and pretrained.table["recipe"] == "caffe"
    picture = next((whole / "two" / "test" / "red").iterdir())
    ran = subprocess.run([sys.executable, SLIM[0], ROOT / "examples" / "classify.py", "out", picture], cwd=whole,
                         env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0 and "blue" in ran.stdout and "red" in ran.stdout, ran.stderr
