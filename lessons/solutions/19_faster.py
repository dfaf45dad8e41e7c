"""Solutions of lesson 19. Try first: the checks tell you what is wrong."""


def column_bytes(N, C, size, kernel, stride, pad):
    windows = (size + 2 * pad - kernel) // stride + 1
    numbers = C * kernel * kernel * windows * windows
    return 4 * N * numbers


def linear_intensity(N, IN, OUT):
    operations = 2 * N * IN * OUT
    numbers = N * IN + OUT * IN + N * OUT
    return operations / (4 * numbers)


def tile_reads(T, R):
    rounds = -(-R // T)
    return rounds * 2 * T * T
