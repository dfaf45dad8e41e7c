"""Layers, Sequential and AlexNet: tables, totals, sizes, modes, saving."""

import copy
import importlib
import json
import pickle

import numpy as np
import pytest

import tinynet
from tinynet import checkpoint, layers
from tinynet.alexnet import RECIPES


def small_layers():
    return [layers.Conv2d("conv1", 4, 3, stride=2, std=0.5, bias=0.1), layers.ReLU("relu1"),
            layers.LRN("lrn1", n=3, k=1, alpha=0.5), layers.MaxPool("pool1", 3, 2), layers.Flatten("flatten"),
            layers.Linear("fc2", 6, std=0.5), layers.Tanh("tanh2"), layers.Dropout("drop2"),
            layers.Linear("fc3", 3, std=0.5)]


def small_net(rng=None, dtype="float64"):
    return tinynet.Sequential(small_layers(), (3, 13, 11), rng or np.random.default_rng(0), dtype)


def test_totals_of_the_papers_net():
    summary = tinynet.AlexNet("paper", rng=np.random.default_rng(0)).summary()
    assert (summary.params, summary.macs) == (60_965_224, 724_406_816)
    rows = {row.name: row for row in summary.rows}
    shapes = {"conv1": (96, 55, 55), "pool1": (96, 27, 27), "conv2": (256, 27, 27), "pool2": (256, 13, 13),
              "conv3": (384, 13, 13), "conv4": (384, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6),
              "fc6": (4096,)}
    assert {name: rows[name].output_shape for name in shapes} == shapes
    params = {"conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "conv4": 663_936, "conv5": 442_624,
              "fc6": 37_752_832, "fc7": 16_781_312, "fc8": 4_097_000}
    assert {name: rows[name].params for name in params} == params
    macs = {"conv1": 105_415_200, "conv2": 223_948_800, "conv3": 149_520_384, "conv4": 112_140_288,
            "conv5": 74_760_192, "fc6": 37_748_736, "fc7": 16_777_216, "fc8": 4_096_000}
    assert {name: rows[name].macs for name in macs} == macs
    assert rows["conv1"].activation_bytes == 96 * 55 * 55 * 4
    assert "60,965,224" in str(summary) and "724,406,816" in str(summary)


@pytest.mark.parametrize("recipe, params, macs", [
    ("code-2012", 60_965_224, 724_406_816), ("caffe", 60_965_224, 724_406_816), ("owt", 61_100_840, 714_188_480)])
def test_totals_of_the_other_recipes(recipe, params, macs):
    summary = tinynet.AlexNet(recipe, rng=np.random.default_rng(0)).summary()
    assert (summary.params, summary.macs) == (params, macs)


def test_classes_change_only_the_last_layer():
    summary = tinynet.AlexNet("paper", num_classes=10, rng=np.random.default_rng(0)).summary()
    assert summary.params == 56_868_224 + 4097 * 10


@pytest.mark.parametrize("recipe, alpha, k, groups, conv_std, fc_std, bias, inverted, mult", [
    ("paper", 1e-4, 2, 1, 0.01, 0.01, 1, False, (1, 1)),
    ("code-2012", 2e-5, 2, 2, 0.03, 0.01, 1, False, (2, 0)),
    ("caffe", 2e-5, 1, 1, 0.01, 0.005, 0.1, True, (2, 0))])
def test_what_recipes_differ_in(recipe, alpha, k, groups, conv_std, fc_std, bias, inverted, mult):
    net = tinynet.AlexNet(recipe, 10, 99, rng=np.random.default_rng(0))
    for lrn in (net["lrn1"], net["lrn2"]):
        assert (lrn.n, lrn.beta, lrn.k, lrn.groups) == (5, 0.75, k, groups)
        assert lrn.alpha == pytest.approx(alpha)
    for name, std in {"conv1": 0.01, "conv2": 0.01, "conv3": conv_std, "conv4": conv_std, "conv5": conv_std,
                      "fc6": fc_std, "fc7": fc_std, "fc8": 0.01}.items():
        assert net[name].params["w"].std() == pytest.approx(std, rel=0.05), name
        expected = bias if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0
        assert np.all(net[name].params["b"] == np.float32(expected)), name
        assert (net[name].lr_mult["b"], net[name].decay_mult["b"]) == mult, name
    for drop in (net["drop6"], net["drop7"]):
        assert (drop.keep, drop.inverted) == (0.5, inverted)


def test_order_of_layers():
    def names(recipe):
        return [layer.name for layer in RECIPES[recipe].layers(10)]
    assert names("paper")[:8] == ["conv1", "relu1", "lrn1", "pool1", "conv2", "relu2", "lrn2", "pool2"]
    assert names("caffe") == names("paper")
    assert names("code-2012")[:9] == ["conv1", "lrn1", "pool1", "relu1", "conv2", "relu2", "lrn2", "within2", "pool2"]
    assert not any(name.startswith("lrn") for name in names("owt"))


def test_a_224_picture_gives_55_only_with_ceil():
    code = tinynet.AlexNet("code-2012", 10, rng=np.random.default_rng(0))
    assert code.in_shape == (3, 224, 224) and code.summary().rows[0].output_shape == (96, 55, 55)
    text = tinynet.AlexNet("paper", 10, 224, rng=np.random.default_rng(0))
    assert text.summary().rows[0].output_shape == (96, 54, 54)


def test_ceil_conv_equals_three_zero_rows_and_columns():
    """224 pixels under ceil are 227 with three zero rows at the bottom and three zero columns at the right."""
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224))
    w, b = np.random.default_rng(1).standard_normal((2, 3, 11, 11)), np.zeros(2)
    grown = np.pad(x, ((0, 0), (0, 0), (0, 3), (0, 3)))
    np.testing.assert_allclose(tinynet.ops.conv2d_forward(x, w, b, 4, 0, 1, ceil=True),
                               tinynet.ops.conv2d_forward(grown, w, b, 4, 0, 1), rtol=1e-12)


@pytest.mark.parametrize("recipe, smallest", [("paper", 67), ("caffe", 39), ("owt", 63), ("code-2012", 36)])
def test_smallest_picture(recipe, smallest):
    net = tinynet.AlexNet(recipe, 10, smallest, rng=np.random.default_rng(0))
    net.eval()
    assert net.forward(np.zeros((1, 3, smallest, smallest), np.float32)).shape == (1, 10)
    with pytest.raises(tinynet.ShapeError) as error:
        tinynet.AlexNet(recipe, 10, smallest - 1, rng=np.random.default_rng(0))
    assert f"the smallest that fit are {smallest}" in str(error.value)
    assert str(error.value).split(":")[0] in ("conv1", "pool1", "pool2", "pool5")


def test_bad_arguments_of_alexnet():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no recipe 'vgg'; there are paper, code-2012, caffe, owt"):
        tinynet.AlexNet("vgg", rng=rng)
    with pytest.raises(ValueError, match="num_classes=0 must be at least 1"):
        tinynet.AlexNet("paper", num_classes=0, rng=rng)


def test_one_seed_is_one_network_in_either_dtype():
    single = tinynet.AlexNet("paper", 10, 67, rng=np.random.default_rng(5))
    double = tinynet.AlexNet("paper", 10, 67, rng=np.random.default_rng(5), dtype="float64")
    for name, array in single.named_params().items():
        np.testing.assert_array_equal(array, double.named_params()[name].astype(np.float32))
    other = tinynet.AlexNet("paper", 10, 67, rng=np.random.default_rng(6))
    assert not np.array_equal(single["conv1"].params["w"], other["conv1"].params["w"])


def test_rungs_agree():
    x = np.random.default_rng(1).standard_normal((2, 3, 13, 11))
    answers = []
    for rung in ("reference", "ops"):
        net, loss = small_net(), tinynet.SoftmaxCrossEntropy()
        net.use(rung)
        value = loss.forward(net.forward(x), np.array([0, 2]))
        net.backward(loss.backward())
        answers.append((value, net.named_grads()))
    assert answers[0][0] == pytest.approx(answers[1][0], rel=1e-12)
    for name, grad in answers[0][1].items():
        np.testing.assert_allclose(grad, answers[1][1][name], rtol=1e-9, atol=1e-12, err_msg=name)
    with pytest.raises(ValueError, match="no rung 'fast'"):
        net.use("fast")


def test_evaluation_keeps_nothing_and_training_frees():
    net, x = small_net(), np.zeros((1, 3, 13, 11))
    net.eval()
    net.forward(x)
    assert all(layer._saved is None for layer in net.layers)
    with pytest.raises(RuntimeError, match="fc3: backward needs a forward in training mode"):
        net.backward(np.zeros((1, 3)))
    net.train()
    net.forward(x)
    assert net["conv1"]._saved is not None
    net.backward(np.zeros((1, 3)))
    assert all(layer._saved is None for layer in net.layers)
    with pytest.raises(RuntimeError, match="fc3: backward needs a forward"):
        net.backward(np.zeros((1, 3)))


def test_backward_overwrites_gradients():
    net, loss = small_net(), tinynet.SoftmaxCrossEntropy()
    net.layers = [layer for layer in net.layers if layer.name != "drop2"]
    x = np.random.default_rng(1).standard_normal((2, 3, 13, 11))
    grads = []
    for _ in range(2):
        loss.forward(net.forward(x), np.array([0, 2]))
        net.backward(loss.backward())
        grads.append(net.named_grads())
    for name, grad in grads[0].items():
        np.testing.assert_array_equal(grad, grads[1][name])


def test_dropout_in_training_and_at_test():
    for inverted, trained, tested in ((False, {0.0, 1.0}, 0.5), (True, {0.0, 2.0}, 1.0)):
        drop = layers.Dropout("drop", keep=0.5, inverted=inverted)
        drop.build((1, 1000), np.random.default_rng(0), "float64")
        x = np.ones((4, 1000))
        y = drop.forward(x)
        assert set(np.unique(y)) == trained
        assert 0.45 < (y > 0).mean() < 0.55
        assert not np.array_equal(y[0], y[1])  # each image has a mask of its own
        np.testing.assert_array_equal(drop.backward(x), y)
        drop.training = False
        assert np.all(drop.forward(x) == tested)
    keep = layers.Dropout("drop", keep=0.8)
    keep.build((1, 1000), np.random.default_rng(0), "float64")
    assert 0.75 < (keep.forward(np.ones((4, 1000))) > 0).mean() < 0.85


def test_errors_name_the_layer():
    net = small_net()
    with pytest.raises(tinynet.ShapeError, match=r"x must have shape \(2, 3, 13, 11\), x has \(2, 3, 11, 13\)"):
        net.forward(np.zeros((2, 3, 11, 13)))
    with pytest.raises(TypeError, match=r"computes in float64, x is float32: use x.astype\('float64'\)"):
        net.forward(np.zeros((2, 3, 13, 11), np.float32))
    conv = layers.Conv2d("conv2", 256, 5, pad=2, groups=2)
    conv.build((128, 96, 27, 27), np.random.default_rng(0), "float32")
    with pytest.raises(tinynet.ShapeError) as error:
        conv.forward(np.zeros((128, 64, 27, 27), np.float32))
    assert str(error.value) == ("conv2: w (256, 48, 5, 5) with groups=2 expects 96 input channels, "
                                "x (128, 64, 27, 27) has 64")
    with pytest.raises(ValueError, match="relu1"):
        tinynet.Sequential([layers.ReLU("relu1"), layers.ReLU("relu1")], (3, 5, 5), np.random.default_rng(0))
    with pytest.raises(KeyError, match="no layer 'conv9'; there are conv1, relu1"):
        net["conv9"]


def test_labels_outside_the_classes_are_refused():
    loss = tinynet.SoftmaxCrossEntropy()
    logits = np.zeros((2, 10))
    with pytest.raises(ValueError, match="label 10 is outside the 10 classes 0 to 9"):
        loss.forward(logits, np.array([0, 10]))
    with pytest.raises(ValueError, match="label -1 is outside"):
        loss.forward(logits, [-1, 3])
    with pytest.raises(TypeError, match="labels must be integers, they are float64"):
        loss.forward(logits, np.array([0.0, 1.0]))
    with pytest.raises(tinynet.ShapeError, match=r"labels must have shape \(2,\), labels has \(3,\)"):
        loss.forward(logits, np.array([0, 1, 2]))
    with pytest.raises(RuntimeError, match="needs a forward"):
        loss.backward()


def test_first_loss_is_about_chance():
    net, loss = tinynet.AlexNet("paper", 1000, 67, rng=np.random.default_rng(0)), tinynet.SoftmaxCrossEntropy()
    x = 60 * np.random.default_rng(1).standard_normal((4, 3, 67, 67), dtype=np.float32)
    assert 6.8 < loss.forward(net.forward(x), np.array([1, 2, 3, 4])) < 7.3  # ln(1000) is 6.908


def test_save_and_load(tmp_path):
    path, net, other = tmp_path / "weights.npz", small_net(), small_net(np.random.default_rng(9))
    net.save(path)
    other.load(path)
    for name, array in net.named_params().items():
        np.testing.assert_array_equal(array, other.named_params()[name])
    assert [file.name for file in tmp_path.iterdir()] == ["weights.npz"]


class CountsImages(layers.Layer):
    """A layer with a buffer: the number of images that it has seen in training."""

    def build(self, in_shape, rng, dtype):
        self.buffers = {"images": np.zeros(1, dtype)}

    def forward(self, x):
        if self.training:
            self.buffers["images"] += len(x)
        return x


def net_with_a_buffer(seed=0):
    return tinynet.Sequential(
        [CountsImages("count"), layers.Flatten("flatten"), layers.Linear("fc", 3, std=0.5), layers.Dropout("drop")],
        (2, 2, 2), np.random.default_rng(seed))


def test_buffers_are_saved_and_loaded_with_the_parameters(tmp_path):
    path, net, other = tmp_path / "weights.npz", net_with_a_buffer(), net_with_a_buffer(1)
    net.forward(np.zeros((5, 2, 2, 2), np.float32))
    assert list(net.named_buffers()) == ["count.images"] and "count.images" not in net.named_params()
    net.save(path)
    other.load(path)
    assert other.named_buffers()["count.images"] == 5
    checkpoint.save_arrays(path, net.named_params())
    with pytest.raises(tinynet.CheckpointError, match=r"only the network has count\.images"):
        other.load(path)


def test_a_saved_state_brings_everything_back():
    net, x = net_with_a_buffer(), np.ones((5, 2, 2, 2), np.float32)
    arrays = net.named_params() | net.named_buffers()
    state = net.state()
    first = net.forward(x)
    net["fc"].params["w"] += 1
    net.restore(state)
    assert net["count"].buffers["images"] == 0
    np.testing.assert_array_equal(net.forward(x), first)  # the same weights, and the same dropout mask
    assert all(array is arrays[name] for name, array in (net.named_params() | net.named_buffers()).items())
    assert list(state) == ["params", "buffers", "generator"]
    json.dumps(state["generator"])
    state["params"]["fc.w"] = np.zeros((3, 7), np.float32)
    with pytest.raises(tinynet.CheckpointError, match=r"its fc\.w is float32 \(3, 7\)"):
        net.restore(state)
    np.testing.assert_array_equal(net.named_params()["fc.b"], np.zeros(3))


def test_load_refuses_what_does_not_fit(tmp_path):
    net = small_net()
    with pytest.raises(tinynet.CheckpointError, match="there is no such file"):
        net.load(tmp_path / "missing.npz")
    path = tmp_path / "weights.npz"
    net.save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"not an archive", whole[:-100], whole[:200] + b"\0\0\0\0" + whole[204:]):
        path.write_bytes(damaged)
        with pytest.raises(tinynet.CheckpointError, match=r"weights\.npz: not a file of arrays, or damaged"):
            net.load(path)
    np.savez(path, **{"conv1.w": np.array([{}], dtype=object)})
    with pytest.raises(tinynet.CheckpointError, match="not a file of arrays"):
        net.load(path)  # a pickle inside is refused unread
    before = net["fc3"].params["w"].copy()
    arrays = {name: np.zeros_like(array) for name, array in net.named_params().items()}
    for change, words in (({"fc3.w": np.zeros((4, 6))}, r"fc3\.w is float64 \(4, 6\), the network's float64 \(3, 6\)"),
                          ({"extra.w": np.zeros(1)}, r"weights\.npz has extra\.w")):
        checkpoint.save_arrays(path, {**arrays, **change})
        with pytest.raises(tinynet.CheckpointError, match=words):
            net.load(path)
    del arrays["fc3.b"]
    checkpoint.save_arrays(path, arrays)
    with pytest.raises(tinynet.CheckpointError, match=r"only the network has fc3\.b"):
        net.load(path)
    np.testing.assert_array_equal(net["fc3"].params["w"], before)


def test_a_fault_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.npz"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="disk full"), checkpoint.atomic_write(path) as file:
        file.write(b"half of the new")
        raise OSError("disk full")
    assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["weights.npz"]


def test_networks_layers_and_losses_are_called_like_functions():
    net, loss, x, labels = small_net(), tinynet.SoftmaxCrossEntropy(), np.ones((2, 3, 13, 11)), np.array([0, 2])
    net.eval()
    y = net(x)
    np.testing.assert_array_equal(y, net.forward(x))
    np.testing.assert_array_equal(net["conv1"](x), net["conv1"].forward(x))
    assert loss(y, labels) == loss.forward(y, labels)


def test_a_network_is_a_row_of_layers():
    net = small_net()
    assert len(net) == 9 and list(net) == net.layers
    assert net[0] is net["conv1"] and net[-1] is net["fc3"] and net[2:4] == [net["lrn1"], net["pool1"]]
    with pytest.raises(IndexError):
        net[9]


def test_repr_shows_sizes():
    lines = repr(small_net()).splitlines()
    assert lines[:3] == ["Sequential('network', in_shape=(3, 13, 11))",
                         "    Conv2d('conv1', K=4, size=3, stride=2, pad=0, groups=1)", "    ReLU('relu1')"]
    assert len(lines) == 10 and lines[4] == "    MaxPool('pool1', size=3, stride=2, pad=0)"
    assert repr(layers.Conv2d("c", 4, (3, 5), stride=(2, 1))) == (
        "Conv2d('c', K=4, size=(3, 5), stride=(2, 1), pad=0, groups=1)")
    assert lines[8] == "    Dropout('drop2', keep=0.5, inverted=False)"


def test_train_and_eval_return_the_network():
    net = small_net()
    assert net.eval() is net and not any(layer.training for layer in (net, *net))
    assert net.train() is net and all(layer.training for layer in (net, *net))


def test_evaluating_gives_every_layer_its_mode_back():
    net = small_net()
    net["conv1"].training = False
    with pytest.raises(ZeroDivisionError), net.evaluating() as same:
        assert same is net and not any(layer.training for layer in net)
        raise ZeroDivisionError
    assert [layer.training for layer in net] == [False] + [True] * 8


def test_predict_needs_no_labels_and_changes_nothing():
    net, x = small_net(), np.random.default_rng(1).standard_normal((5, 3, 13, 11))
    state = net.rng.bit_generator.state
    probs = net.predict(x)
    assert net.training and net.rng.bit_generator.state == state and net["conv1"]._saved is None
    exps = np.exp(net.eval()(x))
    np.testing.assert_allclose(probs, exps / exps.sum(axis=1, keepdims=True), rtol=1e-12)
    with pytest.raises(tinynet.ShapeError, match="needs 2 axes"):
        tinynet.Sequential([layers.ReLU("relu")], (3, 5, 5), net.rng).predict(np.zeros((1, 3, 5, 5), np.float32))


def test_predict_brings_probabilities_from_the_gpu(stand_in):
    net, x = small_net(), np.random.default_rng(1).standard_normal((2, 3, 13, 11))
    expected = net.predict(x)
    probs = net.to("gpu").predict(x)
    assert isinstance(probs, np.ndarray)
    np.testing.assert_allclose(probs, expected, rtol=1e-9)


def test_the_loss_of_a_network_computes_with_its_rung(monkeypatch):
    called = []

    def listen(rung, module, name):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: called.append(rung) or function(*args))

    for rung in ("reference", "ops", "cpu"):
        module = importlib.import_module(f"tinynet.{rung}")
        listen(rung, module, "softmax_cross_entropy_forward")
        listen(rung, module, "softmax_cross_entropy_backward")
    net = small_net()
    logits, labels = np.ones((2, 3)), np.array([0, 2])
    for loss, rung, expected in ((tinynet.SoftmaxCrossEntropy(net), "reference", "reference"),
                                 (tinynet.SoftmaxCrossEntropy(net), "cpu", "cpu"),
                                 (tinynet.SoftmaxCrossEntropy(), "reference", "ops")):
        called.clear()
        net.use(rung)
        loss(logits, labels)
        loss.backward()
        assert called == [expected] * 2


def copies(net):
    return [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]


@pytest.mark.parametrize("rung", ["reference", "cpu"])
def test_a_copy_trains_as_the_network_and_apart_from_it(rung):
    net, loss, x = small_net(), tinynet.SoftmaxCrossEntropy(), np.random.default_rng(1).standard_normal((2, 3, 13, 11))
    net.use(rung)
    net(x)  # the generator is no longer where it began
    for twin in copies(net):
        assert twin.ops is net.ops and twin["conv1"].ops is net.ops
        assert twin["drop2"].rng is twin.rng is not net.rng
        assert not np.shares_memory(twin["fc3"].params["w"], net["fc3"].params["w"])
        np.testing.assert_array_equal(copy.deepcopy(net)(x), twin(x))  # the same dropout mask
        loss(twin(x), np.array([0, 2]))
        twin.backward(loss.backward())
        tinynet.SGD(twin, lr=1).step()
        assert not np.array_equal(twin["fc3"].params["w"], net["fc3"].params["w"])


def nested_net(seed=0):
    """The layers of small_net: three of them in a network "hidden", which is in a network "body"."""
    rows = small_layers()
    body = tinynet.Sequential([*rows[:5], tinynet.Sequential(rows[5:8], name="hidden")], name="body")
    return tinynet.Sequential([body, rows[8]], (3, 13, 11), np.random.default_rng(seed), "float64")


def test_a_nested_network_computes_what_a_flat_one_does():
    x, labels = np.random.default_rng(1).standard_normal((2, 3, 13, 11)), np.array([0, 2])
    ends = []
    for net in (small_net(), nested_net()):
        loss, sgd = tinynet.SoftmaxCrossEntropy(net), tinynet.SGD(net)
        for _ in range(3):
            loss(net(x), labels)
            dx = net.backward(loss.backward())
            sgd.step()
        ends.append([dx, *net.named_params().values(), *net.named_grads().values(), net.predict(x)])
    for flat, nested in zip(*ends, strict=True):
        np.testing.assert_array_equal(flat, nested)


def test_names_in_a_nested_network_are_joined():
    net = nested_net()
    names = [f"{layer}.{key}" for layer in ("body.conv1", "body.hidden.fc2", "fc3") for key in "wb"]
    assert list(net.named_params()) == names == list(tinynet.SGD(net).velocity)
    assert list(tinynet.SGD(net).lr_mult) == names[1::2]
    assert net["body.hidden.fc2"] is net["body"]["hidden"]["fc2"] is net["body"][5][0]
    assert list(net.named_layers())[4:7] == ["body.flatten", "body.hidden.fc2", "body.hidden.tanh2"]
    with pytest.raises(KeyError, match=r"no layer 'fc2'; there are body, body\.conv1"):
        net["fc2"]
    flat = small_net().summary()
    rows = net.summary().rows
    assert [row.name.rpartition(".")[2] for row in rows] == [row.name for row in flat.rows]
    assert (net.summary().params, net.summary().macs) == (flat.params, flat.macs)
    assert net.summary().training_bytes(7) == flat.training_bytes(7)
    assert repr(net).splitlines()[1:3] == ["    Sequential('body', in_shape=(3, 13, 11))",
                                           "        Conv2d('conv1', K=4, size=3, stride=2, pad=0, groups=1)"]
    assert net["body"].macs((1, 3, 13, 11)) == flat.macs - 6 * 3


def test_modes_rungs_and_files_reach_every_layer_of_a_nested_network(tmp_path, stand_in):
    net, other, x = nested_net(), nested_net(seed=1), np.ones((2, 3, 13, 11))
    fc2 = net["body.hidden.fc2"]
    assert not net.eval()["body.hidden"].training and not fc2.training
    with pytest.raises(RuntimeError, match="fc3: backward needs a forward"):
        net.backward(np.ones((2, 3)))
    assert net.use("reference")["body"].ops is fc2.ops is importlib.import_module("tinynet.reference")
    net.save(tmp_path / "weights.npz")
    other.load(tmp_path / "weights.npz")
    np.testing.assert_array_equal(other.predict(x), net.use("cpu").predict(x))
    twin = copy.deepcopy(net)
    assert twin["body.hidden.drop2"].rng is twin["body"].rng is twin.rng
    expected = net.predict(x)
    net.to("gpu")
    assert net["body.hidden"].device == "gpu" and isinstance(fc2.params["w"], stand_in.ndarray)
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-9)
    twin.restore(net.state())


def test_a_built_network_is_not_built_again():
    """Its trained weights would be lost."""
    net = small_net()
    with pytest.raises(ValueError, match="network: built before"):
        tinynet.Sequential([net], (3, 13, 11), np.random.default_rng(0))


def test_gpu_is_refused_by_name_where_there_is_none():
    if tinynet.backend.has_gpu():
        pytest.skip("there is a GPU here")
    with pytest.raises(tinynet.DeviceError, match="no usable GPU: "):
        small_net().to("gpu")
    with pytest.raises(tinynet.DeviceError, match="unknown device 'tpu'"):
        small_net().to("tpu")
