"""Solutions of lesson 05. Try first: the checks tell you what is wrong."""


def gradient_of_weights(dy, x):
    return dy.T @ x


def gradient_of_input(dy, w):
    return dy @ w


def gradient_of_first_layer(dz, x, w1, w2):
    a = x @ w1.T
    da = dz @ w2 * (a > 0)
    return da.T @ x
