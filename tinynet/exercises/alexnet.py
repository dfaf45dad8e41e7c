"""Lesson 13: multiply-accumulates of a layer, receptive fields, parameters of a network."""

from tinynet.exercises.check import Case, judge

# ---------------------------------------------------------------------------------------- conv_macs


def _right_macs(channels, kernels, size, groups, out):
    return kernels * out**2 * size**2 * (channels // groups)


MACS_MISTAKES = {
    "a kernel sees only the channels of its group: channels // groups of them":
        lambda channels, kernels, size, groups, out: _right_macs(channels, kernels, size, 1, out),
    "groups divide the channels that a kernel sees; they do not divide the kernels as well, all "
    "of which are there":
        lambda channels, kernels, size, groups, out: _right_macs(channels, kernels, size, groups,
                                                                 out) // groups,
    "you counted the weights; each weight is used once for every pixel of the map, out * out times":
        lambda channels, kernels, size, groups, out: _right_macs(channels, kernels, size, groups,
                                                                 1),
    "a map has out * out pixels, not out":
        lambda channels, kernels, size, groups, out: _right_macs(channels, kernels, size, groups,
                                                                 out) // out,
    "each kernel makes its own map; you counted the work of one kernel":
        lambda channels, kernels, size, groups, out: _right_macs(channels, kernels, size, groups,
                                                                 out) // kernels,
    "adding a bias is not a multiplication: count only the weights":
        lambda channels, kernels, size, groups, out:
            _right_macs(channels, kernels, size, groups, out) + kernels * out**2,
}


def check_conv_macs(conv_macs):
    """Check conv_macs(channels, kernels, size, groups, out).

    It returns the multiply-accumulates of a layer for one picture, an int.
    """
    def case(says, *numbers):
        given = dict(zip(("channels", "kernels", "size", "groups", "out"), numbers))
        return Case(says, given, _right_macs(**given), tolerance=0)
    return judge(conv_macs, [case("a small one", 2, 3, 2, 1, 4), case("conv1", 3, 96, 11, 1, 55),
                             case("conv2, in two groups", 96, 256, 5, 2, 27),
                             case("conv5, in two groups", 384, 256, 3, 2, 13)], MACS_MISTAKES)


# ---------------------------------------------------------------------------------- receptive_field

def _field(windows, wider=lambda kernel, stride: kernel - 1, late=True,
           further=lambda jump, stride: jump * stride):
    field, jump = 1, 1
    for kernel, stride in windows:
        jump = jump if late else further(jump, stride)
        field += wider(kernel, stride) * jump
        jump = further(jump, stride) if late else jump
    return field


FIELD_MISTAKES = {
    "a window of `kernel` units reaches kernel - 1 jumps past its first": lambda windows:
        _field(windows, lambda kernel, stride: kernel),
    "a layer's own stride moves only its own windows apart: it counts from the next layer on":
        lambda windows:
        _field(windows, late=False),
    "strides multiply: after strides of 4 and 2, neighbours are 8 pixels apart, not 6":
        lambda windows:
        _field(windows, further=lambda jump, stride: jump + stride if jump > 1 else stride),
    "you left out the strides: in higher layers, neighbouring units are several pixels apart":
        lambda windows:
        _field(windows, further=lambda jump, stride: jump),
    "you returned the jump, the distance in pixels between two neighbouring units of the last "
    "layer":
        lambda windows:
        _product(stride for _, stride in windows),
}


def _product(numbers):
    result = 1
    for number in numbers:
        result *= number
    return result


def check_receptive_field(receptive_field):
    """Check receptive_field(windows).

    It returns how many pixels, in one direction, a unit of the last layer sees, an int; windows:
    [(kernel, stride), ...].
    """
    def case(says, windows):
        return Case(says, {"windows": windows}, _field(windows), tolerance=0)
    conv1, pool, conv2, conv3 = (11, 4), (3, 2), (5, 1), (3, 1)
    return judge(receptive_field, [
        case("AlexNet's conv1", [conv1]), case("conv1, pool1", [conv1, pool]),
        case("up to conv2", [conv1, pool, conv2]), case("up to pool2", [conv1, pool, conv2, pool]),
        case("up to pool5", [conv1, pool, conv2, pool, conv3, conv3, conv3, pool]),
        case("three of 3", [conv3, conv3, conv3])], FIELD_MISTAKES)


# ------------------------------------------------------------------------------- network_parameters

def _parameters(channels, convs, side, units, biases=True, grouped=True, follow=True):
    total = 0
    for kernels, size, groups in convs:
        total += kernels * (channels // (groups if grouped else 1)) * size**2 + biases * kernels
        channels = kernels if follow else channels
    inputs = convs[-1][0] * side**2
    for outputs in units:
        total += outputs * inputs + biases * outputs
        inputs = outputs
    return total


PARAMETERS_MISTAKES = {
    "each kernel and each unit has a bias too": lambda **given: _parameters(**given, biases=False),
    "a kernel sees only the channels of its group":
        lambda **given: _parameters(**given, grouped=False),
    "each layer reads what the layer before made: its kernels are the next one's channels":
        lambda **given:
        _parameters(**given, follow=False),
    "the first fully connected layer has a weight for every pixel of the last maps, kernels * side "
    "* side of them":
        lambda **given: _parameters(**{**given, "side": 1}),
    "the fully connected layers are missing": lambda **given: _parameters(**{**given, "units": []}),
}


def check_network_parameters(network_parameters):
    """Check network_parameters(channels, convs, side, units).

    It returns how many numbers the network learns, an int.
    """
    def case(says, channels, convs, side, units):
        given = {"channels": channels, "convs": convs, "side": side, "units": units}
        return Case(says, given, _parameters(**given), tolerance=0)
    alexnet = [(96, 11, 1), (256, 5, 2), (384, 3, 1), (384, 3, 2), (256, 3, 2)]
    return judge(network_parameters, [
        case("one of each", 1, [(2, 3, 1)], 4, [5]),
        case("two of each, in groups", 3, [(4, 3, 1), (6, 3, 2)], 5, [7, 2]),
        case("AlexNet", 3, alexnet, 6, [4096, 4096, 1000]),
        case("AlexNet, ten classes", 3, alexnet, 6, [4096, 4096, 10])], PARAMETERS_MISTAKES)
