"""Lesson 19: bytes of the columns, operations per byte, reads of a tile."""

from tinynet.exercises.check import Case, judge
from tinynet.shapes import ceil_div, output_size

# ------------------------------------------------------------------------------------- column_bytes


def _right_bytes(N, C, size, kernel, stride, pad):
    return 4 * N * C * kernel**2 * output_size(size, kernel, stride, pad)**2


BYTES_MISTAKES = {
    "a float32 number has 4 bytes": lambda **given: _right_bytes(**given) // 4,
    "you counted one picture; each picture of the batch has its columns":
        lambda N, **given: _right_bytes(1, **given),
    "a window spans all channels": lambda C, **given: _right_bytes(C=1, **given),
    "there is a column for each window, not for each pixel of x":
        lambda N, C, size, kernel, stride, pad:
        4 * N * C * kernel**2 * size**2,
    "windows lie across and down: square their number": lambda N, C, size, kernel, stride, pad:
        4 * N * C * kernel**2 * output_size(size, kernel, stride, pad),
    "a window is kernel pixels wide and kernel pixels high": lambda kernel, **given:
        _right_bytes(kernel=kernel, **given) // kernel,
}


def check_column_bytes(column_bytes):
    """Check column_bytes(N, C, size, kernel, stride, pad).

    It returns the bytes of the columns in float32, an int.
    """
    def case(says, *numbers):
        given = dict(zip(("N", "C", "size", "kernel", "stride", "pad"), numbers))
        return Case(says, given, _right_bytes(**given), 0)  # to the last byte
    return judge(column_bytes, [
        case("a small one", 2, 7, 11, 3, 2, 0), case("conv1, one picture", 1, 3, 227, 11, 4, 0),
        case("conv2, a batch", 128, 96, 27, 5, 1, 2),
        case("conv3, a batch", 128, 256, 13, 3, 1, 1)], BYTES_MISTAKES)


# --------------------------------------------------------------------------------- linear_intensity

def _intensity(work, numbers, itemsize=4):
    return lambda N, IN, OUT: work(N, IN, OUT) / (itemsize * numbers(N, IN, OUT))


def _work(N, IN, OUT):
    return 2 * N * IN * OUT


def _moved(N, IN, OUT):
    return N * IN + IN * OUT + N * OUT


INTENSITY_MISTAKES = {
    "a multiplication and an addition are two operations":
        _intensity(lambda *n: _work(*n) / 2, _moved),
    "count per byte, not per number: a float32 number has 4 bytes": _intensity(_work, _moved, 1),
    "the weights are read, too": _intensity(_work, lambda N, IN, OUT: N * IN + N * OUT),
    "the weights are read once, for all pictures":
        _intensity(_work, lambda N, IN, OUT: N * (IN + IN * OUT + OUT)),
    "y is written, too": _intensity(_work, lambda N, IN, OUT: N * IN + IN * OUT),
    "x is read, too": _intensity(_work, lambda N, IN, OUT: N * OUT + IN * OUT),
    "your fraction is inverted: divide the operations by the bytes":
        lambda **given: 1 / _intensity(_work, _moved)(**given),
}


def check_linear_intensity(linear_intensity):
    """Check linear_intensity(N, IN, OUT).

    It returns the operations per byte of a fully connected layer, forward.
    """
    def case(says, *numbers):
        given = dict(zip(("N", "IN", "OUT"), numbers))
        return Case(says, given, _intensity(_work, _moved)(**given))
    return judge(linear_intensity,
                 [case("a small one", 2, 3, 5), case("fc6, one picture", 1, 9216, 4096),
                                    case("fc6, a batch", 128, 9216, 4096)], INTENSITY_MISTAKES)


# --------------------------------------------------------------------------------------- tile_reads

READS_MISTAKES = {
    "a round reads two tiles: one of weights, one of pixels": lambda T, R: T * T * ceil_div(R, T),
    "that is version 1, where every thread reads its own numbers; a number in a tile is used for T "
    "products":
        lambda T, R: 2 * T * T * R,
    "an incomplete last round counts as a round: round up": lambda T, R: 2 * T * T * (R // T),
    "a tile has T x T numbers": lambda T, R: 2 * T * ceil_div(R, T),
}


def check_tile_reads(tile_reads):
    """Check tile_reads(T, R).

    It returns how many numbers a block reads for T x T outputs of R products each, an int.
    """
    return judge(tile_reads, [Case(says, {"T": T, "R": R}, 2 * T * T * ceil_div(R, T))
                              for says, T, R in (
        ("a small one", 4, 8), ("conv2", 16, 1200),
        ("conv1, whose last round is not full", 16, 363))], READS_MISTAKES)
