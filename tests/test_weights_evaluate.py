"""evaluate.py measures what the network says of pictures in folders; fine-tuning and the three geometries."""

import json
import os
import pathlib
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import weight_files as files
from PIL import Image

import tinynet
from tinynet import data, weights
from tinynet.weights import WeightsError, finetuning, presets
from tinynet.weights.finetuning import fine_tune
from tinynet.weights.geometry import same_weights, sides

ROOT = pathlib.Path(weights.__file__).parents[2]
THOUSAND = (*files.SMALL["caffe"][:-1], 1000)


def evaluate(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run([sys.executable, str(ROOT / "examples" / "evaluate.py"), *map(str, arguments)], cwd=cwd,
                         env=environment, capture_output=True, encoding="utf-8", timeout=300)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Weights for 1,000 classes, and photographs in folders that are called like three of them."""
    base = tmp_path_factory.mktemp("evaluate")
    made = files.arrays("caffe", THOUSAND)
    made["fc8"][0][...] *= 20
    (base / "weights").write_bytes(files.caffemodel(made))
    with Image.open(files.HOPPER) as image:
        for number, wnid in enumerate(("n01440764", "n02099601", "n15075141")):
            for split, count in (("train", 1), ("val", 2)):
                folder = base / "data" / split / wnid
                folder.mkdir(parents=True)
                for i in range(count):
                    left = 40 * number + 12 * i
                    image.crop((left, 30 * i, left + 300 + 20 * i, 400)).save(folder / f"{i}.png")
    return base


def expected(oracle, base):
    """{path: probabilities} by PyTorch."""
    made = files.arrays("caffe", THOUSAND)
    made["fc8"][0][...] *= 20
    return {path: files.caffe_forward(oracle, made, files.caffe_input(oracle, path))[0]
            for path in sorted((base / "data" / "val").rglob("*.png"))}


def test_accuracy_beside_the_published_row(oracle, base):
    """The folders are called like classes that some of the pictures are taken for."""
    probs = expected(oracle, base)  # three folders with two pictures each
    wnids, tops = list(presets.imagenet_words()), [own.argmax() for own in probs.values()]
    assert len(set(tops)) > 1
    second = wnids[next(top for top in tops[2:] if wnids[top] not in ("n01440764", "n02099601", "n15075141"))]
    os.rename(base / "data" / "val" / "n02099601", base / "data" / "val" / second)
    os.rename(base / "data" / "train" / "n02099601", base / "data" / "train" / second)
    right = {path: path.parent.name.replace("n02099601", second) for path in probs}
    order = {path: np.argsort(-own) for path, own in probs.items()}
    top1 = np.mean([wnids[order[path][0]] == wnid for path, wnid in right.items()])
    top5 = np.mean([wnid in [wnids[k] for k in order[path][:5]] for path, wnid in right.items()])
    assert 0 < top1 < 1
    code, out, err = evaluate("--weights", "weights", "--data", "data", "--batch-size", 5, "--quiet", cwd=base)
    assert (code, err) == (0, ""), err
    lines = out.splitlines()
    measured = next(line for line in lines if line.startswith("measured on 6 pictures, one view"))
    assert measured.split()[-2:] == [f"{top1:.3%}", f"{top5:.3%}"]
    assert next(line for line in lines if "bvlc_alexnet in Caffe" in line).split()[-2:] == ["57.1%", "80.2%"]
    assert "published is one view on the 50,000 validation pictures" in out and "images/s" in lines[-1]
    code, out, err = evaluate("--weights", "weights", "--data", "data", "--ten-views", cwd=base)
    assert code == 0 and "ten views" in out


def test_validation_pictures_alone_are_enough_and_all_of_them_count(oracle, base, tmp_path):
    """In folders of classes; flat or in ImageNet's tar with labels in val.txt; the last folder or the one above."""
    wnids, flat = list(presets.imagenet_words()), tmp_path / "flat" / "val"
    flat.mkdir(parents=True)
    labels, top5 = [], []
    for number, (path, probs) in enumerate(expected(oracle, base).items(), 1):
        name, label = f"ILSVRC2012_val_{number:08}.JPEG", int(probs.argsort()[-2])  # never first, always second
        (flat / name).write_bytes(path.read_bytes())
        labels.append(f"{name} {label}\n")
        top5.append(label)
        folder = tmp_path / "folders" / "val" / wnids[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
    (tmp_path / "tar").mkdir()
    for folder in ("flat", "tar"):
        (tmp_path / folder / "val.txt").write_text("".join(labels))
    with tarfile.open(tmp_path / "tar" / "ILSVRC2012_img_val.tar", "w") as tar:
        for path in sorted(flat.iterdir()):
            tar.add(path, path.name)
    for place in ("folders", "folders/val", "flat", "flat/val", "tar"):
        source = data.ValidationSource(tmp_path / place, wnids, 256, quiet=True)
        assert sorted(presets.find_labels([source.class_names[k] for k in source.test.labels],
                                          presets.class_names(1000))) == sorted(top5), place
    code, out, err = evaluate("--weights", "weights", "--data", tmp_path / "flat", "--quiet", cwd=base)
    assert code == 0 and "measured on 6 pictures" in out, err
    assert next(line for line in out.splitlines() if "measured" in line).split()[-2:] == ["0.000%", "100.000%"]
    (tmp_path / "flat" / "val.txt").unlink()
    code, _, err = evaluate("--weights", "weights", "--data", tmp_path / "flat", cwd=base)
    assert code == 2 and "there is none of LOC_val_solution.csv, val.txt" in err and err.count("\n") == 1
    assert data.find_validation(base / "data") is None  # it has train/ too


def test_a_run_is_measured_on_its_own_test_set(tmp_path):
    """The fifth of a folder that its seed has chosen, and no picture of the others."""
    for number, wnid in enumerate(("n01440764", "n02099601")):
        (tmp_path / "data" / wnid).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (9, 9), (20 * i, 99 * number, 0)).save(tmp_path / "data" / wnid / f"{i}.png")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(json.dumps({"data": "data", "seed": 7}))
    script = ("import sys; sys.path.insert(0, sys.argv[1]); import types, evaluate; args = types.SimpleNamespace("
              "weights='run', data=sys.argv[2], quiet=True); print(*evaluate.open_data(args, 8).test.names)")
    for place, count in (("data", 4), ("link", 20)):
        os.path.exists(tmp_path / "link") or os.symlink(tmp_path / "data", tmp_path / "link")
        ran = subprocess.run([sys.executable, "-c", script, str(ROOT / "examples"), place], cwd=tmp_path, text=True,
                             env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=120)
        assert len(ran.stdout.split()) == count, ran.stderr
        if place == "data":
            assert ran.stdout.split() == data.open_source(tmp_path / "data", 8, 7).test.names


def test_mistakes_get_one_line(base, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "train" / name / "a.png")
    os.symlink(tmp_path / "train", tmp_path / "test")
    for arguments, said in ((("--weights", "nowhere", "--data", "data"), "nowhere: No such file"),
                            (("--weights", "weights", "--data", "nowhere"), "nowhere"),
                            (("--weights", "weights", "--data", tmp_path), "does not know its class 'cat'"),
                            (("--data", "data"), "--weights")):
        code, _, err = evaluate(*arguments, cwd=base)
        assert code == 2 and said in err and err.count("\n") == 1, err


# ---- fine-tuning -----------------------------------------------------------------------------------------------------
def pretrained(tmp_path, recipe):
    made = files.arrays(recipe, files.SMALL[recipe])
    if recipe == "caffe":
        (tmp_path / "x").write_bytes(files.caffemodel(made))
    else:
        save = pytest.importorskip("safetensors.numpy").save_file
        save(files.state(made), tmp_path / "x")
    return weights.load(tmp_path / "x")


@pytest.mark.parametrize("recipe", ["owt", "caffe"])
def test_a_network_for_new_classes_sees_what_the_old_one_saw(tmp_path, monkeypatch, recipe):
    """With RGB pixels minus the mean image, as loaders here give them, fc7 says what it said; fc8 is new."""
    monkeypatch.setattr(weights.network, "RECIPES", files.SHRUNK)
    before, after = pretrained(tmp_path, recipe), pretrained(tmp_path, recipe)
    net, mean = fine_tune(after, 3, rng=np.random.default_rng(5))
    picture = before.load_picture(files.HOPPER)
    assert mean.shape == picture.shape and net.layers[-1].params["w"].shape == (3, 12)
    crop = before.preprocessing.crop
    x = tinynet.data.center_crop(picture - mean, crop)[None]
    net.eval()
    old, new = before.preprocessing.prepare(picture[None]), x
    for ours, theirs in zip(before.net.layers[:-1], net.layers[:-1]):
        old, new = ours.forward(old), theirs.forward(new)
        np.testing.assert_allclose(new, old, rtol=1e-3, atol=1e-4 * np.abs(old).max())
    assert np.abs(old).max() > 0


@pytest.mark.parametrize("recipe", ["owt", "caffe"])
def test_the_old_layers_learn_at_a_lower_rate(tmp_path, monkeypatch, recipe):
    """A step of conv1 is a tenth of the unchanged network's, in its units."""
    monkeypatch.setattr(weights.network, "RECIPES", files.SHRUNK)
    before, after = pretrained(tmp_path, recipe), pretrained(tmp_path, recipe)
    net, mean = fine_tune(after, 5, rng=np.random.default_rng(5))
    before.net.layers[-1].params = {key: array.copy() for key, array in net.layers[-1].params.items()}
    picture = before.load_picture(files.HOPPER)
    crop = before.preprocessing.crop
    moved = {}
    for name, network, x in (("old", before.net, before.preprocessing.prepare(picture[None])),
                             ("new", net, tinynet.data.center_crop(picture - mean, crop)[None])):
        network.eval()
        network.train()
        for layer in network.layers:
            if isinstance(layer, tinynet.layers.Dropout):
                layer.keep = 1.0
        loss, sgd = tinynet.SoftmaxCrossEntropy(), tinynet.SGD(network, lr=1e-3, weight_decay=0.1)
        loss.forward(network.forward(x.astype(np.float32)), np.array([2]))
        network.backward(loss.backward())
        sgd.step()
        moved[name] = sgd.velocity
    scale = before.preprocessing.scale[:, None, None]
    flip = slice(None, None, -1 if recipe == "caffe" else 1)
    new = moved["new"]["conv1.w"][:, flip] * scale
    np.testing.assert_allclose(new, 0.1 * moved["old"]["conv1.w"], rtol=0.05, atol=0.02 * np.abs(new).max())
    for key in ("conv1.b", "conv3.w", "fc7.b", "fc7.w"):
        np.testing.assert_allclose(moved["new"][key], 0.1 * moved["old"][key], rtol=1e-2,
                                   atol=1e-3 * np.abs(moved["new"][key]).max())
    np.testing.assert_allclose(moved["new"]["fc8.w"], moved["old"]["fc8.w"], rtol=1e-3, atol=1e-7)
    frozen, _ = fine_tune(pretrained(tmp_path, recipe), 5, rate=0, rng=np.random.default_rng(5))
    assert {key for key, rate in tinynet.SGD(frozen).lr_mult.items() if rate} <= {"fc8.w", "fc8.b"}


def test_what_has_no_last_layer_is_refused(tmp_path, monkeypatch):
    loaded = pretrained(tmp_path, "caffe")
    loaded.net.layers.append(tinynet.layers.ReLU("relu8"))
    with pytest.raises(WeightsError, match="relu8, the last layer, is not fully connected"):
        fine_tune(loaded, 3, rng=np.random.default_rng(0))


# ---- the same weights in three networks ------------------------------------------------------------------------------
def test_three_geometries_take_the_same_weights(oracle, tmp_path):
    loaded = pretrained(tmp_path, "caffe")
    made = files.arrays("caffe", files.SMALL["caffe"])
    nets = same_weights(loaded.net)
    assert {who: sides(net) for who, net in nets.items()} == {
        "Caffe": [55, 27, 13, 6], "the ONNX model zoo": [54, 26, 12, 6],
        "Guerzhoy's TensorFlow script": [57, 28, 13, 6]}
    probs = {}
    for who, net in nets.items():
        assert net["fc6"].params["w"] is loaded.net["fc6"].params["w"]
        size, pad = net.in_shape[-1], net["conv1"].pad[0]
        x = files.caffe_input(oracle, files.HOPPER, size)
        logits = net.forward(x.numpy())
        probs[who] = np.exp(logits) / np.exp(logits).sum()
        theirs = files.caffe_forward(oracle, made, x, ceil=who == "Caffe", pad=pad)
        np.testing.assert_allclose(probs[who], theirs, atol=1e-5)
    first, *others = probs.values()
    assert all(np.abs(first - other).max() > 1e-3 for other in others)
    assert loaded.net["conv1"].pad == (0, 0) and loaded.net.in_shape == (3, 227, 227)
    loaded.net.layers = loaded.net.layers[:3]
    with pytest.raises(WeightsError, match="only a network with Caffe's layers"):
        same_weights(loaded.net)


# ---- which recipe a file has that describes its layers ---------------------------------------------------------------
def test_a_file_with_the_layers_of_a_recipe_learns_as_the_recipe_says(tmp_path, monkeypatch):
    monkeypatch.setattr(weights.network, "RECIPES", files.SHRUNK)
    made = files.arrays("caffe", files.SMALL["caffe"])
    (tmp_path / "caffe").write_bytes(files.caffemodel(made))
    loaded = finetuning.load(tmp_path / "caffe", "caffe", 227)
    assert loaded.table == {"network": "AlexNet", "recipe": "caffe"}
    assert loaded.net["conv2"].lr_mult["b"] == 2 and loaded.net["conv2"].decay_mult["b"] == 0
    for recipe, size, said in (("owt", None, "for --recipe caffe, not owt; leave --recipe out"),
                               (None, 99, "for --image-size 227, not 99; leave --image-size out")):
        with pytest.raises(WeightsError, match=said):
            finetuning.load(tmp_path / "caffe", recipe, size)


@pytest.mark.parametrize("write", [lambda made: files.caffemodel(made, pool_first=True), files.zoo_onnx])
def test_other_layers_are_no_recipes_and_are_not_fine_tuned(tmp_path, monkeypatch, write):
    pytest.importorskip("onnx")
    monkeypatch.setattr(weights.network, "RECIPES", files.SHRUNK)
    (tmp_path / "x").write_bytes(write(files.arrays("caffe", files.SMALL["caffe"])))
    assert weights.load(tmp_path / "x").table is None
    with pytest.raises(WeightsError, match="not those of a recipe of AlexNet"):
        finetuning.load(tmp_path / "x")
