"""What a trained network says of a picture of any format, its run finished or not; a mistake gets one line."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from test_train_script import ROOT, SIZE, SLIM

import tinynet
from tinynet import checkpoint, data, runs

STORED, NAMES = 76, ["ant", "bee", "cat", "\u732b", "dog", "elk", "fox"]


def make_run(folder, finished=True):
    """A folder as a run leaves it, of weights that nobody has trained."""
    folder.mkdir()
    net = tinynet.AlexNet("caffe", len(NAMES), SIZE, rng=np.random.default_rng(3))
    net["fc8"].params["w"] *= 300                                  # so that it has opinions
    config = {"network": "AlexNet", "recipe": "caffe", "classes": NAMES, "image_size": SIZE}
    mean = np.full((3, STORED, STORED), 120, np.float32)
    checkpoint.save_arrays(folder / "statistics.npz", {"mean": mean, "covariance": np.eye(3)})
    if finished:
        runs.write_json(folder / "config.json", config)
        runs.write_json(folder / "summary.json", {})
        net.save(folder / "weights.npz")
    else:
        sgd = tinynet.SGD(net)
        statistics = data.Statistics(mean, np.eye(3))
        batches = data.TrainingBatches(data.open_source("embedded", STORED, quiet=True).train, 1, SIZE, statistics,
                                       np.random.default_rng(0))
        stopped = runs.Run(runs.Lock(folder), net, sgd, tinynet.StepDecay(sgd, ()), batches, None, 0, steps=9,
                           steps_per_epoch=9, identity={}, hint=runs.StallHint(7))
        stopped.begin(config)
        stopped.step = 7
        stopped.save()
        stopped.log.close()
    return net


@pytest.fixture(scope="module")
def base(tmp_path_factory, slim_alexnets):
    base = tmp_path_factory.mktemp("classify")
    make_run(base / "run")
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    pixels[:, :60] //= 3
    for name in ("a.png", "b.tga", "c.ico"):
        Image.fromarray(np.roll(pixels, ord(name[0]), axis=1)).save(base / name)
    return base


def classify(*arguments, cwd, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **environment}
    ran = subprocess.run([sys.executable, SLIM[0], ROOT / "examples" / "classify.py", *map(str, arguments)], cwd=cwd,
                         env=environment, capture_output=True, encoding="utf-8", timeout=300)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout, ran.stderr


def test_a_network_that_was_loaded_draws_what_every_generator_draws(base):
    net = runs.load(base / "run").net
    layer = tinynet.layers.Linear("new", 4, std=1.0)
    layer.build((1, 5), net.rng, net.dtype)
    assert np.count_nonzero(layer.params["w"]) == 20


def expected(base, file, ten_views):
    """The probabilities, by other means than the script's: view by view."""
    net = tinynet.AlexNet("caffe", len(NAMES), SIZE, rng=np.random.default_rng(0))
    net.load(base / "run" / "weights.npz")
    net.eval()
    picture = data.load_picture(base / file, STORED, data.any_format()).astype(np.float32) - 120
    far = STORED - SIZE
    corners = [(0, 0), (0, far), (far // 2, far // 2), (far, 0), (far, far)] if ten_views else [(far // 2, far // 2)]
    views = [picture[:, top:top + SIZE, left:left + SIZE] for top, left in corners]
    views += [view[..., ::-1] for view in views] if ten_views else []
    powers = np.exp(net.forward(np.array(views)).astype(float))
    return (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)


@pytest.mark.parametrize("ten_views", [False, True])
def test_the_five_best_with_bars_best_first_for_each_picture(base, ten_views):
    files = ["a.png", "b.tga", "c.ico"]
    more = ["--ten-views", "--out", "new/pets.png"] if ten_views else []
    code, out, err = classify("run", *files, *more, cwd=base)
    assert (code, err) == (0, "")
    head, *blocks, drawn = out.strip().split("\n\n")
    path = os.path.join("new", "pets.png") if ten_views else os.path.join("run", "classified.png")
    assert "weights.npz" in head and ("ten views" in head) == ten_views and drawn == path
    with Image.open(base / path) as image:
        assert image.format == "PNG" and len(image.convert("RGB").getcolors(image.width * image.height)) > 1000
    for file, block in zip(files, blocks, strict=True):
        name, *lines = block.splitlines()
        probs = expected(base, file, ten_views)
        best = np.argsort(-probs)[:5]
        assert name == file and [line.split()[0] for line in lines] == [NAMES[k] for k in best]
        assert [float(line.split()[1][:-1]) for line in lines] == pytest.approx(100 * probs[best], abs=0.06)
        assert [line.count("\N{FULL BLOCK}") for line in lines] == pytest.approx(24 * probs[best], abs=0.51)
        # the percents stand below each other on a terminal, where the Chinese cat is two columns wide
        assert len({line.index("%") + line.count("\u732b") for line in lines}) == 1
    assert probs.max() > 0.3 and max(block.count("\N{FULL BLOCK}") for block in blocks) > 6


def test_what_cannot_be_read_is_named_the_others_are_classified_and_the_code_is_2(base):
    (base / "text.jpg").write_text("this is no picture")
    code, out, err = classify("run", "text.jpg", "a.png", "nowhere.png", "run", cwd=base)
    assert code == 2 and "\na.png\n" in out and "text.jpg" not in out
    assert err.splitlines() == ["text.jpg: cannot identify image file", "nowhere.png: No such file or directory",
                                "run: not a regular file"]
    code, out, err = classify("run", "nowhere.png", cwd=base)
    assert code == 2 and err == "nowhere.png: No such file or directory\n" and ".png" not in out


def test_a_terminal_that_cannot_show_it_is_no_error(base):
    code, out, err = classify("run", "a.png", cwd=base, PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "") and "a.png" in out and "%" in out


def test_a_run_that_is_not_finished_speaks_from_its_newest_checkpoint(base, tmp_path):
    net = make_run(tmp_path / "run", finished=False)
    (tmp_path / "run" / "weights.npz").write_text("of an earlier run in this folder")
    network = runs.load(tmp_path / "run")
    assert "checkpoint-000007.npz, after 7 steps of a run that is not finished" in network.origin
    for name, w in net.named_params().items():
        np.testing.assert_array_equal(network.net.named_params()[name], w)
    picture = network.load_picture(base / "a.png")[None]
    np.testing.assert_array_equal(network.probabilities(picture), runs.load(base / "run").probabilities(picture))


def test_what_is_no_run_is_said_in_a_line(base, tmp_path):
    code, out, err = classify("nowhere", "a.png", cwd=base)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "nowhere is not the folder of a run" in err
    code, out, err = classify("run", "a.png", "--out", "a.png/x.png", cwd=base)
    assert code == 2 and err.count("\n") == 1 and "cannot be written to" in err


@pytest.mark.parametrize("change, said", [
    ({"network": "ResNet"}, "does not describe a network of tinynet ('ResNet')"),
    ({"recipe": "vgg"}, "no recipe 'vgg'"), ({"image_size": 20}, "too small"), ({"classes": None}, "NoneType"),
    ({"recipe": "owt"}, "made for another network")])
def test_a_config_that_does_not_fit_is_said_in_a_line(tmp_path, change, said):
    make_run(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    runs.write_json(tmp_path / "run" / "config.json", config | change)
    with pytest.raises((runs.RunError, tinynet.CheckpointError)) as error:
        runs.load(tmp_path / "run")
    assert said in str(error.value) and "\n" not in str(error.value)


def test_weights_from_elsewhere_in_the_place_of_a_run(base, tmp_path):
    """The same probabilities as of the run that the file was exported from; a mistake gets one line."""
    program = ROOT / "tinynet" / "weights" / "__main__.py"
    export = [sys.executable, SLIM[0], program, "export", base / "run", tmp_path / "x.safetensors"]
    subprocess.run(export, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True, timeout=300)
    code, out, err = classify("--weights", tmp_path / "x.safetensors", base / "a.png", cwd=tmp_path)
    assert (code, err) == (0, "") and (tmp_path / "classified.png").exists()
    _, own, _ = classify("run", "a.png", "--out", tmp_path / "own.png", cwd=base)
    assert out.splitlines()[3:8] == own.splitlines()[3:8] and "%" in out.splitlines()[4]
    for arguments, said in ((("--weights", "a.png", "a.png"), "a.png: none of the formats"),
                            (("run",), "there is no PICTURE")):
        code, out, err = classify(*arguments, cwd=base)
        assert (code, out) == (2, "") and said in err and err.count("\n") == 1
