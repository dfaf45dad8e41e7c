"""Every gradient against centred differences, on every rung, over the whole table and at AlexNet's own shapes."""

import numpy as np
import pytest
from shape_table import Case, cases, conv, lrn, lrn_within, normal, places, pool, rung

from tinynet.backend import to_device, to_numpy
from tinynet.gradcheck import compare, numeric_gradient, rounding

TOLERANCE = 1e-6
SAMPLES = {"reference": 20}  # a loop per index is slow: a sample of each array. Other rungs: up to ENOUGH
ENOUGH = 150


def gradient_check(rung, case, device="cpu", samples=ENOUGH, tolerance=TOLERANCE):
    """AssertionError unless backward gives the slope of sum(forward * dy) in every argument that has a gradient.

    dy is random. `samples`: how many elements of each array are nudged; all, if it has no more.
    """
    host = case.arrays()
    arrays = host if device == "cpu" else case.arrays(device=device)
    made = case.forward(rung, arrays)
    y = next(iter(made.values()))
    dy = case.upstream(y.shape)
    floor = rounding(np.linalg.norm(to_numpy(y) * dy))
    gradients = case.backward(rung, to_device(dy, device), arrays, made)
    rng = np.random.default_rng(0)
    for name, gradient in gradients.items():
        assert gradient.shape == host[name].shape, f"{case}: d{name} has shape {gradient.shape}, not {host[name].shape}"

        def f(name=name):
            y = next(iter(case.forward(rung, {**arrays, name: to_device(host[name], device)}).values()))
            return float(np.sum(to_numpy(y) * dy))

        flat = rng.choice(host[name].size, min(samples, host[name].size), replace=False)
        indices = [tuple(map(int, np.unravel_index(i, host[name].shape))) for i in flat]
        numeric = numeric_gradient(f, host[name], indices=indices)
        report = compare(f"{case} d{name}", to_numpy(gradient), numeric, indices, tolerance, floor)
        assert report.ok, report


DIFFERENTIABLE = [parameter for parameter in cases(smooth_only=True) if parameter.values[0].has_backward]


@pytest.mark.parametrize("case", DIFFERENTIABLE)
@pytest.mark.parametrize("name, device", places())
def test_gradients(name, device, case):
    gradient_check(rung(name), case, device, SAMPLES.get(name, ENOUGH))


def drawn(shape):
    """So many `distinct` numbers would be large ones, whose sums lose digits. And in none of the few windows that the
    sample touches are the two largest within a nudge of each other."""
    return normal(x=shape)


# AlexNet's layers as the paper has them. What only goes wrong at size (an index that overflows, columns that are cut
# into pieces) is seen here or nowhere.
ALEXNET = [
    conv("conv1", (4, 3, 227, 227), (96, 3, 11, 11), stride=4),
    conv("conv2", (1, 96, 27, 27), (256, 48, 5, 5), pad=2, groups=2),
    conv("conv3", (2, 256, 13, 13), (384, 256, 3, 3), pad=1),
    conv("conv4", (1, 384, 13, 13), (384, 192, 3, 3), pad=1, groups=2),
    conv("conv5", (1, 384, 13, 13), (256, 192, 3, 3), pad=1, groups=2),
    pool("pool1", (1, 96, 55, 55), fill=drawn),
    pool("pool2", (1, 256, 27, 27), fill=drawn),
    pool("pool5", (2, 256, 13, 13), fill=drawn),
    lrn("lrn1", (1, 96, 55, 55)),
    lrn("lrn1 on two GPUs", (1, 96, 55, 55), groups=2),
    lrn("lrn2", (2, 256, 27, 27)),
    lrn_within("within the maps of layer 2", (1, 256, 13, 13)),
    Case("linear", "fc6", normal(x=(2, 9216), w=(4096, 9216), b=(4096,)), {}),
    Case("linear", "fc8", normal(x=(2, 4096), w=(1000, 4096), b=(1000,)), {}),
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name.replace(" ", "_")) for case in ALEXNET])
def test_gradients_at_alexnets_shapes(case):
    slow = case.name in ("conv1", "fc6")  # conv1 has four images, to be cut into pieces; fc6 reads 300 MB
    gradient_check(rung("ops"), case, samples=8 if slow else 24)
