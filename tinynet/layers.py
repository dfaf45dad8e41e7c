"""Layers: what a network remembers between two calls of an op.

A layer holds parameters, gradients and what backward will need. It does no arithmetic: the ops of
a rung do that. A layer is made from its own sizes alone; `build` gives it parameters once the shape
of its input is known, so that a network can be written down as a table. Shapes in this file include
the batch: (N, C, H, W), or (N, units) after Flatten.
"""

import importlib
import inspect
import math
import types

from tinynet import backend, init, ops, shapes
from tinynet.ops.pool import argmax_dtype
from tinynet.shapes import require_number, require_whole


class Layer:
    """The base class of all layers. On its own it passes its input on unchanged.

    name      "conv1"; unique in its network
    params    {"w": array, "b": array} or {}
    grads     the same keys after backward, which overwrites them: nothing has to be set to zero
    buffers   {"mean": array} or {}: arrays that no gradient changes, such as running means; they
              are saved and loaded with the parameters
    training  True: forward saves what backward needs; False: it saves nothing
    ops       the rung that computes: tinynet.ops, tinynet.reference, ...
    device    "cpu" or "gpu", where params and buffers live
    """

    saves = ()  # what forward saves for backward: "x", "y", and names of other arrays of y's shape
    shown = ()  # the attributes that repr shows

    def __init__(self, name):
        if not isinstance(name, str) or not name:
            kind = type(self)
            raise TypeError(f"the name of a layer must be a string and not empty, it is {name!r}: "
                            f"{kind.__name__}{inspect.signature(kind)}")
        self.name = name
        self.params, self.grads, self.buffers = {}, {}, {}
        self.lr_mult, self.decay_mult = {}, {}  # for each parameter, where they are not 1
        self.training, self.device, self.ops = True, "cpu", ops
        self._saved = None

    def build(self, in_shape, rng, dtype):
        """Make the parameters for inputs of in_shape, with initial values drawn from rng."""

    def output_shape(self, in_shape):
        """Return the shape of y for x of in_shape, without computing y.

        Raises   ShapeError, which names this layer
        """
        return in_shape

    def macs(self, in_shape):
        """Count the multiply-accumulates of one forward pass on in_shape."""
        return 0

    def saved_bytes(self, in_shape, itemsize):
        """Count the bytes that forward saves for backward, for each array by its name.

        Args     itemsize: the bytes of one number of the network
        """
        x, y = math.prod(in_shape), math.prod(self.output_shape(in_shape))
        return {name: (x if name == "x" else y) * itemsize for name in self.saves}

    def forward(self, x):
        """Compute y from x. In training mode, save what backward needs."""
        return x

    def backward(self, dy):
        """Compute dL/dx from dL/dy, overwrite grads, and free what forward saved.

        Raises   RuntimeError where there was no forward pass in training mode
        """
        return dy

    def __call__(self, x):
        return self.forward(x)

    def save_for_backward(self, *arrays):
        """Keep what backward needs. In evaluation mode nothing is kept."""
        self._saved = arrays if self.training else None

    def saved(self):
        """Return what forward saved, and free it.

        Raises   RuntimeError where there was no forward pass in training mode
        """
        if self._saved is None:
            raise RuntimeError(f"{self.name}: backward needs a forward in training mode before it, "
                               "and each forward allows one backward")
        arrays, self._saved = self._saved, None
        return arrays

    def __repr__(self):
        settings = [f"{name}={_short(getattr(self, name))}" for name in self.shown]
        return f"{type(self).__name__}({', '.join([repr(self.name), *settings])})"

    def __getstate__(self):
        """Return the attributes for copy and pickle; the rung is a module, so its name is used."""
        rung = self.ops.__name__ if isinstance(self.ops, types.ModuleType) else self.ops
        return {**vars(self), "ops": rung}

    def __setstate__(self, state):
        vars(self).update(state)
        if isinstance(self.ops, str):
            self.ops = importlib.import_module(self.ops)


def _require_built(layer, is_built):
    if not is_built:
        raise RuntimeError(f"{layer.name}: not built; put it into a Sequential, or call "
                           "build(x.shape, rng, dtype)")


def _short(value):
    """Return (3, 3) as "3", and every other value as repr gives it."""
    return repr(value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value)


def _pairs(where, *values):
    """Return sizes, strides or paddings as (height, width) pairs; a message says where."""
    try:
        return [shapes.pair(value) for value in values]
    except shapes.ShapeError as error:
        raise shapes.ShapeError(f"{where}: {error}") from None


class Conv2d(Layer):
    """Convolution with K kernels of `size` pixels.

    Args     size, stride, pad: int or (height, width); groups: the kernels of a group see only the
             channels of that group;
             std, bias: initial values of the weights, which are Gaussian, and of the biases;
             decay: multiplies the weight decay of the weights;
             bias_lr, bias_decay: multiply the learning rate and the weight decay of the biases;
             ceil: round output sizes up, as the 2012 code does;
             need_dx=False: the input is a picture, and backward does not compute its gradient
    """

    saves = ("x",)
    shown = ("K", "size", "stride", "pad", "groups")

    def __init__(self, name, K, size, stride=1, pad=0, groups=1, std=0.01, bias=0.0, decay=1,
                 bias_lr=1, bias_decay=1, ceil=False, need_dx=True):
        super().__init__(name)
        require_whole(name, K=K, groups=groups)
        require_number(name, bias=bias, decay=decay, bias_lr=bias_lr, bias_decay=bias_decay)
        require_number(name, least=0, std=std)
        self.size, self.stride, self.pad = _pairs(name, size, stride, pad)
        self.K, self.groups, self.std, self.bias = K, groups, std, bias
        self.ceil, self.need_dx = ceil, need_dx
        self.lr_mult, self.decay_mult = {"b": bias_lr}, {"w": decay, "b": bias_decay}

    def weight_shape(self, in_shape):
        """Return (K, C/G, KH, KW), the shape of the weights for inputs of in_shape."""
        shapes.require_axes(self.name, "x", in_shape, 4)
        if in_shape[1] % self.groups:
            raise shapes.ShapeError(f"{self.name}: {in_shape[1]} channels of x {tuple(in_shape)} "
                                    f"cannot be divided into groups={self.groups}")
        return self.K, in_shape[1] // self.groups, *self.size

    def build(self, in_shape, rng, dtype):
        self.params = {"w": init.gaussian(rng, self.weight_shape(in_shape), self.std, dtype),
                       "b": init.constant(self.K, self.bias, dtype)}

    def output_shape(self, in_shape):
        w_shape = self.params["w"].shape if self.params else self.weight_shape(in_shape)
        return shapes.conv2d_shape(self.name, in_shape, w_shape, self.stride, self.pad, self.groups,
                                   self.ceil)

    def macs(self, in_shape):
        return math.prod(self.output_shape(in_shape)) * math.prod(self.weight_shape(in_shape)[1:])

    def forward(self, x):
        _require_built(self, self.params)
        self.output_shape(x.shape)
        self.save_for_backward(x)
        return self.ops.conv2d_forward(x, self.params["w"], self.params["b"], self.stride, self.pad,
                                       self.groups, self.ceil)

    def backward(self, dy):
        x, = self.saved()
        self.grads = {}  # so that new gradients may take the memory of the old ones
        dx, dw, db = self.ops.conv2d_backward(dy, x, self.params["w"], self.stride, self.pad,
                                              self.groups, self.ceil, self.need_dx)
        self.grads = {"w": dw, "b": db}
        return dx


class MaxPool(Layer):
    """Max-pooling over windows of `size` pixels, `stride` apart; they overlap if size > stride.

    Args     size, stride, pad: int or (height, width); padding is never the largest;
             ceil: as for Conv2d
    """

    shown = ("size", "stride", "pad")

    def __init__(self, name, size, stride, pad=0, ceil=False):
        super().__init__(name)
        self.size, self.stride, self.pad = _pairs(name, size, stride, pad)
        self.ceil = ceil

    def output_shape(self, in_shape):
        return shapes.pool_shape(self.name, in_shape, self.size, self.stride, self.pad, self.ceil)

    def saved_bytes(self, in_shape, itemsize):
        """Count the bytes of argmax, whose numbers take a byte where the window is small enough."""
        return {"argmax": math.prod(self.output_shape(in_shape)) * argmax_dtype(self.size).itemsize}

    def forward(self, x):
        self.output_shape(x.shape)
        y, argmax = self.ops.maxpool_forward(x, self.size, self.stride, self.pad, self.ceil)
        self.save_for_backward(argmax, x.shape)
        return y

    def backward(self, dy):
        argmax, in_shape = self.saved()
        return self.ops.maxpool_backward(dy, argmax, in_shape, self.size, self.stride, self.pad,
                                         self.ceil)


class AvgPool(Layer):
    """The mean over windows of `size` pixels, `stride` apart.

    The mean of a window that reaches past the edge is that of the pixels inside the picture.

    Args     size, stride, pad: int or (height, width); padding does not count; ceil: as for Conv2d
    """

    shown = ("size", "stride", "pad")

    def __init__(self, name, size, stride, pad=0, ceil=False):
        super().__init__(name)
        self.size, self.stride, self.pad = _pairs(name, size, stride, pad)
        self.ceil = ceil

    def output_shape(self, in_shape):
        return shapes.pool_shape(self.name, in_shape, self.size, self.stride, self.pad, self.ceil)

    def forward(self, x):
        self.output_shape(x.shape)
        self.save_for_backward(x.shape)
        return self.ops.avgpool_forward(x, self.size, self.stride, self.pad, self.ceil)

    def backward(self, dy):
        in_shape, = self.saved()
        return self.ops.avgpool_backward(dy, in_shape, self.size, self.stride, self.pad, self.ceil)


class LRN(Layer):
    """Local response normalisation across n channels. Windows stop at the borders of groups."""

    saves = ("x", "scale")
    shown = ("n", "k", "alpha", "beta", "groups")

    def __init__(self, name, n=5, k=2, alpha=1e-4, beta=0.75, groups=1):
        super().__init__(name)
        require_whole(name, n=n, groups=groups)
        require_number(name, k=k, alpha=alpha, beta=beta)
        self.n, self.groups = n, groups
        self.k, self.alpha, self.beta = float(k), float(alpha), float(beta)

    def output_shape(self, in_shape):
        return shapes.lrn_shape(self.name, in_shape, self.n, self.groups)

    def forward(self, x):
        self.output_shape(x.shape)
        y, scale = self.ops.lrn_forward(x, self.n, self.k, self.alpha, self.beta, self.groups)
        self.save_for_backward(x, scale)
        return y

    def backward(self, dy):
        x, scale = self.saved()
        return self.ops.lrn_backward(dy, x, scale, self.n, self.alpha, self.beta, self.groups)


class LRNWithin(Layer):
    """Normalisation within each map, over n x n pixels.

    The 2012 code has this layer; the paper does not mention it.
    """

    saves = ("x", "scale")
    shown = ("n", "k", "alpha", "beta")

    def __init__(self, name, n=5, k=1, alpha=0.001 / 25, beta=0.75):
        super().__init__(name)
        require_whole(name, n=n)
        require_number(name, k=k, alpha=alpha, beta=beta)
        self.n, self.k, self.alpha, self.beta = n, float(k), float(alpha), float(beta)

    def output_shape(self, in_shape):
        return shapes.lrn_shape(self.name, in_shape, self.n)

    def forward(self, x):
        self.output_shape(x.shape)
        y, scale = self.ops.lrn_within_forward(x, self.n, self.k, self.alpha, self.beta)
        self.save_for_backward(x, scale)
        return y

    def backward(self, dy):
        x, scale = self.saved()
        return self.ops.lrn_within_backward(dy, x, scale, self.n, self.alpha, self.beta)


class ReLU(Layer):
    """max(0, x)."""

    saves = ("y",)

    def forward(self, x):
        y = self.ops.relu_forward(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        y, = self.saved()
        return self.ops.relu_backward(dy, y)


class LeakyReLU(Layer):
    """x where x is positive, slope * x elsewhere. 0 < slope < 1."""

    saves = ("y",)
    shown = ("slope",)

    def __init__(self, name, slope=0.01):
        super().__init__(name)
        require_number(name, slope=slope)
        if not 0 < slope < 1:
            raise ValueError(f"{name}: slope={slope} must lie between 0 and 1")
        self.slope = float(slope)

    def forward(self, x):
        y = self.ops.leaky_relu_forward(x, self.slope)
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        y, = self.saved()
        return self.ops.leaky_relu_backward(dy, y, self.slope)


class Tanh(Layer):
    """tanh(x), the saturating unit of figure 1 in the paper."""

    saves = ("y",)

    def forward(self, x):
        y = self.ops.tanh_forward(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        y, = self.saved()
        return self.ops.tanh_backward(dy, y)


class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    saves = ("y",)

    def forward(self, x):
        y = self.ops.sigmoid_forward(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        y, = self.saved()
        return self.ops.sigmoid_backward(dy, y)


class Flatten(Layer):
    """(N, C, H, W) -> (N, C*H*W): the maps end here, the fully connected layers begin."""

    def output_shape(self, in_shape):
        return in_shape[0], math.prod(in_shape[1:])

    def forward(self, x):
        self.save_for_backward(x.shape)
        return x.reshape(self.output_shape(x.shape))

    def backward(self, dy):
        in_shape, = self.saved()
        return dy.reshape(in_shape)


class Linear(Layer):
    """A fully connected layer of OUT units.

    Args     std, bias, decay, bias_lr, bias_decay: as for Conv2d
    """

    saves = ("x",)
    shown = ("OUT",)

    def __init__(self, name, OUT, std=0.01, bias=0.0, decay=1, bias_lr=1, bias_decay=1):
        super().__init__(name)
        require_whole(name, OUT=OUT)
        require_number(name, bias=bias, decay=decay, bias_lr=bias_lr, bias_decay=bias_decay)
        require_number(name, least=0, std=std)
        self.OUT, self.std, self.bias = OUT, std, bias
        self.lr_mult, self.decay_mult = {"b": bias_lr}, {"w": decay, "b": bias_decay}

    def build(self, in_shape, rng, dtype):
        shapes.require_axes(self.name, "x", in_shape, 2)
        self.params = {"w": init.gaussian(rng, (self.OUT, in_shape[1]), self.std, dtype),
                       "b": init.constant(self.OUT, self.bias, dtype)}

    def output_shape(self, in_shape):
        w_shape = self.params["w"].shape if self.params else (self.OUT, *in_shape[1:])
        return shapes.linear_shape(self.name, in_shape, w_shape)

    def macs(self, in_shape):
        return math.prod(self.output_shape(in_shape)) * in_shape[1]

    def forward(self, x):
        _require_built(self, self.params)
        self.output_shape(x.shape)
        self.save_for_backward(x)
        return self.ops.linear_forward(x, self.params["w"], self.params["b"])

    def backward(self, dy):
        x, = self.saved()
        self.grads = {}  # so that new gradients may take the memory of the old ones
        dx, dw, db = self.ops.linear_backward(dy, x, self.params["w"])
        self.grads = {"w": dw, "b": db}
        return dx


class Dropout(Layer):
    """In training, each unit of each image is set to 0 with probability 1 - keep.

    Paper    4.2: nothing is rescaled in training; at test time all units are used and their outputs
             multiplied by keep = 0.5
    Args     keep: above 0 and at most 1; inverted: divide by keep in training instead, and do
             nothing at test time (Caffe, PyTorch)
    Differs  with the same rate and the same initial weights the two do not train alike: in
             training, inverted dropout doubles what the next layer receives
    """

    saves = ("mask",)
    shown = ("keep", "inverted")

    def __init__(self, name, keep=0.5, inverted=False):
        super().__init__(name)
        require_number(name, keep=keep)
        if not 0 < keep <= 1:
            raise ValueError(f"{name}: keep={keep} must be above 0 and at most 1")
        self.keep, self.inverted = float(keep), inverted
        self.rng = None

    def build(self, in_shape, rng, dtype):
        self.rng = rng  # the network's own: one seed gives one sequence of random numbers

    def forward(self, x):
        if self.training:
            _require_built(self, self.rng)
            mask = backend.like(self.draw_mask(x.shape, x.dtype), x)
        else:
            mask = 1.0 if self.inverted else self.keep
        self.save_for_backward(mask)
        return self.ops.dropout_forward(x, mask)

    def draw_mask(self, shape, dtype):
        """Return a mask where the layer is: 1 with probability keep, else 0.

        The 1 is 1 / keep if the layer is inverted.
        """
        value = 1 / self.keep if self.inverted else 1
        return init.bernoulli(self.rng, shape, self.keep, value, dtype, self.device)

    def backward(self, dy):
        mask, = self.saved()
        return self.ops.dropout_backward(dy, mask)
