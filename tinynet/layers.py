"""Layers: what an op does not keep. Parameters, gradients, and what backward will need. No arithmetic: ops do that.

A layer is made from its own sizes alone; `build` gives it parameters once the shape of its input is known, so that a
network can be written down as a table. Shapes here include the batch: (N, C, H, W), or (N, units) after Flatten.
"""

import math

from tinynet import backend, init, ops, shapes


class Layer:
    """The base of all layers, and the one that does nothing.

    name      "conv1"; unique in its network
    params    {"w": array, "b": array} or {}
    grads     the same keys after backward, which overwrites them: nothing to zero, nothing to forget
    buffers   {"mean": array} or {}: arrays that no gradient changes, such as running means; they are
              saved and loaded with the parameters
    training  True: forward keeps what backward needs; False: it keeps nothing
    ops       the rung that computes: tinynet.ops, tinynet.reference, ...
    """

    def __init__(self, name):
        self.name = name
        self.params, self.grads, self.buffers = {}, {}, {}
        self.lr_mult, self.decay_mult = {}, {}  # per parameter, where they are not 1
        self.training = True
        self.ops = ops
        self._saved = None

    def build(self, in_shape, rng, dtype):
        """Draw the parameters for inputs of in_shape from rng."""

    def output_shape(self, in_shape):
        """The shape that comes out for in_shape, without computing anything. Raises ShapeError in this layer's name."""
        return in_shape

    def macs(self, in_shape):
        """Multiply-accumulates of one forward pass on in_shape."""
        return 0

    def forward(self, x):
        """x -> y. In training, keeps what backward needs."""
        return x

    def backward(self, dy):
        """dL/dy -> dL/dx; overwrites grads and frees what forward kept. Raises RuntimeError without such a forward."""
        return dy

    def save_for_backward(self, *arrays):
        """Keep what backward needs. In evaluation mode nothing is kept."""
        self._saved = arrays if self.training else None

    def saved(self):
        """Return what forward saved, and free it.

        Raises   RuntimeError where there was no forward pass in training mode
        """
        if self._saved is None:
            raise RuntimeError(f"{self.name}: backward needs a forward in training mode before it, and each only once")
        arrays, self._saved = self._saved, None
        return arrays

    def __repr__(self):
        return f"{type(self).__name__}({self.name!r})"


class Conv2d(Layer):
    """Convolution with K kernels of `size` pixels.

    Args     size, stride, pad: int or (height, width); groups: kernels of a group see only that group's channels;
             std, bias: initial values; decay: multiplies the weight decay of the weights; bias_lr, bias_decay: the rate
             and the weight decay of the biases;
             ceil: output sizes as the 2012 code's; need_dx=False: the input is a picture, nobody asks for its gradient
    """

    def __init__(self, name, K, size, stride=1, pad=0, groups=1, std=0.01, bias=0.0, decay=1, bias_lr=1,
                 bias_decay=1, ceil=False, need_dx=True):
        super().__init__(name)
        self.K, self.size, self.stride, self.pad = K, shapes.pair(size), shapes.pair(stride), shapes.pair(pad)
        self.groups, self.std, self.bias, self.ceil, self.need_dx = groups, std, bias, ceil, need_dx
        self.lr_mult, self.decay_mult = {"b": bias_lr}, {"w": decay, "b": bias_decay}

    def weight_shape(self, in_shape):
        shapes.require_axes(self.name, "x", in_shape, 4)
        if in_shape[1] % self.groups:
            raise shapes.ShapeError(f"{self.name}: {in_shape[1]} channels of x {tuple(in_shape)} cannot be divided "
                                    f"into groups={self.groups}")
        return self.K, in_shape[1] // self.groups, *self.size

    def build(self, in_shape, rng, dtype):
        self.params = {"w": init.gaussian(rng, self.weight_shape(in_shape), self.std, dtype),
                       "b": init.constant(self.K, self.bias, dtype)}

    def output_shape(self, in_shape):
        w_shape = self.params["w"].shape if self.params else self.weight_shape(in_shape)
        return shapes.conv2d_shape(self.name, in_shape, w_shape, self.stride, self.pad, self.groups, self.ceil)

    def macs(self, in_shape):
        return math.prod(self.output_shape(in_shape)) * math.prod(self.weight_shape(in_shape)[1:])

    def forward(self, x):
        self.output_shape(x.shape)
        self.save_for_backward(x)
        return self.ops.conv2d_forward(x, self.params["w"], self.params["b"], self.stride, self.pad, self.groups,
                                       self.ceil)

    def backward(self, dy):
        x, = self.saved()
        dx, dw, db = self.ops.conv2d_backward(dy, x, self.params["w"], self.stride, self.pad, self.groups, self.ceil,
                                              self.need_dx)
        self.grads = {"w": dw, "b": db}
        return dx


class MaxPool(Layer):
    """Max-pooling over windows of `size` pixels, `stride` apart; they overlap where size > stride.

    Args     size, stride, pad: int or (height, width); padding is never the largest; ceil as for Conv2d
    """

    def __init__(self, name, size, stride, pad=0, ceil=False):
        super().__init__(name)
        self.size, self.stride, self.pad = shapes.pair(size), shapes.pair(stride), shapes.pair(pad)
        self.ceil = ceil

    def output_shape(self, in_shape):
        return shapes.pool_shape(self.name, in_shape, self.size, self.stride, self.pad, self.ceil)

    def forward(self, x):
        self.output_shape(x.shape)
        y, argmax = self.ops.maxpool_forward(x, self.size, self.stride, self.pad, self.ceil)
        self.save_for_backward(argmax, x.shape)
        return y

    def backward(self, dy):
        argmax, in_shape = self.saved()
        return self.ops.maxpool_backward(dy, argmax, in_shape, self.size, self.stride, self.pad, self.ceil)


class AvgPool(Layer):
    """The mean over windows of `size` pixels, `stride` apart; of a window at the edge, of the pixels inside.

    Args     size, stride, pad: int or (height, width); padding does not count; ceil as for Conv2d
    """

    def __init__(self, name, size, stride, pad=0, ceil=False):
        super().__init__(name)
        self.size, self.stride, self.pad = shapes.pair(size), shapes.pair(stride), shapes.pair(pad)
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
    """Local response normalisation across n channels; windows stop at the borders between groups."""

    def __init__(self, name, n=5, k=2, alpha=1e-4, beta=0.75, groups=1):
        super().__init__(name)
        self.n, self.k, self.alpha, self.beta, self.groups = n, float(k), float(alpha), float(beta), groups

    def output_shape(self, in_shape):
        return shapes.lrn_shape(self.name, in_shape, self.n, self.groups)

    def forward(self, x):
        self.output_shape(x.shape)
        y, scale = self.ops.lrn_forward(x, self.n, self.k, self.alpha, self.beta, self.groups)
        self.save_for_backward(x, y, scale)
        return y

    def backward(self, dy):
        x, y, scale = self.saved()
        return self.ops.lrn_backward(dy, x, y, scale, self.n, self.alpha, self.beta, self.groups)


class LRNWithin(Layer):
    """Normalisation within each map, over n x n pixels: the 2012 code's layer that the paper does not mention."""

    def __init__(self, name, n=5, k=1, alpha=0.001 / 25, beta=0.75):
        super().__init__(name)
        self.n, self.k, self.alpha, self.beta = n, float(k), float(alpha), float(beta)

    def output_shape(self, in_shape):
        return shapes.lrn_shape(self.name, in_shape, self.n)

    def forward(self, x):
        self.output_shape(x.shape)
        y, scale = self.ops.lrn_within_forward(x, self.n, self.k, self.alpha, self.beta)
        self.save_for_backward(x, y, scale)
        return y

    def backward(self, dy):
        x, y, scale = self.saved()
        return self.ops.lrn_within_backward(dy, x, y, scale, self.n, self.alpha, self.beta)


class ReLU(Layer):
    """max(0, x)."""

    def forward(self, x):
        y = self.ops.relu_forward(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        y, = self.saved()
        return self.ops.relu_backward(dy, y)


class LeakyReLU(Layer):
    """x where positive, slope * x where not."""

    def __init__(self, name, slope=0.01):
        super().__init__(name)
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
    """The saturating unit of the paper's figure 1."""

    def forward(self, x):
        y = self.ops.tanh_forward(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        y, = self.saved()
        return self.ops.tanh_backward(dy, y)


class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    def forward(self, x):
        y = self.ops.sigmoid_forward(x)
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        y, = self.saved()
        return self.ops.sigmoid_backward(dy, y)


class Flatten(Layer):
    """(N, C, H, W) -> (N, C*H*W): maps end, units begin."""

    def output_shape(self, in_shape):
        return in_shape[0], math.prod(in_shape[1:])

    def forward(self, x):
        self.save_for_backward(x.shape)
        return x.reshape(self.output_shape(x.shape))

    def backward(self, dy):
        in_shape, = self.saved()
        return dy.reshape(in_shape)


class Linear(Layer):
    """A fully connected layer of OUT units. std, bias, decay, bias_lr and bias_decay as for Conv2d."""

    def __init__(self, name, OUT, std=0.01, bias=0.0, decay=1, bias_lr=1, bias_decay=1):
        super().__init__(name)
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
        self.output_shape(x.shape)
        self.save_for_backward(x)
        return self.ops.linear_forward(x, self.params["w"], self.params["b"])

    def backward(self, dy):
        x, = self.saved()
        dx, dw, db = self.ops.linear_backward(dy, x, self.params["w"])
        self.grads = {"w": dw, "b": db}
        return dx


class Dropout(Layer):
    """Each unit is silent with probability 1 - keep, drawn anew for every unit of every image.

    Paper    4.2: no rescaling in training; at test every unit speaks, at keep = half its strength
    Args     inverted: divide by keep in training instead, and do nothing at test (Caffe, PyTorch)
    Differs  with the same rate and initial weights the two do not train alike: inverted doubles the next layer's input
    """

    def __init__(self, name, keep=0.5, inverted=False):
        super().__init__(name)
        if not 0 < keep <= 1:
            raise ValueError(f"{name}: keep={keep} must lie above 0 and at most at 1")
        self.keep_probability, self.inverted = float(keep), inverted
        self.rng = None

    def build(self, in_shape, rng, dtype):
        self.rng = rng  # the network's own: one seed, one sequence of draws

    def forward(self, x):
        if self.training:
            mask = backend.like(self.draw_mask(x.shape, x.dtype), x)
        else:
            mask = 1.0 if self.inverted else self.keep_probability
        self.save_for_backward(mask)
        return self.ops.dropout_forward(x, mask)

    def draw_mask(self, shape, dtype):
        """1 (or 1 / keep, if inverted) with probability keep, else 0; drawn on the host."""
        value = 1 / self.keep_probability if self.inverted else 1
        return init.bernoulli(self.rng, shape, self.keep_probability, value, dtype)

    def backward(self, dy):
        mask, = self.saved()
        return self.ops.dropout_backward(dy, mask)
