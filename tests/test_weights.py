"""Weights from elsewhere make the network that they were trained in: probabilities on photographs against PyTorch."""

import collections
import dataclasses

import numpy as np
import pytest
import weight_files as files
from PIL import Image

from tinynet import data, weights
from tinynet.data.pictures import FITS
from tinynet.layers import Dropout
from tinynet.weights import WeightsError, network, presets


@pytest.fixture(scope="module")
def owt():
    return files.arrays("owt", files.TRUE["owt"])


@pytest.fixture(scope="module")
def caffe():
    return files.arrays("caffe", files.TRUE["caffe"])


@pytest.fixture
def small(monkeypatch):
    """Files that hold nothing but arrays are read as networks with few kernels and units."""
    monkeypatch.setattr(network, "RECIPES", files.SHRUNK)


def write(path, content):
    path.write_bytes(content)
    return path


def save_torch(torch, path, made, **settings):
    torch.save({name: torch.from_numpy(array) for name, array in files.state(made).items()}, path, **settings)
    return path


def parity(loaded, theirs):
    """theirs: path -> probabilities. They say something, and ours are the same."""
    expected = np.concatenate([theirs(path) for path in files.PHOTOGRAPHS])
    ours = np.concatenate([loaded.probabilities(loaded.load_picture(path)[None]) for path in files.PHOTOGRAPHS])
    assert expected.max() > 1.5 / expected.shape[1] and np.abs(expected[0] - expected[1]).max() > 1e-3
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


# ---- true sizes ------------------------------------------------------------------------------------------------------
def test_torchvision_at_true_size_in_three_formats(oracle, owt, tmp_path):
    def theirs(path):
        return files.torchvision_forward(oracle, owt, files.torchvision_input(oracle, path))

    from safetensors.numpy import save_file
    save_file(files.state(owt), tmp_path / "wrong.onnx")
    for path in (save_torch(oracle, tmp_path / "a.bin", owt), tmp_path / "wrong.onnx",
                 save_torch(oracle, tmp_path / "b.bin", owt, _use_new_zipfile_serialization=False)):
        loaded = weights.load(path)
        parity(loaded, theirs)
        assert loaded.published.top1 == 56.522 and len(loaded.class_names) == 1000
        for ours, (w, b) in owt.items():
            np.testing.assert_array_equal(loaded.net[ours].params["w"], w)
            np.testing.assert_array_equal(loaded.net[ours].params["b"], b)
        path.unlink()


def test_caffe_at_true_size_in_three_formats(oracle, caffe, tmp_path):
    def theirs(path):
        return files.caffe_forward(oracle, caffe, files.caffe_input(oracle, path))

    pytest.importorskip("google.protobuf")
    for make in (files.caffemodel, files.guerzhoy_npy):
        loaded = weights.load(write(tmp_path / "weights", make(caffe)))
        parity(loaded, theirs)
        assert loaded.published.top1 == 57.1
        assert [layer.inverted for layer in loaded.net.layers if isinstance(layer, Dropout)] == [True, True]


def test_the_onnx_zoo_at_true_size(oracle, caffe, tmp_path):
    pytest.importorskip("onnx")
    loaded = weights.load(write(tmp_path / "zoo", files.zoo_onnx(caffe)))
    parity(loaded, lambda path: files.caffe_forward(oracle, caffe, files.zoo_input(oracle, path), ceil=False))
    assert loaded.published.top1 == 54.80 and any("54-26-12-6" in note for note in loaded.notes)


# ---- kinds of files, small -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", [{}, {"old": True}, {"mixed": True}, {"doubles": True},
                                 {"old": True, "pool_first": True}])
def test_caffe_old_new_and_mixed_and_which_of_the_two_nets(oracle, tmp_path, how):
    made = files.arrays("caffe", files.SMALL["caffe"])
    loaded = weights.load(write(tmp_path / "x", files.caffemodel(made, **how)))
    first = how.get("pool_first", False)
    parity(loaded, lambda path: files.caffe_forward(oracle, made, files.caffe_input(oracle, path), pool_first=first))
    assert ("CaffeNet" in loaded.origin) == first and loaded.published.top1 == (57.4 if first else 57.1)


@pytest.mark.parametrize("opset", [3, 6, 12])
def test_the_zoos_versions_and_what_runtimes_make_of_them(tmp_path, opset):
    onnx = pytest.importorskip("onnx")
    made = files.arrays("caffe", files.SMALL["caffe"])
    content = files.zoo_onnx(made, opset)
    onnx.checker.check_model(onnx.ModelProto.FromString(content))
    loaded = weights.load(write(tmp_path / "x", content))
    x = loaded.preprocessing.prepare(np.stack([loaded.load_picture(path) for path in files.PHOTOGRAPHS]))
    ours = np.concatenate([loaded.probabilities(loaded.load_picture(path)[None]) for path in files.PHOTOGRAPHS])
    if opset == 12:
        runtime = pytest.importorskip("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
        theirs = np.concatenate([runtime.run(None, {"data_0": picture[None]})[0] for picture in x])
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert [layer.output_shape((1, *shape)) and shape[1] for layer, shape in steps(loaded.net)
            if layer.name in ("relu1", "lrn2", "relu3", "flatten")] == [54, 26, 12, 6]


def steps(net):
    shape = net.in_shape
    for layer in net.layers:
        yield layer, shape
        shape = layer.output_shape((1, *shape))[1:]


def test_what_pytorch_itself_exports_to_onnx(oracle, tmp_path):
    pytest.importorskip("onnx")
    nn = oracle.nn
    made = files.arrays("owt", files.SMALL["owt"])
    convs = [nn.Conv2d(C, K, *how) for C, K, how in zip((3, 64, 8, 8, 8), files.SMALL["owt"],
                                                        ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1)))]
    linears = [nn.Linear(IN, OUT) for IN, OUT in ((144, 12), (12, 12), (12, 5))]
    relu, pool = nn.ReLU(), nn.MaxPool2d(3, 2)
    model = nn.Sequential(convs[0], relu, pool, convs[1], relu, pool, convs[2], relu, convs[3], relu, convs[4], relu,
                          pool, nn.AdaptiveAvgPool2d((6, 6)), nn.Flatten(), nn.Dropout(), linears[0], relu,
                          nn.Dropout(), linears[1], relu, linears[2]).eval()
    with oracle.no_grad():
        for module, (w, b) in zip(convs + linears, made.values()):
            module.weight.copy_(oracle.from_numpy(w))
            module.bias.copy_(oracle.from_numpy(b))
    oracle.onnx.export(model, (oracle.zeros(1, 3, 224, 224),), str(tmp_path / "x.onnx"), dynamo=False)
    loaded = weights.load(tmp_path / "x.onnx")
    parity(loaded, lambda path: files.torchvision_forward(oracle, made, files.torchvision_input(oracle, path)))


def test_checkpoints_of_training_scripts(oracle, small, tmp_path):
    """As PyTorch's ImageNet example writes them: features alone wrapped in DataParallel, an optimiser beside them."""
    made = files.arrays("owt", files.SMALL["owt"])
    wrapped = {name.replace("features.", "features.module."): oracle.nn.Parameter(oracle.from_numpy(array))
               for name, array in files.state(made).items()}
    sgd = oracle.optim.SGD(list(wrapped.values()), 0.1, momentum=0.9)
    for old in (False, True):
        oracle.save({"epoch": 90, "arch": "alexnet", "state_dict": wrapped, "best_acc1": oracle.tensor(56.5),
                     "optimizer": sgd.state_dict()}, tmp_path / "x", _use_new_zipfile_serialization=not old)
        loaded = weights.load(tmp_path / "x")
        np.testing.assert_array_equal(loaded.net["fc8"].params["w"], made["fc8"][0])
    class Old(oracle.nn.Parameter):  # what PyTorch 0.1 made of a Parameter, as torchvision's first file has it
        def __reduce_ex__(self, protocol):
            return oracle.nn.Parameter, (self.data,), (True, False, collections.OrderedDict())

    oracle.save({name: Old(oracle.from_numpy(array)) for name, array in files.state(made).items()}, tmp_path / "x",
                _use_new_zipfile_serialization=False)
    assert b"ctorch.nn.parameter\nParameter\n" in (tmp_path / "x").read_bytes()
    np.testing.assert_array_equal(weights.load(tmp_path / "x").net["conv1"].params["w"], made["conv1"][0])
    shared = oracle.randn(3, 5)  # a tensor that is a window into another one's numbers, not in their order
    changed = files.state(made) | {"classifier.6.bias": shared.t()[:, 1].numpy()}
    oracle.save({name: oracle.from_numpy(array) for name, array in changed.items()}
                | {"classifier.6.bias": shared.t()[:, 1]}, tmp_path / "x")
    np.testing.assert_array_equal(weights.load(tmp_path / "x").net["fc8"].params["b"], shared[1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_numbers_are_converted_and_it_is_said(oracle, small, tmp_path, dtype):
    from safetensors.torch import save_file
    tensors = {name: oracle.from_numpy(array).to(getattr(oracle, dtype))
               for name, array in files.state(files.arrays("owt", files.SMALL["owt"])).items()}
    save_file(tensors, tmp_path / "a")
    oracle.save(tensors, tmp_path / "b")
    for name in ("a", "b"):
        loaded = weights.load(tmp_path / name)
        assert f"its numbers are {dtype}, converted to float32" in loaded.notes
        for key, array in (("conv1", tensors["features.0.weight"]), ("fc8", tensors["classifier.6.weight"])):
            assert loaded.net[key].params["w"].dtype == np.float32
            np.testing.assert_array_equal(loaded.net[key].params["w"], array.float().numpy())


def test_caffes_names_without_a_word_of_where_they_are_from(small, tmp_path):
    from safetensors.numpy import save_file
    made = files.arrays("caffe", files.SMALL["caffe"])
    save_file(files.state(made, {name: name for name in made}), tmp_path / "x")
    loaded = weights.load(tmp_path / "x")
    assert any("paper" in note and "code-2012" in note for note in loaded.notes)
    np.testing.assert_array_equal(loaded.net["conv2"].params["w"], made["conv2"][0])


def test_npy_as_python_3_writes_it(small, tmp_path):
    made = files.arrays("caffe", files.SMALL["caffe"])
    for version in (2, 3):  # lists, and the dicts of newer converters
        pairs = {name: [w, b] if version == 2 else {"weights": w, "biases": b}
                 for name, (w, b) in files.tensorflow(made).items()}
        np.save(tmp_path / "x.npy", np.array(pairs, object), allow_pickle=True)
        loaded = weights.load(tmp_path / "x.npy")
        for name, (w, b) in made.items():
            np.testing.assert_array_equal(loaded.net[name].params["w"], w)
            np.testing.assert_array_equal(loaded.net[name].params["b"], b)
    assert weights.load(write(tmp_path / "y", files.guerzhoy_npy(made))).published.top1 == 57.1


def test_a_wrong_preset_would_be_seen(oracle, tmp_path):
    """Each thing that belongs to the weights changes the probabilities by more than parity allows."""
    made = files.arrays("caffe", files.SMALL["caffe"])
    loaded = weights.load(write(tmp_path / "x", files.caffemodel(made)))

    def change(**what):
        right = loaded.preprocessing
        loaded.preprocessing = dataclasses.replace(right, **what)
        yield
        loaded.preprocessing = right

    def set_layer(name, key, value):
        layer = loaded.net[name]
        right = getattr(layer, key)
        setattr(layer, key, value)
        yield
        setattr(layer, key, right)

    for mistake in (change(channels="RGB"), change(mean=np.zeros(3)), change(fit="paper"),
                    change(scale=np.full(3, 2.0)), set_layer("lrn1", "k", 2.0), set_layer("lrn1", "alpha", 1e-4),
                    set_layer("drop6", "inverted", False), set_layer("lrn2", "n", 3)):
        next(mistake)
        with pytest.raises(AssertionError, match="Not equal"):
            parity(loaded, lambda path: files.caffe_forward(oracle, made, files.caffe_input(oracle, path)))
        next(mistake, None)
    parity(loaded, lambda path: files.caffe_forward(oracle, made, files.caffe_input(oracle, path)))


# ---- pictures and classes --------------------------------------------------------------------------------------------
def test_pictures_become_squares_as_their_makers_made_them(oracle):
    for path in files.PHOTOGRAPHS:
        theirs = files.torchvision_input(oracle, path)
        preset = presets.torchvision()
        np.testing.assert_allclose(preset.prepare(preset.load_picture(path)[None]), theirs, atol=1e-6)
        for crop in (227, 224):
            preset, theirs = presets.caffe(crop), files.caffe_input(oracle, path, crop)
            np.testing.assert_allclose(preset.prepare(preset.load_picture(path)[None]), theirs, atol=1e-4)
        with Image.open(path) as image:
            pixels = oracle.from_numpy(np.array(image)).permute(2, 0, 1).float()[None]
        for size in (256, 33, 700):  # exact arithmetic, from which OpenCV's whole numbers stray by a grey level
            exact = oracle.nn.functional.interpolate(pixels, (size, size), mode="bilinear")[0].numpy()
            assert np.abs(data.load_picture(path, size, fit=FITS["warp"]) - exact).max() < 1.1
        preset = presets.onnx_zoo()
        np.testing.assert_allclose(preset.prepare(preset.load_picture(path)[None]), files.zoo_input(oracle, path),
                                   atol=1e-4)
        with pytest.raises(WeightsError, match="whole pictures, without a crop"):
            preset.prepare(preset.load_picture(path)[None], ten_views=True)
    assert set(FITS) == {"paper", "shorter side", "warp", "warp, antialiased"}


def test_warping_is_opencvs(tmp_path):
    """To the byte. OpenCV is not among what the tests install; where it is there, it is asked."""
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(0).integers(0, 256, (97, 61, 3)).astype(np.uint8)
    for size in (16, 61, 97, 256):
        np.testing.assert_array_equal(FITS["warp"](Image.fromarray(pixels), size).transpose(1, 2, 0),
                                      cv2.resize(pixels, (size, size)))


def test_ten_views_are_those_of_the_paper(small, tmp_path):
    from safetensors.numpy import save_file
    save_file(files.state(files.arrays("owt", files.SMALL["owt"])), tmp_path / "x")
    loaded = weights.load(tmp_path / "x")
    picture = loaded.load_picture(files.PHOTOGRAPHS[0])
    views = loaded.preprocessing.prepare(picture[None], ten_views=True)[0]
    mean, std = np.reshape(presets.TORCH_MEAN, (3, 1, 1)), np.reshape(presets.TORCH_STD, (3, 1, 1))
    whole = (picture / 255 - mean) / std
    np.testing.assert_allclose(views[0], whole[:, :224, :224], atol=1e-5)
    np.testing.assert_allclose(views[9], whole[:, 32:, 32:][..., ::-1], atol=1e-5)
    one = np.mean([np.exp(logits) / np.exp(logits).sum() for logits in loaded.net.forward(views)], axis=0)
    np.testing.assert_allclose(loaded.probabilities(picture[None], ten_views=True)[0], one, atol=1e-6)


def test_the_thousand_classes():
    words, names = presets.imagenet_words(), presets.class_names(1000)
    assert list(words) == sorted(words) and len(words) == len(set(names)) == 1000
    assert (names[0], names[207], names[999], names[517]) == ("tench", "golden retriever", "toilet tissue",
                                                             "crane (n03126707)")
    assert presets.class_names(3) == ["class 0", "class 1", "class 2"]
    assert presets.find_labels(["n01440764", "maillot, tank suit", "golden retriever", "dog"], names) == [
        0, 639, 207, None]
    assert presets.find_labels([words["n03126707"] + " (n03126707)"], names) == [517]
    trained = [words["n02099601"], "n01440764", words["n03126707"] + " (n03126707)"]  # a run's, on part of ImageNet
    assert presets.find_labels(["n01440764", "n02099601", "n03126707"], trained) == [1, 0, 2]
