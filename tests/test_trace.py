"""Every number of every kind of layer can be taken apart, the parts are where they are said to be, and they make it."""

import numpy as np
import pytest
from test_mutants import mutated

import tinynet
from tinynet import layers, trace
from tinynet.trace import Disagreement, Trace, explain, uses


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
    sgd = tinynet.SGD(net, lr=0.1, momentum=0.9, weight_decay=0.01)
    sgd.velocity = {name: rng.standard_normal(w.shape).astype(dtype) for name, w in net.named_params().items()}
    return Trace(net, x, dy=rng.standard_normal(shape).astype(dtype), sgd=sgd).run()


LAYERS = {
    "conv": lambda: layers.Conv2d("it", 6, 3, std=0.5, bias=0.3),
    "conv strided": lambda: layers.Conv2d("it", 6, (3, 2), stride=(2, 3), pad=(1, 2), groups=2, std=0.5, bias=0.3),
    "conv ceil": lambda: layers.Conv2d("it", 2, 3, stride=2, ceil=True, std=0.5),
    "conv gaps": lambda: layers.Conv2d("it", 2, 2, stride=3, std=0.5),
    "pool": lambda: layers.MaxPool("it", 3, 2),
    "pool ceil": lambda: layers.MaxPool("it", (3, 2), 2, ceil=True),
    "pool padded": lambda: layers.MaxPool("it", (3, 4), 2, pad=(1, 2), ceil=True),
    "average": lambda: layers.AvgPool("it", 3, 2),
    "average ceil": lambda: layers.AvgPool("it", 3, 2, ceil=True),
    "average padded": lambda: layers.AvgPool("it", (3, 4), (2, 1), pad=(1, 2)),
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
    assert traced[name].layer.params.keys() == traced[name].grads.keys()
    for of, array in arrays_of(traced[name]).items():
        for index in np.ndindex(array.shape):
            explanation = explain(traced, name, index, of)
            assert abs(explanation.value - array[index]) <= 1e-12 * max(1, abs(array).max())
            count += 1
    return count


def terms_from(array, seen):
    """The sources in that array of all terms of an explanation."""
    found = [seen.source(term, place) for term, values in seen.terms.items() for place in np.ndindex(values.shape)]
    return [source for source in found if source and source[0] == array]


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


@pytest.mark.parametrize("rung", ["ops", "cpu"])
@pytest.mark.parametrize("kind", ["conv strided", "linear"])
def test_every_update_is_explained_and_none_is_made(kind, rung):
    traced = made(kind)
    traced.net.use(rung)
    net, sgd = traced.net, traced.sgd
    sgd.lr_mult, sgd.decay_mult = {"it.b": 2}, {"it.b": 0, "it.w": 3}
    before = {name: w.copy() for name, w in net.named_params().items()}
    told = {name: {index: explain(traced, "it", index, "update") for index in np.ndindex(w.shape)}
            for name, w in net.named_params().items()}
    for name, w in net.named_params().items():
        np.testing.assert_array_equal(w, before[name])
    sgd.step()
    for name, w in net.named_params().items():
        for index, seen in told[name].items():
            assert seen.value == pytest.approx(w[index], rel=1e-12, abs=1e-12)
            assert seen.actual == w[index]
    index = next(iter(told["it.w"]))
    text = str(told["it.w"][index])
    assert "momentum: 0.9 * v" in text and "decay: -0.03 * 0.1 * w" in text and "gradient: -0.1 * dw" in text
    assert "decay: -0 * 0.2 * b" in str(told["it.b"][0,])
    sgd.lr_mult["it.b"] = 0
    traced = Trace(net, traced.steps[net.layers[0].name].x, dy=traced["it"].dy, sgd=sgd).run()
    frozen = explain(traced, "it", (0,), "update")
    assert frozen.value == frozen.actual == net["it"].params["b"][0] and "is frozen" in frozen.where


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
    for kind in ("pool ceil", "pool padded"):
        traced = made(kind)
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


@pytest.mark.parametrize("kind", [*LAYERS, "linear"])
def test_every_term_is_the_number_that_it_is_said_to_be(kind):
    traced = made(kind)
    step = traced["it"]
    arrays = {"x": step.x, "y": step.y, "dy": step.dy, **step.layer.params}
    for of, array in arrays_of(step).items():
        for index in list(np.ndindex(array.shape))[::3]:
            seen = explain(traced, "it", index, of)
            assert seen.sources
            for term, values in seen.terms.items():
                for place in np.ndindex(values.shape):
                    if source := seen.source(term, place):
                        assert all(i >= 0 for i in source[1])
                        assert arrays[source[0]][source[1]] == values[place]
                    else:
                        assert term in ("product", "slope", "share", "won", "mask", "x^2", "scale", "dy*y/scale",
                                        "y") or not seen.inside[place]
            for text, number in seen.lines:
                if text.startswith("bias"):
                    array, at = seen.source(text)
                    assert arrays[array][at] == number


@pytest.mark.parametrize("kind", [*LAYERS, "linear"])
def test_uses_are_explanations_read_in_the_other_direction(kind):
    layer = {**LAYERS, "linear": lambda: layers.Linear("it", 3, std=0.5)}[kind]()
    below = layers.Flatten("below") if kind == "linear" else layers.Layer("below")
    traced = walked(layer, layers.Layer("top"), in_shape=(4, 5, 6), N=2, head=[below])
    step = traced["it"]
    for of, array in {"x": step.x, **step.layer.params}.items():
        readers = {index: set() for index in np.ndindex(array.shape)}
        for index in np.ndindex(step.y.shape):
            seen = explain(traced, "it", index)
            for term in seen.sources:
                for place in np.ndindex(seen.terms[term].shape if term in seen.terms else ()):
                    source = seen.source(term, place)
                    if source and source[0] == of:
                        readers[source[1]].add(index)
        for index, found in readers.items():
            if of == "b":
                continue
            use = uses(traced, *(("below", index) if of == "x" else ("it", index, of)))[0]
            assert (use.name, use.of, use.count) == ("it", "y", len(list(use)))
            # a window that has this weight over the padding, too, has it
            assert set(use) >= found if of == "w" else set(use) == found
    for index in np.ndindex(step.y.shape):  # its gradient: dx where its window lies, dw and db of its kernel
        inside = {source[1] for source in terms_from("x", explain(traced, "it", index))}
        found = {use.of: use for use in uses(traced, "top", index, "dx")}
        assert set(found["dx"]) == inside
        assert found.keys() == {"dx", *(f"d{key}" for key in step.layer.params)}


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
    assert explain(traced, "pool", (0, 0, 0, 0), "dx").where == "windows that contain this pixel: 1, of which it won 1"
    assert explain(traced, "pool", (0, 0, 0, 1), "dx").where == "windows that contain this pixel: 2, of which it won 1"
    assert [explain(traced, "pool", (0, 0, 0, i), "dx").value for i in range(3)] == [10, 100, 0]


def test_the_last_nan_of_a_window_is_explained_as_its_largest():
    net = tinynet.Sequential([layers.MaxPool("pool", 2, 1, pad=1)], (1, 1, 3), np.random.default_rng(0), "float64")
    traced = Trace(net, np.array([[[[np.nan, np.nan, 5.0]]]]), dy=np.ones((1, 1, 2, 4))).run()
    assert "largest, at row 0, column 1" in str(explain(traced, "pool", (0, 0, 0, 1)))
    assert [explain(traced, "pool", (0, 0, 0, i), "dx").value for i in range(3)] == [2, 4, 2]


# ---- walking -------------------------------------------------------------------------------------------------------

def test_a_walk_goes_there_and_back_one_layer_at_a_time():
    traced = logits_of()
    again = Trace(traced.net, traced["flat"].x, [2, 0, 1])
    said = [" ".join(str(step).split()[:2]) for step in again]
    assert said == ["flat forward", "fc forward", "loss forward", "loss backward", "fc backward", "flat backward"]
    assert again.step() is None
    assert repr(again["fc"]) == "fc         backward   dy (3, 4) -> dx (3, 6), dw (4, 6), db (4,)"
    for name, step in traced.steps.items():
        np.testing.assert_array_equal(again[name].y, step.y)
        np.testing.assert_array_equal(again[name].dx, step.dx)


def test_a_walk_goes_back_and_forgets_nothing():
    rng = np.random.default_rng(0)
    net = tinynet.Sequential([layers.Flatten("flat"), layers.Dropout("drop"), layers.Linear("fc", 4, std=1)],
                             (3, 4, 4), rng, "float64")
    walk = Trace(net, rng.standard_normal((2, 3, 4, 4)), [1, 2])
    assert walk.back() is None
    assert repr(walk).startswith("Trace: 0 of 8 steps done\n  flat       forward    not reached yet\n")
    walk.step()
    second = walk.step()
    mask = second.saved[0]
    assert walk.back().name == "flat"
    assert walk.step() is second and second.saved[0] is mask
    walk.run()
    assert str(walk["drop"]).split()[1] == "backward" and walk.step() is None
    said = [" ".join(str(walk.back()).split()[:2]) for _ in range(7)]
    assert said == ["drop backward", "fc backward", "loss backward", "loss forward", "fc forward", "drop forward",
                    "flat forward"]
    assert walk.back() is None and walk["flat"].dx is not None
    table = repr(walk.run()).splitlines()
    assert table[0] == "Trace: 8 of 8 steps done" and len(table) == 9
    assert table[2] == "  drop       forward    x (2, 48) -> y (2, 48)"
    assert table[-1] == "> flat       backward   dy (2, 48) -> dx (2, 3, 4, 4)"


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


def test_layers_of_a_network_in_a_network_have_their_path_as_name():
    block = tinynet.Sequential([layers.Linear("fc", 5, std=1), layers.ReLU("relu")], name="block")
    net = tinynet.Sequential([layers.Flatten("flat"), block, layers.Linear("fc", 3, std=1)], (2, 1, 3),
                             np.random.default_rng(0), "float64")
    traced = Trace(net, np.ones((1, 2, 1, 3)), [1], sgd=tinynet.SGD(net)).run()
    assert list(traced.steps) == ["flat", "block.fc", "block.relu", "fc", "loss"]
    for of, count in (("y", 2), ("dw", 2), ("update", 2)):
        assert explain(traced, "block.fc", (0,) * count, of).agrees
    assert uses(traced, "block.relu", (0, 4))[0].name == "fc"


def test_evaluation_explains_dropouts_strength():
    net = tinynet.Sequential([layers.Flatten("flat"), layers.Dropout("drop", keep=0.25)], (1, 2, 2),
                             np.random.default_rng(0), "float64")
    net.eval()
    traced = Trace(net, np.full((1, 1, 2, 2), 8.0)).run()
    assert traced["drop"].saved is None
    seen = explain(traced, "drop", (0, 3))
    assert seen.value == 2 and list(seen.terms) == ["x", "factor", "product"] and seen.lines[0][0] == "y = x * factor"
    assert seen.where == "evaluation: every unit is used, times keep = 0.25"
    net["drop"].inverted = True
    seen = explain(Trace(net, np.full((1, 1, 2, 2), 8.0)).run(), "drop", (0, 3))
    assert (seen.value, seen.where) == (8, "evaluation: inverted dropout changes nothing")


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
        (ValueError, "flat has no 'update' to explain; there is y, dx",
         lambda: explain(traced, "flat", (0, 0), "update")),
        (ValueError, "update of fc needs an optimiser: Trace(net, x, labels, sgd=sgd)",
         lambda: explain(traced, "fc", (0, 0), "update")),
        (ValueError, "dw of fc is not there yet: the trace needs labels or dy, net.train() before, and trace.run()",
         lambda: explain(there, "fc", (0, 0), "update")),
        (TypeError, "fc.y takes a whole number for each axis as its index, not 1.5",
         lambda: explain(traced, "fc", (0, 1.5))),
        (TypeError, "fc.y takes a whole number for each axis as its index, not slice(None, None, None)",
         lambda: explain(traced, "fc", (0, slice(None)))),
        (TypeError, "fc.y takes a whole number for each axis as its index, not True",
         lambda: explain(traced, "fc", (0, True))),
        (TypeError, "fc.y takes a whole number for each axis as its index, not '1'",
         lambda: explain(traced, "fc", (0, "1"))),
        (ValueError, "fc has no 'beta'; there is y, dx, w, b, dw, db", lambda: uses(traced, "fc", 0, "beta")),
        (ValueError, "dx of fc is not there yet: the trace needs labels or dy, net.train() before, and trace.run()",
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
    with pytest.raises(ValueError, match="the backward pass needs training mode: call net.train"):
        Trace(net, x, dy=x)


def test_evaluation_ends_at_the_loss():
    traced = logits_of()
    traced.net.eval()
    forward = Trace(traced.net, traced["flat"].x, [2, 0, 1])
    assert [(step.name, step.direction) for step in forward] == [(name, "forward") for name in ("flat", "fc", "loss")]
    assert explain(forward, "loss", ()).value == pytest.approx(float(traced["loss"].y))
    with pytest.raises(ValueError, match="dx of fc is not there yet"):
        explain(forward, "fc", (0, 0), "dx")


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
    ("pool", "average ceil", [("window_counts", "xp.minimum(s * xp.arange(count) - p + k, length)",
                                 "s * xp.arange(count) - p + k")]),
    ("lrn", "lrn groups", [("lrn_forward", "x * x, n, groups", "x * x, n, 1")]),
    ("lrn", "lrn", [("lrn_backward", "dx -= 2 *", "dx -= 0 *")]),
    ("lrn", "within", [("lrn_within_backward", "dx -= 2 *", "dx -=")]),
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
    ("conv", "y", "o // (layer.K // layer.groups) * CG", "0"),
    ("conv", "y", "x * w ", "x * w[:, ::-1] "),
    ("conv", "y", "products.sum() + b)", "products.sum())"),
    ("conv", "y", "start = channel, top, left", "start = channel, top, left + 1"),
    ("conv", "dw", "+ u - layer.pad[0]", "+ v - layer.pad[0]"),
    ("conv", "dw", "o // (layer.K // layer.groups) * CG + c", "c"),
    ("conv", "dx", "u = row + layer.pad[0] -", "u = row -"),
    ("conv", "dx", "start = q * KG,", "start = 0,"),
    ("explanation", "windows_with", "<= pixel", "< pixel"),
    ("explanation", "pick", "inside, a[clipped], 0.0", "True, a[clipped], 0.0"),
    ("pool", "y", "start = top, left", "start = left, top"),
    ("pool", "y", "x.mean()", "x.sum()"),
    ("pool", "dx", "[0].size for j", "[0].size + 1 for j"),
    ("pool", "dx", "* window.shape[1]", "* 2"),
    ("pool", "dx", "row + layer.pad[0]", "row"),
    ("pool", "_window", "i * SH - PH", "i * SH"),
    ("pool", "_window", "max(0, left):left", "max(0, left):max(0, left)"),
    ("lrn", "_window", "c // size * size + size - 1", "shape[1] - 1"),
    ("lrn", "_window", "w + half + 1", "w + half"),
    ("lrn", "dx", "- others)", "+ others)"),
    ("lrn", "dx", "np.array(place) + start", "np.array(place)"),
    ("dropout", "_multiplied", "value * number)", "value)"),
    ("flatten", "_moved", "host(source[place])", "host(source.ravel()[0])"),
    ("linear", "dx", '["w"][:, unit]', '["w"][:, 0]'),
    ("linear", "dw", "step.x[:, unit])\n", "step.x[:, 0])\n"),
    ("softmax", "y", "losses.mean()", "losses.sum()"),
    ("softmax", "dx", "wrong / N", "wrong"),
    ("softmax", "_softmax", "exps / exps.sum()", "exps"),
])
def test_a_wrong_explanation_is_found_out(file, function, old, new):
    assert objection(file, [(function, old, new)])


def test_the_checks_let_the_right_one_through():
    for file in ("conv", "pool", "lrn", "explanation"):
        assert objection(file, []) is None
