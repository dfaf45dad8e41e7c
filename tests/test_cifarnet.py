"""The authors' small network: its table says what layers-80sec.cfg and layer-params-80sec.cfg say."""

import numpy as np
import pytest

import tinynet


@pytest.fixture
def net():
    return tinynet.CifarNet(rng=np.random.default_rng(0))


def test_sizes(net):
    shapes = {row.name: row.output_shape for row in net.summary().rows}
    assert [shapes[name] for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "fc4", "fc5")] == [
        (32, 32, 32), (32, 16, 16), (32, 16, 16), (32, 8, 8), (64, 8, 8), (64, 4, 4), (64,), (10,)]
    weights = 32 * 3 * 25 + 32 * 32 * 25 + 64 * 32 * 25 + 64 * 1024 + 10 * 64
    assert net.summary().params == weights + 32 + 32 + 64 + 64 + 10 == 145_578


def test_initial_weights_rates_and_decay(net):
    stds = {"conv1": 1e-4, "conv2": 0.01, "conv3": 0.01, "fc4": 0.1, "fc5": 0.1}
    sgd = tinynet.SGD(net, 0.001, 0.9, 0.004)
    for name, std in stds.items():
        w, b = (net.named_params()[f"{name}.{key}"] for key in "wb")
        assert w.std() == pytest.approx(std, rel=0.1) and not b.any()
        assert sgd.lr_mult[f"{name}.b"] == 2 and sgd.decay_mult[f"{name}.b"] == 0
        decay = sgd.weight_decay * sgd.decay_mult[f"{name}.w"]
        assert decay == pytest.approx(0.03 if name.startswith("fc") else 0.004)


def test_the_extra_decay_of_the_last_layers_is_applied(net):
    sgd = tinynet.SGD(net, 0.001, 0.9, 0.004)
    before = net.named_params()["fc4.w"].copy()
    for layer in net.layers:
        layer.grads = {key: np.zeros_like(w) for key, w in layer.params.items()}
    sgd.step()
    np.testing.assert_allclose(net.named_params()["fc4.w"], before * (1 - 0.001 * 0.03), rtol=1e-6)


def test_a_number_of_classes_below_one_is_refused():
    with pytest.raises(ValueError, match="num_classes=0 must be at least 1"):
        tinynet.CifarNet(0, rng=np.random.default_rng(0))
