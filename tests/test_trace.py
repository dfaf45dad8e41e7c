"""Every number of every kind of layer can be taken apart, the parts are where they are said to be, and they make it."""

import numpy as np
import pytest
from test_mutants import mutated

import tinynet
from tinynet import layers, trace
from tinynet.trace import Disagreement, Trace, explain


def walked(*kinds, in_shape=(4, 7, 6), N=2, seed=0, dtype="float64", head=()):
    """A trace there and back through these layers, in small numbers that tie and vanish here and there."""
    rng = np.random.default_rng(seed)
    net = tinynet.Sequential([*head, *kinds], in_shape, rng, dtype)
    net.use("ops")
    net.train()
    x = rng.integers(-4, 5, (N, *in_shape)).astype(dtype) / 2
    shape = (N, *in_shape)
    for layer in net.layers:
        shape = layer.output_shape(shape)
    return Trace(net, x, dy=rng.standard_normal(shape).astype(dtype)).run()


LAYERS = {
    "conv": lambda: layers.Conv2d("it", 6, 3, std=0.5, bias=0.3),
    "conv strided": lambda: layers.Conv2d("it", 6, (3, 2), stride=(2, 3), pad=(1, 2), groups=2, std=0.5, bias=0.3),
    "conv ceil": lambda: layers.Conv2d("it", 2, 3, stride=2, ceil=True, std=0.5),
    "conv gaps": lambda: layers.Conv2d("it", 2, 2, stride=3, std=0.5),
    "pool": lambda: layers.MaxPool("it", 3, 2),
    "pool ceil": lambda: layers.MaxPool("it", (3, 2), 2, ceil=True),
    "average": lambda: layers.AvgPool("it", 3, 2),
    "average ceil": lambda: layers.AvgPool("it", 3, 2, ceil=True),
    "lrn": lambda: layers.LRN("it", n=3, k=1, alpha=0.4),
    "lrn groups": lambda: layers.LRN("it", n=5, k=2, alpha=0.3, groups=2),
    "within": lambda: layers.LRNWithin("it", n=3, k=1, alpha=0.2),
    "nothing": lambda: layers.Layer("it"),
    "relu": lambda: layers.ReLU("it"),
    "leaky": lambda: layers.LeakyReLU("it", slope=0.2),
    "tanh": lambda: layers.Tanh("it"),
    "sigmoid": lambda: layers.Sigmoid("it"),
    "dropout": lambda: layers.Dropout("it", keep=0.6),
    "inverted": lambda: layers.Dropout("it", keep=0.6, inverted=True),
    "flatten": lambda: layers.Flatten("it"),
}


def arrays_of(step):
    return {"y": step.y, "dx": step.dx, **{f"d{key}": grad for key, grad in step.grads.items()}}


def explain_all(explain, traced, name="it"):
    """Every number of the layer. Explanations check themselves; here also: one for each gradient there is."""
    count = 0
    for of, array in arrays_of(traced[name]).items():
        for index in np.ndindex(array.shape):
            explanation = explain(traced, name, index, of)
            assert abs(explanation.value - array[index]) <= 1e-12 * max(1, abs(array).max())
            count += 1
    return count


def made(kind):
    if kind == "linear":
        return walked(layers.Linear("it", 3, std=0.5, bias=0.3), in_shape=(4, 2, 3), N=3, head=[layers.Flatten("flat")])
    return walked(LAYERS[kind]())


@pytest.mark.parametrize("kind", [*LAYERS, "linear"])
def test_every_number_of_every_layer_is_explained(kind):
    assert explain_all(explain, made(kind)) > 20


def logits_of(labels=(2, 0, 1)):
    net = tinynet.Sequential([layers.Flatten("flat"), layers.Linear("fc", 4, std=1)], (2, 1, 3),
                             np.random.default_rng(0), "float64")
    return Trace(net, np.random.default_rng(1).standard_normal((3, 2, 1, 3)), list(labels)).run()


def test_every_number_of_the_loss_is_explained():
    traced = logits_of()
    step = traced["loss"]
    assert explain(traced, "loss", ()).value == pytest.approx(float(step.y), abs=1e-12)
    for index in np.ndindex(step.dx.shape):
        assert explain(traced, "loss", index, "dx").value == pytest.approx(step.dx[index], abs=1e-12)
        assert explain(traced, "loss", index, "probs").value == pytest.approx(step.layer.probs[index], abs=1e-12)
    assert explain_all(explain, traced, "fc") == 12 + 18 + 24 + 4


def test_no_layer_is_forgotten():
    kinds = {value for value in vars(layers).values() if isinstance(value, type) and issubclass(value, layers.Layer)}
    assert kinds <= trace.KINDS.keys()


# ---- what is said of where the terms come from ---------------------------------------------------------------------

def positions_check(explain):
    """AssertionError unless each term is the number at the place that the table names."""
    traced = made("conv strided")
    step, (SH, SW), (PH, PW) = traced["it"], (2, 3), (1, 2)
    K, CG = step.layer.params["w"].shape[:2]
    padding = 0
    for index in np.ndindex(step.y.shape):
        seen = explain(traced, "it", index)
        assert seen.axes == ("channel", "row", "column")
        assert seen.start == (index[1] // (K // 2) * CG, index[2] * SH - PH, index[3] * SW - PW)
        for place in np.ndindex(seen.terms["x"].shape):
            at = tuple(np.add(place, seen.start))
            inside = all(0 <= i < size for i, size in zip(at, step.x.shape[1:]))
            assert seen.inside[place] == inside
            assert seen.terms["x"][place] == (step.x[(index[0], *at)] if inside else 0)
            padding += not inside
    assert padding
    for index in np.ndindex(step.dx.shape):
        seen = explain(traced, "it", index, "dx")
        for place in np.ndindex(seen.last.shape):
            kernel, i, j = np.add(place, seen.start)
            u, v = index[2] + PH - i * SH, index[3] + PW - j * SW
            assert seen.terms["dy"][place] == step.dy[index[0], kernel, i, j]
            assert seen.terms["w"][place] == step.layer.params["w"][kernel, index[1] % CG, u, v]
    traced = made("pool ceil")
    for index in np.ndindex(traced["it"].y.shape):
        seen = explain(traced, "it", index)
        rows, columns = (slice(first, first + size) for first, size in zip(seen.start, seen.terms["x"].shape))
        assert (seen.terms["x"] == traced["it"].x[index[0], index[1], rows, columns]).all()
        assert np.flatnonzero(seen.picked).tolist() == [int(np.argmax(seen.terms["x"]))]
    for kind in ("lrn groups", "within"):
        traced = made(kind)
        for index in np.ndindex(traced["it"].y.shape):
            seen = explain(traced, "it", index)
            shape = seen.terms["x"].shape
            around = tuple(slice(first, first + size) for first, size in zip(seen.start, shape))
            where = (index[0], *around, *index[2:]) if len(shape) == 1 else (*index[:2], *around)
            assert (seen.terms["x"] == traced["it"].x[where]).all()


def test_the_terms_are_where_they_are_said_to_be():
    positions_check(explain)


def test_the_table_of_a_window_at_the_corner():
    text = str(explain(made("conv strided"), "it", (1, 4, 0, 0)))
    assert text.startswith("it.y[1, 4, 0, 0]: kernel 4 over channels 2 to 3, rows -1 to 1, columns -2 to -1 of x[1]; "
                           "6 of its 6 pixels lie past the edge and are 0\n channel      row   column")
    assert text.count("padding") == 12
    assert "\nbias b[4]                                              0.3\n" in text and "the layer has  " in text


def test_a_long_table_shows_the_largest_terms():
    seen = explain(walked(layers.Conv2d("it", 2, 5, std=0.5)), "it", (0, 0, 0, 0))
    lines = str(seen).splitlines()
    assert lines[32] == "... and 70 smaller ones" and len(lines) == 1 + 1 + 30 + 1 + 4
    shown = sorted(abs(float(line.split()[-1])) for line in lines[2:32])
    assert shown == pytest.approx(sorted(abs(seen.last).ravel())[-30:], rel=1e-5)


def test_ties_and_losers_of_a_pool_are_named():
    net = tinynet.Sequential([layers.MaxPool("pool", 2, 1)], (1, 2, 3), np.random.default_rng(0), "float64")
    traced = Trace(net, np.array([[[[5.0, 5, 1], [5, 0, 0]]]]), dy=np.array([[[[10.0, 100]]]])).run()
    assert "3 are equally large, the first in reading order wins" in explain(traced, "pool", (0, 0, 0, 0)).where
    assert "largest, at row 0, column 0" in str(explain(traced, "pool", (0, 0, 0, 0)))
    assert explain(traced, "pool", (0, 0, 0, 1), "dx").where == "of the 2 windows that hold this pixel, it won 1"
    assert [explain(traced, "pool", (0, 0, 0, i), "dx").value for i in range(3)] == [10, 100, 0]


# ---- walking -------------------------------------------------------------------------------------------------------

def test_a_walk_goes_there_and_back_one_layer_at_a_time():
    traced = logits_of()
    again = Trace(traced.net, traced["flat"].x, [2, 0, 1])
    said = [" ".join(str(step).split()[:2]) for step in again]
    assert said == ["flat forward", "fc forward", "loss forward", "loss backward", "fc backward", "flat backward"]
    assert again.step() is None
    assert str(again["fc"]) == "fc         backward   dy (3, 4) -> dx (3, 6), dw (4, 6), db (4,)"
    for name, step in traced.steps.items():
        np.testing.assert_array_equal(again[name].y, step.y)
        np.testing.assert_array_equal(again[name].dx, step.dx)


def test_a_trace_computes_what_the_network_computes():
    nets = [tinynet.AlexNet("code-2012", 5, 67, rng=np.random.default_rng(0)) for _ in range(2)]
    x, labels = np.random.default_rng(1).standard_normal((2, 3, 67, 67), dtype=np.float32), np.array([1, 4])
    traced, loss = Trace(nets[0], x, labels).run(), tinynet.SoftmaxCrossEntropy()
    assert float(traced["loss"].y) == float(loss.forward(nets[1].forward(x), labels))
    nets[1].backward(loss.backward())
    for name, grad in nets[1].named_grads().items():
        np.testing.assert_array_equal(nets[0].named_grads()[name], grad)
    rng = np.random.default_rng(2)
    for name, step in traced.steps.items():  # in float32, on the rung that networks use: the tolerance holds
        for of, array in arrays_of(step).items():
            if array is not None:
                for _ in range(4):
                    explain(traced, name, tuple(int(rng.integers(size)) for size in array.shape), of)


def test_evaluation_explains_dropouts_strength():
    net = tinynet.Sequential([layers.Flatten("flat"), layers.Dropout("drop", keep=0.25)], (1, 2, 2),
                             np.random.default_rng(0), "float64")
    net.eval()
    traced = Trace(net, np.full((1, 1, 2, 2), 8.0)).run()
    assert traced["drop"].kept is None
    assert explain(traced, "drop", (0, 3)).value == 2


# ---- mistakes ------------------------------------------------------------------------------------------------------

def test_mistakes_get_a_line():
    traced = logits_of()
    net, x = traced.net, traced["flat"].x
    untouched, there = Trace(net, x), Trace(net, x).run()
    first = layers.Conv2d("it", 2, 3, std=0.5, need_dx=False)
    for error, message, call in [
        (ValueError, "no layer 'fc9' in this trace; there are flat, fc, loss", lambda: explain(traced, "fc9", (0, 0))),
        (ValueError, "no layer 'fc9' in this trace; there are flat, fc", lambda: explain(untouched, "fc9", (0, 0))),
        (ValueError, "fc was not reached yet: call trace.step() or trace.run()", lambda: explain(untouched, "fc", 0)),
        (IndexError, "fc.y has shape (3, 4): there is no fc.y[0, 4]", lambda: explain(traced, "fc", (0, 4))),
        (IndexError, "fc.y has shape (3, 4): there is no fc.y[2]", lambda: explain(traced, "fc", 2)),
        (ValueError, "flat has no 'dw' to explain; there is y, dx", lambda: explain(traced, "flat", (0, 0), "dw")),
        (ValueError, "dx of fc is not there yet: the trace needs labels or dy, and trace.run()",
         lambda: explain(there, "fc", (0, 0), "dx")),
        (ValueError, "it computes no dx: need_dx=False, its input is a picture",
         lambda: explain(walked(first), "it", (0, 0, 0, 0), "dx")),
        (TypeError, "explain needs a trace, not a Sequential: trace = Trace(net, x, labels).run()",
         lambda: explain(net, "fc", (0, 0))),
        (TypeError, "the network computes in float64, x is float32: use x.astype('float64')",
         lambda: Trace(net, x.astype("float32"))),
        (ValueError, "the network: x must have shape (3, 2, 1, 3), x has (3, 2, 3)", lambda: Trace(net, x[:, :, 0])),
        (ValueError, "give labels, for the gradient of the loss, or dy, for one of your own; not both",
         lambda: Trace(net, x, [0, 1, 2], dy=x)),
    ]:
        with pytest.raises(error) as raised:
            call()
        assert str(raised.value) == message
    net.eval()
    with pytest.raises(ValueError, match="the way back needs training mode: call net.train"):
        Trace(net, x, [0, 1, 2])


def test_negative_indices_count_from_the_end():
    traced = logits_of()
    assert explain(traced, "fc", (-1, -1)).name == "fc.y[2, 3]"


# ---- planted bugs --------------------------------------------------------------------------------------------------

def disagrees(file, edits, traced_with):
    """Whether an explanation objects to a layer that computes with the mutant."""
    mutant = mutated(file, edits)
    layer = LAYERS[traced_with]()
    proxy = type("Rung", (), {name: staticmethod(getattr(mutant, name, getattr(tinynet.ops, name)))
                              for name in tinynet.ops.__all__})
    rng = np.random.default_rng(0)
    net = tinynet.Sequential([layer], (4, 7, 6), rng, "float64")
    layer.ops = proxy
    x = rng.integers(-4, 5, (2, 4, 7, 6)) / 2
    try:
        explain_all(explain, Trace(net, x, dy=rng.standard_normal(layer.output_shape(x.shape))).run())
    except Disagreement:
        return True
    return False


@pytest.mark.parametrize("file, kind, edits", [
    ("conv", "conv", [("conv2d_forward", "= w.reshape(", "= w[:, :, ::-1, ::-1].reshape(")]),
    ("conv", "conv strided", [("conv2d_forward", "matmul(kernels, cols)", "matmul(kernels, cols[::-1])")]),
    ("conv", "conv", [("conv2d_backward", "dkernels.reshape(w.shape)", "dkernels.reshape(w.shape)[:, :, ::-1]")]),
    ("conv", "conv", [("col2im", "+= cols", "= cols")]),
    ("conv", "conv", [("conv2d_backward", ".sum(axis=0)", ".mean(axis=0)")]),
    ("pool", "pool", [("maxpool_backward", "+=", "=")]),
    ("pool", "pool", [("maxpool_forward", "candidate > y", "candidate >= y")]),
    ("pool", "average", [("avgpool_backward", "+=", "=")]),
    ("pool", "average ceil", [("window_counts", "xp.minimum(k, length - s * xp.arange(count))", "xp.full(count, k)")]),
    ("lrn", "lrn groups", [("lrn_forward", "x * x, n, groups", "x * x, n, 1")]),
    ("lrn", "lrn", [("lrn_backward", " - 2 * alpha * beta * x * cross", "")]),
    ("lrn", "within", [("lrn_within_backward", "- 2 *", "-")]),
    ("activation", "relu", [("relu_backward", "(y > 0)", "(y >= 0)")]),
    ("activation", "sigmoid", [("sigmoid_backward", "y * (1 - y)", "y")]),
    ("dropout", "dropout", [("dropout_backward", "mask)", "1)")]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_wrong_layer_is_found_out(file, kind, edits):
    assert not disagrees(file, [], kind)
    assert disagrees(file, edits, kind)


def objection(file, edits):
    """What the checks of this file say of an explanation with a bug in that file of tinynet/trace."""
    mutant = mutated(file, edits, trace)
    with pytest.MonkeyPatch.context() as patch:
        for layer, kind in trace.KINDS.items():
            if file == "explanation":  # what all share
                for name in vars(kind).keys() & vars(mutant).keys() & {"pick", "windows_with"}:
                    patch.setattr(kind, name, getattr(mutant, name))
            elif kind.__name__ == f"tinynet.trace.{file}":
                patch.setitem(trace.KINDS, layer, mutant)
        try:
            for kind in [*LAYERS, "linear"]:
                explain_all(explain, made(kind))
            traced = logits_of()
            for of, array in (("dx", traced["loss"].dx), ("probs", traced["loss"].layer.probs), ("y", np.ones(()))):
                for index in np.ndindex(array.shape):
                    explain(traced, "loss", index, of)
            positions_check(explain)
        except (AssertionError, ArithmeticError) as error:
            return str(error) or "an assertion"
    return None


@pytest.mark.parametrize("file, function, old, new", [
    ("conv", "y", "* layer.stride[0] - layer.pad[0]", "* layer.stride[0]"),
    ("conv", "y", "o // (w.shape[0] // layer.groups) * CG", "0"),
    ("conv", "y", "x * w[o]", "x * w[o, :, ::-1]"),
    ("conv", "y", "products.sum() + b[o]", "products.sum()"),
    ("conv", "y", "start = channel, top, left", "start = channel, top, left + 1"),
    ("conv", "dw", "+ u - layer.pad[0]", "+ v - layer.pad[0]"),
    ("conv", "dw", "o // (K // layer.groups) * CG + c", "c"),
    ("conv", "dx", "u, v = row + layer.pad[0] -", "u, v = row -"),
    ("conv", "dx", "(q * KG, *(int", "(0, *(int"),
    ("explanation", "windows_with", "<= pixel", "< pixel"),
    ("explanation", "pick", "inside, a[clipped], 0.0", "True, a[clipped], 0.0"),
    ("pool", "y", "(top, left), {\"x\": x},\n                       [(f\"l",
     "(left, top), {\"x\": x},\n                       [(f\"l"),
    ("pool", "y", "x.mean()", "x.sum()"),
    ("pool", "dx", "[0].size for j", "[0].size + 1 for j"),
    ("pool", "dx", "* window.shape[1]", "* 2"),
    ("lrn", "_window", "c // size * size + size - 1", "shape[1] - 1"),
    ("lrn", "_window", "w + half + 1", "w + half"),
    ("lrn", "dx", "- others)", "+ others)"),
    ("lrn", "dx", "np.array(place) + start", "np.array(place)"),
    ("dropout", "_masked", "value * mask)", "value)"),
    ("flatten", "_moved", "source[place]", "source.ravel()[0]"),
    ("linear", "dx", '["w"][:, unit]', '["w"][:, 0]'),
    ("linear", "dw", "step.x[:, unit]", "step.x[:, 0]"),
    ("softmax", "y", "losses.mean()", "losses.sum()"),
    ("softmax", "dx", "wrong / N", "wrong"),
    ("softmax", "_softmax", "exps / exps.sum()", "exps"),
])
def test_a_wrong_explanation_is_found_out(file, function, old, new):
    assert objection(file, [(function, old, new)])


def test_the_checks_let_the_right_one_through():
    for file in ("conv", "pool", "lrn", "explanation"):
        assert objection(file, []) is None
