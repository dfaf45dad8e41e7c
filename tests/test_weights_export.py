"""What goes out comes back bit by bit, and other programs compute from it what we compute."""

import subprocess
import sys

import numpy as np
import pytest
import weight_files as files

import tinynet
from tinynet import weights
from tinynet.layers import LeakyReLU, Sigmoid, Tanh
from tinynet.network import Sequential
from tinynet.weights import Preprocessing, Pretrained, WeightsError, network
from tinynet.weights.export import export
from tinynet.weights.onnx_graph import to_onnx

NAMES = ["ant", "bee", "cat", "\u732b", "dog"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(network, "RECIPES", files.SHRUNK)


def trained(recipe):
    """A network as a run leaves it: few kernels, weights that have opinions, a mean image."""
    rng, shrunk = np.random.default_rng(4), files.SHRUNK[recipe]
    size = shrunk.image_size
    net = Sequential(shrunk.layers(len(NAMES)), (3, size, size), rng)
    for name, (w, b) in files.arrays("owt" if recipe == "owt" else "caffe", files.SMALL[recipe]).items():
        net[name].params = {"w": w, "b": b}
    mean = rng.uniform(90, 130, (3, size, size)).astype(np.float32)
    made = Pretrained(net, NAMES, Preprocessing("paper", 256, size, "RGB", mean, np.ones(3, np.float32)),
                      "a run", [], table={"network": "AlexNet", "recipe": recipe})
    net.eval()
    x = made.preprocessing.prepare(np.stack([made.load_picture(path) for path in files.PHOTOGRAPHS]))
    net["fc8"].params["w"] *= 1.5 / net.forward(x).std()  # probabilities that are neither all alike nor 0 and 1
    return made


def probabilities(pretrained):
    return pretrained.probabilities(np.stack([pretrained.load_picture(path) for path in files.PHOTOGRAPHS]))


@pytest.mark.parametrize("recipe", list(files.SHRUNK))
@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".onnx"])
def test_back_again_to_the_bit(tmp_path, recipe, ending):
    if ending == ".onnx":
        pytest.importorskip("onnx")
    before, path = trained(recipe), tmp_path / f"x{ending}"
    export(before, path)
    after = weights.load(path)
    assert (after.class_names, after.table) == (NAMES, before.table)
    for name, array in before.net.named_params().items():
        assert after.net.named_params()[name].tobytes() == array.tobytes(), name
    np.testing.assert_array_equal(after.preprocessing.mean, before.preprocessing.mean)
    expected = probabilities(before)
    assert expected.max() > 0.3 and np.abs(expected[0] - expected[1]).max() > 0.01
    np.testing.assert_array_equal(probabilities(after), expected)
    first = path.read_bytes()
    export(after, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("recipe", list(files.SHRUNK))
def test_onnx_runtime_computes_the_same_probabilities(recipe):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    before = trained(recipe)
    session = runtime.InferenceSession(to_onnx(before.net), providers=["CPUExecutionProvider"])
    x = before.preprocessing.prepare(np.stack([before.load_picture(path) for path in files.PHOTOGRAPHS]))
    theirs, = session.run(["probabilities"], {"x": x})
    np.testing.assert_allclose(theirs, probabilities(before), rtol=0, atol=1e-5)


def test_onnx_has_words_for_every_layer_of_ours():
    """The small net for CIFAR-10 with average pooling under ceil, and the other neurons."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    net = tinynet.CifarNet(rng=rng)
    net = Sequential([*net.layers[:3], Tanh("tanh"), *net.layers[3:6], Sigmoid("sigmoid"), LeakyReLU("leaky"),
                      *net.layers[6:]], net.in_shape, rng)
    for layer in net.layers:
        for array in layer.params.values():
            array[...] = 0.3 * rng.standard_normal(array.shape, dtype=np.float32)
    net.eval()
    x = rng.standard_normal((3, *net.in_shape)).astype(np.float32)
    session = runtime.InferenceSession(to_onnx(net), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["logits"], {"x": x})[0], net.forward(x), rtol=1e-4, atol=1e-4)

    class Odd(Tanh):
        """A layer that somebody has written."""

    with pytest.raises(WeightsError, match="odd: ONNX has no words for Odd"):
        to_onnx(Sequential([Odd("odd")], net.in_shape, rng))


def test_pytorch_loads_what_we_write(oracle, tmp_path):
    """Into torchvision's modules, with weights_only; safetensors likewise; names as torchvision has them."""
    from safetensors.torch import load_file
    before = trained("owt")
    export(before, tmp_path / "x.pth")
    export(before, tmp_path / "x.safetensors")
    x = before.preprocessing.prepare(np.stack([before.load_picture(path) for path in files.PHOTOGRAPHS]))
    for state in (oracle.load(tmp_path / "x.pth", weights_only=True), load_file(tmp_path / "x.safetensors")):
        made = {name: tuple(state[f"{theirs}.{key}"].numpy() for key in ("weight", "bias"))
                for name, theirs in files.TORCHVISION.items()}
        theirs = files.torchvision_forward(oracle, made, oracle.from_numpy(x))
        np.testing.assert_allclose(theirs, probabilities(before), rtol=0, atol=1e-5)
        assert len(state) == 16
    linear = oracle.nn.Sequential(*[oracle.nn.Identity()] * 6, oracle.nn.Linear(12, 5))
    state = oracle.load(tmp_path / "x.pth", weights_only=True)
    rest = {name.removeprefix("classifier."): array for name, array in state.items() if name.startswith("classifier.6")}
    linear.load_state_dict(rest)  # strict: the metadata are no key of their own
    for recipe in ("caffe", "paper"):
        export(trained(recipe), tmp_path / "y.pth")
        assert "conv1.weight" in oracle.load(tmp_path / "y.pth", weights_only=True)
    made = {name: tuple(array.numpy() for array in (state[f"{name}.weight"], state[f"{name}.bias"]))
            for state in [load_caffe(oracle, tmp_path)] for name in files.LAYERS}
    before = trained("caffe")
    x = before.preprocessing.prepare(np.stack([before.load_picture(path) for path in files.PHOTOGRAPHS]))
    np.testing.assert_allclose(files.caffe_forward(oracle, made, oracle.from_numpy(x)), probabilities(before),
                               rtol=0, atol=1e-5)


def load_caffe(oracle, tmp_path):
    export(trained("caffe"), tmp_path / "z.pth")
    return oracle.load(tmp_path / "z.pth", weights_only=True)


def test_no_torch_no_onnx_no_safetensors_is_needed_to_read_and_write_pth_and_safetensors(tmp_path):
    script = ("import sys; sys.modules |= dict.fromkeys(('torch', 'onnx', 'safetensors', 'google')); "
              f"sys.path[:0] = {sys.path!r}; import pathlib; import test_weights_export as t; import weight_files; "
              "t.network.RECIPES = weight_files.SHRUNK\n"
              "for ending in ('.pth', '.safetensors', '.onnx'):\n"
              f"    path = pathlib.Path({str(tmp_path)!r}) / ('x' + ending)\n"
              "    t.export(t.trained('owt'), path); t.weights.load(path)\n")
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ran.stderr.splitlines()[-1].endswith("ONNX needs the package onnx: pip install -e '.[weights]'"), ran.stderr
    assert (tmp_path / "x.safetensors").exists() and not (tmp_path / "x.onnx").exists()


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(WeightsError, match="must end in one of .onnx, .safetensors, .pth"):
        export(trained("owt"), tmp_path / "x.h5")
    (tmp_path / "y.pth").mkdir()
    with pytest.raises(WeightsError, match="y.pth: is a folder"):
        export(trained("owt"), tmp_path / "y.pth")
    (tmp_path / "y.pth").rmdir()
    own = trained("owt")
    own.table = None
    with pytest.raises(WeightsError, match="its layers are its own"):
        export(own, tmp_path / "x.pth")
    assert not list(tmp_path.iterdir())
