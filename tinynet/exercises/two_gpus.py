"""Lesson 21: bytes that cross, the gradient of a divided layer, a ring, a sum in a tree."""

import functools
import operator

import numpy as np

from tinynet.exercises.check import Case, judge

# ----------------------------------------------------------------------------------- crossing_bytes

CROSSING_MISTAKES = {
    "a float32 number has 4 bytes": lambda N, C, side: N * C // 2 * side**2,
    "each GPU sends its own half of the maps only": lambda N, C, side: 4 * N * C * side**2,
    "every picture of the batch has maps of its own": lambda N, C, side: 4 * (C // 2) * side**2,
    "a map is side pixels wide and side pixels high": lambda N, C, side: 4 * N * (C // 2) * side,
}


def check_crossing_bytes(crossing_bytes):
    """Check crossing_bytes(N, C, side).

    It returns how many bytes each of two GPUs sends to the other, an int.
    """
    return judge(crossing_bytes, [
        Case(says, {"N": N, "C": C, "side": side}, 2 * N * C * side**2, 0)
        for says, N, C, side in (("a small one", 3, 4, 5), ("conv3, one picture", 1, 256, 13),
                                 ("fc6, a batch", 128, 256, 6))], CROSSING_MISTAKES)


# ------------------------------------------------------------------------------- own_input_gradient

def _halves(w):
    return np.split(w, 2, axis=1)


INPUT_MISTAKES = {
    "GPU 2 has used your inputs, too: add what it computed for them":
        lambda w, dy, received: _halves(w)[0].T @ dy,
    "this is the part that GPU 2 needs; your own inputs are the first half":
        lambda w, dy, received: _halves(w)[1].T @ dy + received,
    "parts of one gradient are added": (
        lambda w, dy, received: _halves(w)[0].T @ dy - received,
        lambda w, dy, received: (_halves(w)[0].T @ dy + received) / 2),
    "this is only what was received; add the part of your own outputs":
        lambda w, dy, received: received,
}


def check_own_input_gradient(own_input_gradient):
    """Check own_input_gradient(w, dy, received).

    It returns dx of the first half of the inputs, (IN / 2,).
    """
    def case(says, OUT, IN):
        rng = np.random.default_rng(OUT)
        given = {"w": rng.integers(-3, 4, (OUT // 2, IN)).astype(float),
                 "dy": rng.integers(-3, 4, OUT // 2).astype(float),
                 "received": rng.integers(1, 5, IN // 2).astype(float)}
        return Case(says, given, _halves(given["w"])[0].T @ given["dy"] + given["received"])
    return judge(own_input_gradient, [case("two outputs in all", 2, 4),
                                      case("six outputs in all", 6, 8)], INPUT_MISTAKES)


# --------------------------------------------------------------------------------------- ring_bytes

RING_MISTAKES = {
    "a float32 number has 4 bytes": lambda n, P: 2 * (P - 1) * n // P,
    "complete pieces go round, too: P - 1 steps more": lambda n, P: 4 * (P - 1) * n // P,
    "count one rank, which sends one piece of n / P numbers in each step":
        lambda n, P: 8 * (P - 1) * n,
    "a piece needs P - 1 steps to be complete, not P": lambda n, P: 8 * n,
}


def check_ring_bytes(ring_bytes):
    """Check ring_bytes(n, P).

    It returns how many bytes each rank sends in an all-reduce of n numbers, an int.
    """
    return judge(ring_bytes, [
        Case(says, {"n": n, "P": P}, 8 * (P - 1) * (n // P), 0)
        for says, n, P in (("two ranks", 6, 2), ("four ranks", 400, 4),
                           ("one rank sends nothing", 5, 1),
                           ("fc6 on 64 ranks", 37_752_832, 64))], RING_MISTAKES)


# ----------------------------------------------------------------------------------------- tree_sum

def _tree(rows):
    """Return ((0 + 1) + (2 + 3)) + ..."""
    half = len(rows) // 2
    return _tree(rows[:half]) + _tree(rows[half:]) if half else rows[0]


def _other_tree(rows):
    """Return (0 + 2) + (1 + 3), the tree whose first partners are half of the rows apart."""
    half = len(rows) // 2
    return _other_tree(rows[:half] + rows[half:]) if half else rows[0]


TREE_MISTAKES = {
    "this adds one shard after the other; add neighbours first, then the sums of neighbours":
        lambda gradients: functools.reduce(operator.add, gradients),
    "partners in the first step are neighbours, 0 and 1, 2 and 3":
        lambda gradients: _other_tree(gradients),
    "this is a mean; the gradient of the batch is the sum":
        lambda gradients: _tree(gradients) / len(gradients),
}


def check_tree_sum(tree_sum):
    """Check tree_sum(gradients).

    It returns the sum of gradients (S, n) in the order of a binary tree, (n,).
    """
    def case(says, *columns):
        gradients = np.array(columns, np.float32).T.copy()
        return Case(says, {"gradients": gradients}, _tree(gradients), 0)  # to the last bit
    big = 2**24  # big + 1 is rounded to big
    return judge(tree_sum, [
        case("two shards", [1, 2], [3, 5]), case("four shards", [big, 1, 1, 1], [1, 1, big, -big]),
        case("one shard", [3], [4]),
        case("eight shards", [big, 1, 1, 1, -big, 1, 1, 1], [1, big, 1, -big, 1, 1, 1, 1])],
        TREE_MISTAKES)
