"""Solutions of lesson 21. Try first: the checks tell you what is wrong."""


def crossing_bytes(N, C, side):
    own_maps = C // 2
    return 4 * N * own_maps * side * side


def own_input_gradient(w, dy, received):
    half = w.shape[1] // 2
    own = w[:, :half].T @ dy
    return own + received


def ring_bytes(n, P):
    piece = n // P
    steps = 2 * (P - 1)
    return 4 * steps * piece


def tree_sum(gradients):
    rows = list(gradients)
    while len(rows) > 1:
        rows = [rows[i] + rows[i + 1] for i in range(0, len(rows), 2)]
    return rows[0]
