"""SGD as the paper has it, its multipliers, the hint, and learning itself."""

import json
import math

import numpy as np
import pytest
from test_network import small_net
from training import train_step

import tinynet
from tinynet.evaluation import evaluate
from tinynet.runs import NotFinite, StallHint, require_finite


class OneWeight(tinynet.Sequential):
    """A network of a single number, whose gradient the test sets."""

    def __init__(self, value):
        self.layer = tinynet.layers.Layer("one")
        super().__init__([self.layer], (1,), np.random.default_rng(0), "float64")
        self.layer.params = {"w": np.array([value])}


def test_two_steps_by_hand():
    net = OneWeight(2.0)
    sgd = tinynet.SGD(net, lr=0.1, momentum=0.9, weight_decay=0.5)
    net.layer.grads["w"] = np.array([3.0])
    sgd.step()
    # v = 0.9 * 0 - 0.5 * 0.1 * 2 - 0.1 * 3 = -0.4;  w = 2 - 0.4
    assert sgd.velocity["one.w"][0] == pytest.approx(-0.4) and net.layer.params["w"][0] == pytest.approx(1.6)
    net.layer.grads["w"] = np.array([-1.0])
    sgd.step()
    # v = 0.9 * -0.4 - 0.5 * 0.1 * 1.6 + 0.1 * 1 = -0.34;  w = 1.6 - 0.34: the decay looked at the old w
    assert sgd.velocity["one.w"][0] == pytest.approx(-0.34) and net.layer.params["w"][0] == pytest.approx(1.26)


def test_a_drop_of_the_rate_does_not_touch_the_velocity():
    """Where the paper's form and PyTorch's part: the step after a drop still has nine tenths of the old one in it."""
    net = OneWeight(0.0)
    sgd = tinynet.SGD(net, lr=1.0, momentum=0.9, weight_decay=0.0)
    net.layer.grads["w"] = np.array([1.0])
    sgd.step()
    sgd.lr, net.layer.grads["w"] = 0.1, np.array([0.0])
    sgd.step()
    assert net.layer.params["w"][0] == pytest.approx(-1 - 0.9)  # PyTorch: -1 - 0.09


def test_multipliers_of_rate_and_decay():
    net = OneWeight(2.0)
    sgd = tinynet.SGD(net, lr=0.1, momentum=0.0, weight_decay=0.5)
    net.layer.grads["w"] = np.array([3.0])
    sgd.lr_mult["one.w"], sgd.decay_mult["one.w"] = 2, 0
    sgd.step()
    assert net.layer.params["w"][0] == pytest.approx(2 - 0.2 * 3)
    sgd.lr_mult["one.w"] = 0
    before = net.layer.params["w"].copy(), sgd.velocity["one.w"].copy()
    sgd.step()
    assert (net.layer.params["w"], sgd.velocity["one.w"]) == before


def test_freezing_by_name():
    net = tinynet.AlexNet("code-2012", 3, 52, rng=np.random.default_rng(0))
    sgd, before = tinynet.SGD(net, lr=1), {name: w.copy() for name, w in net.named_params().items()}
    original = dict(sgd.lr_mult)
    sgd.freeze("conv1", "fc8.w")
    for layer in net.layers:
        layer.grads = {key: np.ones_like(w) for key, w in layer.params.items()}
    sgd.step()
    unmoved = {name for name, w in net.named_params().items() if np.array_equal(w, before[name])}
    assert unmoved == {"conv1.w", "conv1.b", "fc8.w"}
    restored = tinynet.SGD(net)
    restored.restore(sgd.state())
    assert restored.lr_mult["conv1.b"] == 0
    sgd.unfreeze("conv1", "fc8.w")
    assert {name: multiplier for name, multiplier in sgd.lr_mult.items() if multiplier != 1} == original
    for name in ("conv", "fc8.x", ""):
        with pytest.raises(KeyError, match=f"no parameter '{name}'; there are conv1.w, "):
            sgd.freeze(name)


def test_biases_of_code_2012_learn_twice_as_fast_and_do_not_decay():
    net = tinynet.AlexNet("code-2012", 3, 52, rng=np.random.default_rng(0))
    sgd = tinynet.SGD(net)
    names = "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"
    assert sgd.lr_mult == {f"{name}.b": 2 for name in names}
    assert sgd.decay_mult == {f"{name}.{key}": {"w": 1, "b": 0}[key] for name in names for key in "wb"}


def test_a_saved_state_of_sgd_brings_everything_back():
    net = small_net()
    sgd = tinynet.SGD(net, lr=0.1)
    for layer in net.layers:
        layer.grads = {key: np.ones_like(w) for key, w in layer.params.items()}
    sgd.step()
    velocity, state = sgd.velocity["fc3.w"], sgd.state()
    before = velocity.copy()
    json.dumps({"lr": state["lr"], "lr_mult": state["lr_mult"]})
    sgd.lr, sgd.lr_mult["fc3.b"] = 0.01, 5
    sgd.step()
    assert not np.array_equal(velocity, before)
    sgd.restore(state)
    assert sgd.velocity["fc3.w"] is velocity and (sgd.lr, sgd.lr_mult["fc3.b"]) == (0.1, 1)
    np.testing.assert_array_equal(velocity, before)
    sgd.lr_mult["fc3.b"] = 7
    assert state["lr_mult"]["fc3.b"] == 1
    del state["velocity"]["fc3.w"]
    with pytest.raises(tinynet.CheckpointError, match=r"only the network has fc3\.w"):
        sgd.restore(state)


def test_sgd_says_what_is_wrong():
    net = small_net()
    with pytest.raises(RuntimeError, match=r"conv1\.w has no gradient: call net.backward\(\) before step\(\)"):
        tinynet.SGD(net).step()
    with pytest.raises(ValueError, match="lr=-1"):
        tinynet.SGD(net, lr=-1)
    single = OneWeight(1.0)
    single.layer.grads["w"] = np.array([1.0], np.float32)
    with pytest.raises(TypeError, match=r"the gradient of one\.w is float32, the parameter float64"):
        tinynet.SGD(single).step()


def test_stall_hint_comes_once_and_only_at_chance():
    hint = StallHint(1000, patience=50)
    said = [hint.update(6.91) for _ in range(120)]
    assert [i for i, text in enumerate(said) if text] == [49]
    assert "6.91 = ln(classes)" in said[49] and "code-2012" in said[49]
    learning = StallHint(1000, patience=50)
    assert not any(learning.update(6.91 - 0.01 * i) for i in range(200))
    noisy = StallHint(1000, patience=50)  # one odd batch does not make it forget
    assert any(noisy.update(5.0 if i == 30 else 6.9) for i in range(70))
    assert not any(StallHint(2, patience=5).update(math.log(2)) for _ in range(20))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("-inf")])
def test_a_loss_that_is_not_finite_stops_the_run(value):
    with pytest.raises(NotFinite, match="step 7: the loss is"):
        require_finite(value, 7)
    assert require_finite(np.float32(1.5), 7) == 1.5


@pytest.mark.parametrize("recipe, lr", [("paper", 0.002), ("code-2012", 0.002), ("caffe", 0.01), ("owt", 0.002)])
def test_overfits_eight_pictures(recipe, lr):
    """All eight layers, real sizes: eight pictures are learnt by heart, with dropout out of the way."""
    net = tinynet.AlexNet(recipe, 4, 67, rng=np.random.default_rng(0))
    net.layers = [layer for layer in net.layers if not layer.name.startswith("drop")]
    for name in ("conv3", "conv4", "conv5"):
        if recipe == "paper":
            net[name].params["w"] *= 3  # the printed 0.01 stalls; that is what StallHint is for
    x = 60 * np.random.default_rng(1).standard_normal((8, 3, 67, 67), dtype=np.float32)
    labels = np.arange(8) % 4
    sgd, loss = tinynet.SGD(net, lr=lr), tinynet.SoftmaxCrossEntropy()
    for _ in range(100):
        value = float(train_step(net, loss, sgd, x, labels))
        if value < 0.05:
            break
    result = evaluate(net, loss, [(x, labels)])
    assert result.top1_error == 0 and result.loss < 0.1


def test_same_seed_same_run():
    def run():
        net, loss = small_net(np.random.default_rng(3), "float32"), tinynet.SoftmaxCrossEntropy()
        sgd, rng = tinynet.SGD(net), np.random.default_rng(4)
        for _ in range(5):
            train_step(net, loss, sgd, rng.standard_normal((4, 3, 13, 11), dtype=np.float32), rng.integers(3, size=4))
        return net.named_params()
    first, second = run(), run()
    for name, array in first.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, second[name])


def test_evaluate_counts_by_picture_and_gives_the_mode_back():
    net, loss = small_net(), tinynet.SoftmaxCrossEntropy()
    net["conv1"].training = False
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((5, 3, 13, 11)), np.array([0, 1, 2, 0, 1])
    whole = evaluate(net, loss, [(x, labels)])
    parts = evaluate(net, loss, [(x[:3], labels[:3]), (x[3:], labels[3:])])
    assert (whole.images, whole.top1_error, whole.top5_error) == (5, parts.top1_error, 0)
    assert whole.loss == pytest.approx(parts.loss)
    assert [layer.training for layer in net.layers] == [False] + [True] * 8
    net.eval()
    assert whole.top1_error == np.mean(net.forward(x).argmax(axis=1) != labels)
    with pytest.raises(ValueError, match="there is no picture"):
        evaluate(net, loss, [])


def test_top_k():
    wrong = tinynet.metrics.top_k_wrong
    scores = np.array([[0.1, 0.2, 0.3, 0.4]])
    assert [bool(wrong(scores, np.array([3 - rank]), k)[0]) for rank in range(4) for k in (1, 2, 3, 4)] == [
        k <= rank for rank in range(4) for k in (1, 2, 3, 4)]
    assert wrong(np.ones((2, 10)), np.array([0, 9]), 5).all()  # to say the same of all is to say nothing
    assert wrong(np.full((1, 10), np.nan), np.array([0]), 5).all()
    tie = np.array([[0.4, 0.4, 0.2]])
    assert wrong(tie, np.array([0]), 1)[0] and not wrong(tie, np.array([0]), 2)[0]
