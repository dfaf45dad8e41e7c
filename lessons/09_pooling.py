# %% [markdown]
# # 05 · Overlapping pooling (重叠池化, in the notes 覆盖池化)
#
# *25 minutes. Before it: 08, convolution. Beside it: the paper, section 3.4, and `tinynet/reference/pool.py`.*
#
# After this lesson you can pool by hand, forward and backward, say what overlaps and what that changes in the backward
# pass, and correct a line of the notes.
#
# **In a sentence:** of each window of 3 x 3 activations only the largest goes on; windows are 2 apart, so that each
# shares a row or a column with the next.

# %%
import inspect

import numpy as np

import tinynet
from tinynet import data, exercises, figures, layers, ops, reference, shapes
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## By hand
#
# Windows of size z = 3 (池化窗口), s = 2 apart. Of 5 x 5 activations four windows are made, and the pixel in the
# middle lies in all four of them:

# %%
x = np.array([[1, 0, 2, 0, 3],
              [0, 4, 0, 1, 0],
              [5, 0, 9, 0, 2],
              [0, 1, 0, 6, 0],
              [7, 0, 8, 0, 1]], float)
y, argmax = ops.maxpool_forward(x[None, None], size=3, stride=2)
assert (y[0, 0] == [[9, 9], [9, 9]]).all()                 # the 9 wins all four

x[2, 2] = 0                                                # take it away
y, argmax = ops.maxpool_forward(x[None, None], size=3, stride=2)
assert (y[0, 0] == [[5, 3], [8, 8]]).all()                 # and the 8 in the last row wins the two below
figures.draw_numbers({"x": x, "y": y[0, 0]}, windows={"x": (2, 2, 3, 3), "y": (1, 1, 1, 1)}, signs=["->"])

# %% [markdown]
# Besides the largest, the layer keeps **where** it was: `argmax`, the pixel's number inside the window in reading
# order, 0 to 8. The backward pass will need nothing else.

# %%
assert argmax[0, 0, 1, 0] == 8                             # window (1, 0): the 8 is its last pixel
assert argmax[0, 0, 1, 1] == 6                             # window (1, 1): the same 8 is the first of its last row

# %% [markdown]
# ## In the network
#
# Pooling has no weights, and it takes each map by itself. (The notes write "kernel_size = 3 * 3 * 96": the 96 is
# wrong, nothing is mixed between channels.) Change one map, and only that map changes:

# %%
maps = rng.standard_normal((1, 96, 55, 55), dtype=np.float32)
before, _ = ops.maxpool_forward(maps, 3, 2)
assert before.shape == (1, 96, 27, 27)
maps[0, 40] += 1
changed = (ops.maxpool_forward(maps, 3, 2)[0] != before).any(axis=(0, 2, 3))
assert np.flatnonzero(changed).tolist() == [40]

# %% [markdown]
# Edges of the photo, and what is left of them after pooling once, twice and three times, as in AlexNet's pool1, pool2
# and pool5: fewer pixels, and the strongest answers survive.

# %%
photo = data.load_picture(figures.PHOTO, 113)
grey = (photo.mean(axis=0) - photo.mean())[None, None]     # (1, 1, 113, 113)
edge = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
x = ops.relu_forward(ops.conv2d_forward(grey, edge[None, None], np.zeros(1), 1, 1, 1))
pooled = [x]
for _ in range(3):
    pooled.append(ops.maxpool_forward(pooled[-1], 3, 2)[0])
sides = [a.shape[-1] for a in pooled]
assert sides == [113, 56, 27, 13]
assert pooled[3].mean() > 2 * x.mean()                     # the largest of each window: the mean goes up

for side, a in zip(sides, pooled):
    print(f"{side:>3} pixels: mean {a.mean():.1f}, largest {a.max():.1f}")
figures.draw_pictures([a[0, 0] for a in pooled], [f"{side} x {side}" for side in sides])

# %% [markdown]
# `explain` shows a window and its winner, outlined:

# %%
net = tinynet.Sequential([layers.MaxPool("pool", 3, 2)], (1, 113, 113), rng, "float64")
trace = Trace(net, x, dy=rng.standard_normal((1, 1, 56, 56))).run()
strongest = tuple(int(i) for i in np.unravel_index(trace["pool"].y.argmax(), (1, 1, 56, 56)))
seen = explain(trace, "pool", strongest)
assert seen.value == x.max()

figures.draw_explanation(seen)

# %% [markdown]
# ## What overlaps
#
# Older networks had windows of 2, 2 apart. Both make 27 of 55, so the choice changes no shape; what changes is in how
# many windows a pixel lies: in one, or in up to four.

# %%
assert shapes.output_size(55, 3, 2) == shapes.output_size(55, 2, 2) == 27


def windows_of_each_pixel(size, stride, side=9):
    ones = np.ones((1, 1, shapes.output_size(side, size, stride)) + (shapes.output_size(side, size, stride),))
    return ops.conv2d_backward(ones, np.zeros((1, 1, side, side)), np.ones((1, 1, size, size)), stride, 0, 1)[0][0, 0]


apart, overlapping = windows_of_each_pixel(2, 2), windows_of_each_pixel(3, 2)
assert apart.max() == 1 and overlapping.max() == 4
figures.draw_numbers({"windows of 2, 2 apart": apart, "windows of 3, 2 apart": overlapping})

# %% [markdown]
# (With windows of 2 the last row and column of 9 pixels are in none: the size is rounded down.) The paper found the
# error 0.4 points lower in top-1 and 0.3 in top-5 with overlap, and such networks "slightly" harder to overfit: less
# than the notes' 避免过拟合 promises.

# %% [markdown]
# ## Rounding, once more
#
# The 2012 program and Caffe round up here too, so that a last window may be cut off by the edge; PyTorch rounds down
# unless told otherwise. For AlexNet's 55, 27 and 13 it makes no difference; for 28 it does:

# %%
for side in (55, 27, 13):
    assert shapes.output_size(side, 3, 2) == shapes.output_size(side, 3, 2, ceil=True)
assert (shapes.output_size(28, 3, 2), shapes.output_size(28, 3, 2, ceil=True)) == (13, 14)

# %% [markdown]
# ## ReLU may come after
#
# Both keep order: what is larger before is larger after, or as large. So the largest of the ReLUs is the ReLU of the
# largest, and the program of 2012 pools first in two layers, and saves itself three quarters of the ReLUs:

# %%
signed = rng.standard_normal((1, 96, 55, 55), dtype=np.float32)
one = ops.maxpool_forward(ops.relu_forward(signed), 3, 2)[0]
other = ops.relu_forward(ops.maxpool_forward(signed, 3, 2)[0])
assert (one == other).all()
assert (signed.size, other.size) == (290_400, 69_984) and other.size < signed.size / 4

# %% [markdown]
# ## Backward: the winner takes it all
#
# If the largest activation of a window grows a little, so does y; if any other does, nothing happens. So the whole
# gradient goes to the winner, and a pixel that won several windows **adds up** theirs. The small example with the 8
# that won twice:

# %%
x = np.array([[1, 0, 2, 0, 3],
              [0, 4, 0, 1, 0],
              [5, 0, 0, 0, 2],
              [0, 1, 0, 6, 0],
              [7, 0, 8, 0, 1]], float)
dy = np.array([[10, 20], [30, 40]], float)
_, argmax = ops.maxpool_forward(x[None, None], 3, 2)
dx = ops.maxpool_backward(dy[None, None], argmax, (1, 1, 5, 5), 3, 2)[0, 0]
assert dx[4, 2] == 30 + 40                                 # the 8
assert (dx[2, 0], dx[0, 4]) == (10, 20)                    # the 5 and the 3
assert np.count_nonzero(dx) == 3

figures.draw_numbers({"x": x, "dy": dy, "dx": dx}, windows={"x": (2, 2, 3, 3), "dy": (1, 1, 1, 1), "dx": (4, 2, 1, 1)})

# %% [markdown]
# Write `=` where `+=` belongs, and the 8 gets 40 instead of 70. With windows that do not overlap nobody would notice,
# which is why pooling has to be tested with windows that do. Taken apart:

# %%
net = tinynet.Sequential([layers.MaxPool("pool", 3, 2)], (1, 5, 5), rng, "float64")
trace = Trace(net, x[None, None], dy=dy[None, None]).run()
seen = explain(trace, "pool", (0, 0, 4, 2), of="dx")
assert seen.value == 70
print(seen)

# %% [markdown]
# And the 6, in row 3, column 3? It lies in one window only, and lost it to the 8:

# %%
seen = explain(trace, "pool", (0, 0, 3, 3), of="dx")
assert seen.value == 0 and seen.where == "of the 1 windows that hold this pixel, it won 0"

# %% [markdown]
# **Ties.** Where several are equally large, we take the first in reading order, as Caffe does; the program of 2012
# gave each of them the whole gradient. Ties at 0 after a ReLU, of which there are many, do no harm either way: the
# ReLU lets no gradient through there.

# %%
tie = np.array([[3.0, 3.0], [1.0, 3.0]])[None, None]
_, argmax = ops.maxpool_forward(tie, 2, 2)
assert argmax.item() == 0
assert (ops.maxpool_backward(np.ones((1, 1, 1, 1)), argmax, tie.shape, 2, 2)[0, 0] == [[1, 0], [0, 0]]).all()

# %% [markdown]
# ## The formula as a program
#
# Index by index; then all windows at once, one comparison of whole arrays for each of the nine positions in a window.

# %%
print(inspect.getsource(reference.maxpool_forward))

# %%
print(inspect.getsource(ops.maxpool_forward))
print(inspect.getsource(ops.maxpool_backward))
assert (reference.maxpool_forward(x[None, None], 3, 2)[0] == ops.maxpool_forward(x[None, None], 3, 2)[0]).all()

# %% [markdown]
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/09_pooling.py).
#
# **1.** Forward, for one map `x` (H, W).

# %%
import numpy as np

from tinynet import exercises


def max_pool(x, size, stride):
    ...


exercises.check_max_pool(max_pool)

# %% [markdown]
# **2.** Backward: `dy` has the shape of `max_pool(x, size, stride)`, the result that of `x`. Of equals the first wins.

# %%
import numpy as np

from tinynet import exercises


def max_pool_gradient(dy, x, size, stride):
    ...


exercises.check_max_pool_gradient(max_pool_gradient)

# %% [markdown]
# ## What to remember
#
# - The largest of each window, each map by itself, no weights; keep where it was.
# - Overlap (size > stride): a pixel may win up to four windows, and its gradients add up.
# - ReLU and max-pooling can change places; 55, 27 and 13 come out the same rounded up or down.
#
# Read next: [reference/pool.py](../tinynet/reference/pool.py) beside [ops/pool.py](../tinynet/ops/pool.py).
