"""Solutions of lesson 11. Try first: the checks tell you what is wrong."""


def drop(x, kept, keep, inverted):
    mask = kept / keep if inverted else kept
    return (x * mask).astype(x.dtype)


def at_test(x, keep, inverted):
    return x.copy() if inverted else x * keep


def drop_gradient(dy, kept, keep, inverted):
    mask = kept / keep if inverted else kept
    return (dy * mask).astype(dy.dtype)
