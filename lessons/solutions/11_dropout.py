"""Solutions of lesson 11. Try first: the checks tell you what is wrong."""


def drop(x, speaks, keep, inverted):
    mask = speaks / keep if inverted else speaks
    return (x * mask).astype(x.dtype)


def at_test(x, keep, inverted):
    return x.copy() if inverted else x * keep


def drop_gradient(dy, speaks, keep, inverted):
    mask = speaks / keep if inverted else speaks
    return (dy * mask).astype(dy.dtype)
