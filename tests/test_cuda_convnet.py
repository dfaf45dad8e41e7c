"""The authors' files become networks, with rates and decays; what is not known is named with its line.

The files here are written for these tests in the authors' format. Where TINYNET_MUSEUM names a checkout of what the
Computer History Museum published, its files are read too.
"""

import os
import pathlib

import numpy as np
import pytest

import tinynet
from tinynet import cuda_convnet
from tinynet.alexnet import RECIPES
from tinynet.cuda_convnet import CfgError
from tinynet.layers import LRN, AvgPool, Conv2d, Dropout, Flatten, Linear, LRNWithin, MaxPool, ReLU, Sigmoid

RNG = np.random.default_rng(0)


def section(name, **values):
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in values.items()) + "\n"


def columns(name, **values):
    """The two sections of a layer; in `inputs` a * stands for the letter of the column."""
    return "".join(section(name + column, **{key: str(value).replace("*", column) for key, value in values.items()})
                   for column in "ab")


LAYERS = "".join([
    "# two columns, one per GPU\n", section("data", type="data", dataIdx=0), section("labels", type="data", dataIdx=1),
    columns("conv1", type="conv", inputs="data", channels=3, filters=16, padding=0, stride=2, filterSize=5, initW=0.01,
            partialSum=5, sharedBiases=1, gpu=0),
    columns("rnorm1", type="cmrnorm", inputs="conv1*", channels=16, size=5),
    columns("pool1", type="pool", pool="max", inputs="rnorm1*", sizeX=3, stride=2, channels=16, neuron="relu"),
    columns("conv2", type="conv", inputs="pool1*", filters=8, padding=1, stride=1, filterSize=3, channels=16,
            initW=0.02, initB=1, partialSum=3, neuron="relu"),
    columns("cnorm2", type="rnorm", inputs="conv2*", channels=8, size=3),
    columns("conv3", type="conv", inputs="cnorm2a,cnorm2b", filters="4,4", padding="1,1", stride="1,1",
            filterSize="3,3", channels="8,8", initW="0.03,0.03", partialSum=1, neuron="relu", groups="1,1",
            randSparse="0"),
    columns("fc4", type="fc", inputs="conv3a,conv3b", outputs=10, initW="0.01,0.01", initB=1, neuron="logistic"),
    columns("hs4", type="hs", keep=0.25, inputs="fc4*"),
    section("fc5", type="fc", outputs=7, inputs="hs4b,hs4a", initW="0.04,0.04"),
    section("probs", type="softmax", inputs="fc5"),
    section("logprob", type="cost.logreg", inputs="labels,probs"),
])
PARAMS = "".join([
    columns("conv1", epsW=0, epsB=0, momW=0.9, momB=0.9, wc=0.0005, wball="0.00"),
    columns("rnorm1", scale=0.0001, pow=0.75, minDiv=2),
    columns("conv2", epsW=0.001, epsB=0.02, momW=0.9, momB=0.9, wc=0.0005),
    columns("cnorm2", scale=0.009, pow=0.5),
    columns("conv3", epsW="0.001,0.001", epsB=0.002, momW="0.9,0.9", momB=0.9, wc="0.0005,0.0005", wball="0,0"),
    columns("fc4", epsW="0.0001,0.0001", epsB=0.002, momW="0.9,0.9", momB=0.9, wc="0.001,0.001"),
    columns("hs4", enable="true"), section("fc5", epsW="0.001,0.001", epsB=0.002, momW="0.9,0.9", momB=0.9),
    section("logprob", coeff=1, topk=5), "# epoch 25: set epsw to 0.001 from 0.01\n"])


def load(tmp_path, layers=LAYERS, params=PARAMS, image_size=21):
    for name, text in (("layers.cfg", layers), ("params.cfg", params)):
        (tmp_path / name).write_text(text)
    return cuda_convnet.load(tmp_path / "layers.cfg", tmp_path / "params.cfg", image_size, rng=np.random.default_rng(0))


def described(layer):
    """What a layer is, apart from its name, its weights and its rates."""
    keys = ("K", "OUT", "size", "stride", "pad", "groups", "ceil", "std", "bias", "n", "k", "alpha", "beta",
            "keep", "inverted", "need_dx")
    return type(layer), {key: getattr(layer, key) for key in keys if hasattr(layer, key)}


def test_two_columns_become_one_network_with_rates_and_decays(tmp_path):
    net, sgd = load(tmp_path)
    expected = [
        Conv2d("conv1", 32, 5, stride=2, ceil=True, std=0.01, need_dx=False),
        LRN("rnorm1", n=5, k=2, alpha=1e-4 / 5, beta=0.75, groups=2), MaxPool("pool1", 3, 2, ceil=True),
        ReLU("pool1_neuron"), Conv2d("conv2", 16, 3, pad=1, groups=2, ceil=True, std=0.02, bias=1),
        ReLU("conv2_neuron"), LRNWithin("cnorm2", n=3, k=1, alpha=0.001, beta=0.5),
        Conv2d("conv3", 8, 3, pad=1, ceil=True, std=0.03), ReLU("conv3_neuron"), Flatten("flatten"),
        Linear("fc4", 20, std=0.01, bias=1), Sigmoid("fc4_neuron"), Dropout("hs4", keep=0.25),
        Linear("fc5", 7, std=0.04)]
    assert [layer.name for layer in net.layers] == [layer.name for layer in expected]
    for ours, wanted in zip(net.layers, expected):
        assert described(ours) == described(wanted)
    assert (sgd.lr, sgd.momentum, sgd.weight_decay) == (0.001, 0.9, 0.0005)
    rates = {"conv1.w": 0, "conv1.b": 0, "conv2.w": 1, "conv2.b": 20, "conv3.w": 1, "conv3.b": 2, "fc4.w": 0.1,
             "fc4.b": 2, "fc5.w": 1, "fc5.b": 2}
    assert sgd.lr_mult == pytest.approx(rates)
    decays = {"conv1.w": 1, "conv2.w": 1, "conv3.w": 1, "fc4.w": 2, "fc5.w": 0}
    assert sgd.decay_mult == pytest.approx(decays | {name.replace("w", "b"): 0 for name in decays if name != "w"})
    x = np.random.default_rng(1).standard_normal((2, 3, 21, 21)).astype(np.float32)
    assert net.forward(x).shape == (2, 7)
    assert net["conv1"].params["w"].std() == pytest.approx(0.01, rel=0.05)


def test_one_column_is_read_too(tmp_path):
    layers = "".join([
        section("data", type="data", dataIdx=0),
        section("conv1", type="conv", inputs="data", channels=3, filters=8, padding=2, stride=1, filterSize=5,
                initW=0.1, groups=1, neuron="relu"),
        section("pool1", type="pool", pool="avg", inputs="conv1", start=0, sizeX=3, stride=2, outputsX=0, channels=8),
        section("fc2", type="fc", inputs="pool1", outputs=4, initW=0.1)])
    params = "".join(section(name, epsW=0.1, epsB=0.1, momW=0, momB=0, wc=0) for name in ("conv1", "fc2"))
    net, sgd = load(tmp_path, layers, params, image_size=8)
    assert [type(layer) for layer in net.layers] == [Conv2d, ReLU, AvgPool, Flatten, Linear] and sgd.weight_decay == 0


@pytest.mark.parametrize("old, new, where", [
    ("type=cmrnorm", "type=blur", "layers.cfg, line 37: [rnorm1a] is of type 'blur'"),
    ("neuron=logistic", "neuron=tanh[1,1]", "[fc4a] has neuron='tanh[1,1]'"),
    ("initB=1\nneuron=logistic", "initWFunc=x.f()\nneuron=logistic", "[fc4a] has initwfunc='x.f()'"),
    ("sharedBiases=1", "sharedBiases=0", "[conv1a] has sharedbiases='0'; only 1"),
    ("pool=max", "pool=rand", "[pool1a] has pool='rand'"), ("initW=0.04,0.04", "initW=0.04,0.05", "inputs that differ"),
    ("filterSize=5", "filterSize=five", "[conv1a] has filtersize='five', not numbers"),
    ("inputs=hs4b,hs4a", "inputs=hs4b,conv3a", "[fc5] reads hs4b,conv3a: only layers that follow each other"),
    ("inputs=hs4b,hs4a", "inputs=fc4a,fc4b", "[fc5] reads fc4a,fc4b, not the layer before it, hs4"),
    ("channels=8,8", "channels=8,9", "[conv3a] reads 17 channels, the layer before makes 16"),
    ("keep=0.25\ninputs=fc4b", "keep=0.5\ninputs=fc4b", "[hs4b] has keep=0.5, [hs4a] 0.25: two columns"),
    ("[labels]", "labels", "layers.cfg, line 6: neither [name] nor key=value: 'labels'"),
    ("[conv2b]", "[conv2a]", "[conv2a] is there twice"), ("filters=4,4", "", "[conv3a] has no filters")])
def test_what_is_not_known_is_named_with_its_line(tmp_path, old, new, where):
    assert old in LAYERS
    with pytest.raises(CfgError) as caught:
        load(tmp_path, LAYERS.replace(old, new))
    assert where in str(caught.value) and "line " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("old, new, where", [
    ("[hs4a]", "[hs9a]", "[hs4a] has no section in"), ("enable=true", "enable=false", "[hs4a] has enable='false'"),
    ("wball=0.00", "wball=0.01", "[conv1a] has wball='0.01'; only 0"),
    ("minDiv=2", "blur=2", "has blur='2', which is not"),
    ("momW=0.9,0.9\nmomB=0.9\n\n", "momW=0.9,0.9\nmomB=0.8\n\n", "[fc5] has momenta that differ"),
    ("scale=0.009", "scale=", "[cnorm2a] has scale='', not numbers")])
def test_and_so_are_parameters(tmp_path, old, new, where):
    assert old in PARAMS
    with pytest.raises(CfgError) as caught:
        load(tmp_path, params=PARAMS.replace(old, new))
    assert where in str(caught.value) and "params.cfg" in str(caught.value)


@pytest.mark.parametrize("old, new, layer", [("outputs=10", "outputs=9999999", "fc4"),
                                             ("filters=4,4", "filters=99999999,99999999", "conv3")])
def test_weights_that_would_fill_the_memory_are_refused_before_they_are_drawn(tmp_path, old, new, layer):
    assert old in LAYERS
    with pytest.raises(CfgError, match=f"the layers up to {layer} have [0-9,]+ weights, more than 500,000,000"):
        load(tmp_path, LAYERS.replace(old, new))


def test_files_that_are_not_there_or_no_text(tmp_path):
    with pytest.raises(CfgError, match="No such file"):
        cuda_convnet.load(tmp_path / "x", tmp_path / "y", rng=RNG)
    (tmp_path / "x").write_bytes(os.urandom(1000))
    with pytest.raises(CfgError, match="neither"):
        cuda_convnet.read(tmp_path / "x")
    (tmp_path / "x").write_bytes(bytes(2 << 20))
    with pytest.raises(CfgError, match="bytes are more than"):
        cuda_convnet.read(tmp_path / "x")
    (tmp_path / "x").write_text("")
    with pytest.raises(CfgError, match="no layers"):
        cuda_convnet.load(tmp_path / "x", tmp_path / "x", rng=RNG)


def test_damaged_files_give_cfg_errors_and_nothing_else(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(300):
        texts = []
        for text in (LAYERS, PARAMS):
            lines = text.splitlines(keepends=True)
            for _ in range(rng.integers(0, 3)):
                place = int(rng.integers(len(lines)))
                lines[place] = str(rng.choice(["", "x", "=\n", "[conv1a]\n", lines[place][:3], "stride=-1\n",
                                               "size=0\n", "initW=nan\n", "inputs=data\n",
                                               lines[place].replace("1", "9")]))
            texts.append("".join(lines))
        try:
            load(tmp_path, *texts)
        except (CfgError, tinynet.ShapeError) as error:
            assert "\n" not in str(error)


# ---- the museum's files, where they are ------------------------------------------------------------------------------
@pytest.fixture
def museum():
    if "TINYNET_MUSEUM" not in os.environ:
        pytest.skip("TINYNET_MUSEUM names no checkout of the museum's AlexNet-Source-Code")
    return pathlib.Path(os.environ["TINYNET_MUSEUM"])


def test_net_145_is_our_recipe_row_by_row(museum):
    folder = museum / "layers"
    net, sgd = cuda_convnet.load(folder / "layers-145.cfg", folder / "layer-params-145.cfg", rng=RNG)
    ours = RECIPES["code-2012"].layers(1000)
    assert [described(layer) for layer in net.layers] == [described(layer) for layer in ours]
    assert (sgd.momentum, sgd.weight_decay, sgd.lr) == (0.9, 0.0005, 1e-5)  # the file has the rates of the end
    assert sgd.lr_mult["conv1.w"] == 0 and sgd.decay_mult["conv2.b"] == 0


def test_the_small_net_is_our_cifarnet_row_by_row(museum):
    folder = museum / "example-layers"
    net, sgd = cuda_convnet.load(folder / "layers-80sec.cfg", folder / "layer-params-80sec.cfg", 32, rng=RNG)
    ours = tinynet.CifarNet(rng=RNG)
    rows = [[described(layer) for layer in each.layers if not isinstance(layer, ReLU)] for each in (net, ours)]
    for theirs, own in zip(*rows, strict=True):
        theirs[1].pop("ceil", None), own[1].pop("ceil", None)  # their convolutions say ceil where it changes nothing
        assert theirs == own
    assert (sgd.lr, sgd.weight_decay, sgd.lr_mult["fc64.b"]) == (0.001, 0.004, 2)
