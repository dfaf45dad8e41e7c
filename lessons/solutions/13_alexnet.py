"""Solutions of lesson 13. Try first: the checks tell you what is wrong."""


def conv_macs(channels, kernels, size, groups, out):
    weights = size * size * (channels // groups)
    return kernels * out * out * weights


def receptive_field(windows):
    field, jump = 1, 1
    for kernel, stride in windows:
        field += (kernel - 1) * jump
        jump *= stride
    return field


def network_parameters(channels, convs, side, units):
    total = 0
    for kernels, size, groups in convs:
        total += kernels * (channels // groups) * size**2 + kernels
        channels = kernels
    inputs = channels * side**2
    for outputs in units:
        total += outputs * inputs + outputs
        inputs = outputs
    return total
