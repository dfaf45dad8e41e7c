# %% [markdown]
# # 09 · Overlapping pooling (重叠池化)
#
# *25 minutes. Before it: 08, convolution. Beside it: the paper, section 3.4, and `tinynet/reference/pool.py`.*
#
# After this lesson you can pool by hand, forward and backward, derive the gradient of a maximum, and say what overlaps
# and what that changes.
#
# **In a sentence:** the output for each window of 3 x 3 activations is the largest of them; windows are 2 pixels apart,
# so each shares a row or a column with the next.

# %%
import inspect

import numpy as np

import tinynet
from tinynet import data, exercises, figures, layers, ops, reference, shapes
from tinynet.trace import Trace, explain

rng = np.random.default_rng(0)

# %% [markdown]
# ## The formula, by hand
#
# A window has $z \times z$ pixels (池化窗口), and windows are $s$ pixels apart; the paper has $z = 3$ and $s = 2$. Each
# channel $c$ is pooled separately:
#
# $$y_{c,i,j} = \max_{0 \le u,\, v < z} \; x_{c,\; is+u,\; js+v}$$
#
# 5 x 5 activations have four windows. **Predict** the four maxima of the picture in the next cell before you look at y:

# %%
x = np.array([[1, 0, 2, 0, 3],
              [0, 4, 0, 1, 0],
              [5, 0, 0, 0, 2],
              [0, 1, 0, 6, 0],
              [7, 0, 8, 0, 1]], float)
y, argmax = ops.maxpool_forward(x[None, None], size=3, stride=2)
assert (y[0, 0] == [[5, 3], [8, 8]]).all()                 # the 8 is the largest of two windows

figures.draw_numbers({"x": x, "y": y[0, 0]}, windows={"x": (2, 2, 3, 3), "y": (1, 1, 1, 1)}, signs=["->"])

# %% [markdown]
# Besides the largest activation, the layer saves **where** it was: `argmax`, the number of the pixel inside its window
# in reading order, 0 to 8. The backward pass needs nothing else.

# %%
print(argmax[0, 0])
assert argmax[0, 0, 1, 0] == 8                             # window (1, 0): the 8 is its last pixel
assert argmax[0, 0, 1, 1] == 6                             # window (1, 1): the same 8 begins its last row

# %% [markdown]
# As a program, with a loop for each index of the formula:

# %%
print(inspect.getsource(reference.maxpool_forward))
assert (reference.maxpool_forward(x[None, None], 3, 2)[0] == y).all()

# %% [markdown]
# ## In the network
#
# Pooling has no weights. Some texts, such as these [student's notes](notes_corrected.md), say that it is like
# convolution (“类似卷积的过程”). They have one thing in common: a window slides, and windows can overlap. But there is no
# kernel, nothing is added up, and channels are not mixed, so a window has 3 x 3 pixels and not 3 x 3 x 96.
#
# **Predict:** map 40 of 96 changes; which maps of the output change?

# %%
maps = rng.standard_normal((1, 96, 55, 55), dtype=np.float32)
before, _ = ops.maxpool_forward(maps, 3, 2)
assert before.shape == (1, 96, 27, 27)
maps[0, 40] += 1
changed = (ops.maxpool_forward(maps, 3, 2)[0] != before).any(axis=(0, 2, 3))
print("changed:", np.flatnonzero(changed))
assert np.flatnonzero(changed).tolist() == [40]

# %% [markdown]
# Here are edges of the photo, pooled once, twice and three times. AlexNet pools three times, too: pool1, pool2 and
# pool5. There are fewer pixels each time, and the strongest activations stay.
#
# **Predict:** does the mean of the activations grow or fall?

# %%
photo = data.load_picture(figures.PHOTO, 113)
grey = (photo.mean(axis=0) - photo.mean())[None, None]     # (1, 1, 113, 113)
edge = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
edges = ops.relu_forward(ops.conv2d_forward(grey, edge[None, None], np.zeros(1), 1, 1, 1))
pooled = [edges]
for _ in range(3):
    pooled.append(ops.maxpool_forward(pooled[-1], 3, 2)[0])
sides = [a.shape[-1] for a in pooled]
for side, a in zip(sides, pooled):
    print(f"{side:>3} pixels: mean {a.mean():.1f}, largest {a.max():.1f}")
assert sides == [113, 56, 27, 13]
assert pooled[3].mean() > 2 * edges.mean()                 # the largest stay, so the mean grows

figures.draw_pictures([a[0, 0] for a in pooled], [f"{side} x {side}" for side in sides])

# %% [markdown]
# `explain` shows a window and outlines its largest activation:

# %%
net = tinynet.Sequential([layers.MaxPool("pool", 3, 2)], (1, 113, 113), rng, "float64")
trace = Trace(net, edges, dy=rng.standard_normal((1, 1, 56, 56))).run()
strongest = tuple(int(i) for i in np.unravel_index(trace["pool"].y.argmax(), (1, 1, 56, 56)))
seen = explain(trace, "pool", strongest)
assert seen.value == edges.max()

figures.draw_explanation(seen)

# %% [markdown]
# Why pool? A small shift of the picture changes the maxima less than the activations, and the layers above have only a
# quarter of the pixels to process. Shift the edges by one pixel and measure how much changes, relative to what was
# there.
#
# **Predict:** which changes least: no pooling, windows of 2 x 2, or windows of 3 x 3? (Here windows are 1 pixel apart,
# so that only their size differs.)

# %%
shifted = np.roll(edges, 1, axis=3)
moves = []
for a, b in ((edges, shifted), *((ops.maxpool_forward(edges, z, 1)[0], ops.maxpool_forward(shifted, z, 1)[0])
                                 for z in (2, 3))):
    moves.append(float(np.linalg.norm(a - b) / np.linalg.norm(a)))
print(f"without pooling {moves[0]:.2f}, largest of 2 x 2 {moves[1]:.2f}, largest of 3 x 3 {moves[2]:.2f}")
assert moves[0] > moves[1] > moves[2]

# %% [markdown]
# ## What overlaps
#
# Older networks had windows of 2 x 2 pixels, 2 pixels apart. In the drawing each number says in how many windows a
# pixel lies:

# %%
figures.draw_windows({"windows of 2, 2 apart": (2, 2), "windows of 3, 2 apart": (3, 2)}, side=7)

# %% [markdown]
# With $z > s$ a pixel lies in up to four windows. For 55 pixels both choices give 27, but only **if the size is rounded
# down**: then no window of 2 contains the 55th row. Rounded up, as in the authors' program, windows of 2 give 28. (For
# that reason the authors' comparison of the two also had to change the padding of the layers above.) The paper reports
# that overlap lowers the top-1 error by 0.4 points and the top-5 error by 0.3, and that such networks are "slightly"
# harder to overfit. It does not say that overlap avoids overfitting (“避免过拟合”).

# %%
rounded_down = [shapes.output_size(55, z, 2) for z in (2, 3)]
rounded_up = [shapes.output_size(55, z, 2, ceil=True) for z in (2, 3)]
print("rounded down:", rounded_down, " rounded up:", rounded_up)
assert (rounded_down, rounded_up) == ([27, 27], [28, 27])

# %% [markdown]
# With windows of 3, the direction of rounding makes no difference for AlexNet's 55, 27 and 13 pixels. For 28 it does:

# %%
for side in (55, 27, 13, 28):
    down, up = shapes.output_size(side, 3, 2), shapes.output_size(side, 3, 2, ceil=True)
    print(f"{side} pixels: {down} or {up}")
    assert (down == up) == (side != 28)

# %% [markdown]
# ## ReLU may come after
#
# The ReLU keeps the order of numbers: if $a \ge b$, then $\max(0, a) \ge \max(0, b)$. So the largest of the ReLUs is
# the ReLU of the largest:
#
# $$\max_{u,v} \; \max(0, x_{u,v}) = \max\left(0, \; \max_{u,v} x_{u,v}\right)$$
#
# The program of 2012 pools first in two layers, so it computes only a quarter of the ReLUs:

# %%
signed = rng.standard_normal((1, 96, 55, 55), dtype=np.float32)
one = ops.maxpool_forward(ops.relu_forward(signed), 3, 2)[0]
other = ops.relu_forward(ops.maxpool_forward(signed, 3, 2)[0])
print(f"the same: {(one == other).all()}; ReLUs before pooling {signed.size:,}, after it {other.size:,}")
assert (one == other).all()
assert (signed.size, other.size) == (290_400, 69_984) and other.size < signed.size / 4

# %% [markdown]
# ## Backward: the largest gets the whole gradient
#
# If the largest activation of a window grows a little, $y$ grows by as much. If another one grows a little, $y$ stays
# the same. So the slope is 1 for one pixel and 0 for the others. Write $(u^*, v^*)$ for the place that `argmax` saves:
#
# $$\frac{\partial y_{i,j}}{\partial x_{a,e}} = \begin{cases} 1 & \text{if } (a, e) = (is + u^*_{i,j},\; js + v^*_{i,j})
# \\ 0 & \text{otherwise} \end{cases}$$
#
# By the chain rule, the gradient of a pixel is the **sum** of dy over the windows in which it is the largest:
#
# $$\mathrm{d}x_{a,e} = \sum_{i,j} \mathrm{d}y_{i,j} \, \frac{\partial y_{i,j}}{\partial x_{a,e}}
# = \sum_{(i,j) \text{ with maximum at } (a,e)} \mathrm{d}y_{i,j}$$
#
# As a program: one addition for each window.

# %%
source = inspect.getsource(reference.maxpool_backward)
print(source[source.index("    dx = "):])

# %% [markdown]
# **Predict:** the 8 is the largest of the two lower windows, whose dy are 30 and 40. What is its gradient? Which other
# pixels get a gradient?

# %%
dy = np.array([[10, 20], [30, 40]], float)
dx = ops.maxpool_backward(dy[None, None], argmax, (1, 1, 5, 5), 3, 2)[0, 0]
print({f"the {x[place]:g}": float(dx[place]) for place in map(tuple, np.argwhere(dx))})
assert dx[4, 2] == 30 + 40                                 # the 8
assert (dx[2, 0], dx[0, 4]) == (10, 20)                    # the 5 and the 3
assert np.count_nonzero(dx) == 3

figures.draw_numbers({"x": x, "dy": dy, "dx": dx}, windows={"x": (2, 2, 3, 3), "dy": (1, 1, 1, 1), "dx": (4, 2, 1, 1)})

# %% [markdown]
# With `=` in place of `+=`, the 8 would get 40 instead of 70. With windows that do not overlap this mistake has no
# effect, so pooling has to be tested with windows that overlap. Here is how the 70 is computed:

# %%
net = tinynet.Sequential([layers.MaxPool("pool", 3, 2)], (1, 5, 5), rng, "float64")
trace = Trace(net, x[None, None], dy=dy[None, None]).run()
seen = explain(trace, "pool", (0, 0, 4, 2), of="dx")
assert seen.value == 70
print(seen)

# %% [markdown]
# The 6, in row 3, column 3, lies in one window only, and there the 8 is larger:

# %%
seen = explain(trace, "pool", (0, 0, 3, 3), of="dx")
print(seen)
assert seen.value == 0

# %% [markdown]
# **Ties.** If several activations are equally large, this library takes the first in reading order, as Caffe does. The
# program of 2012 gave each of them the whole gradient. After a ReLU there are many ties at 0. They have no effect in
# either case, because the ReLU passes no gradient there.

# %%
tie = np.array([[3.0, 3.0], [1.0, 3.0]])[None, None]
_, first = ops.maxpool_forward(tie, 2, 2)
share = ops.maxpool_backward(np.ones((1, 1, 1, 1)), first, tie.shape, 2, 2)[0, 0]
print(share)
assert first.item() == 0 and (share == [[1, 0], [0, 0]]).all()

# %% [markdown]
# ## All windows at once
#
# `ops` compares whole arrays, once for each of the nine places in a window:

# %%
print(inspect.getsource(ops.maxpool_forward))
print(inspect.getsource(ops.maxpool_backward))

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
# **2.** Backward: `dy` has the shape of `max_pool(x, size, stride)`, the result that of `x`. Of equal
# activations, the first gets the gradient.

# %%
import numpy as np

from tinynet import exercises


def max_pool_gradient(dy, x, size, stride):
    ...


exercises.check_max_pool_gradient(max_pool_gradient)

# %% [markdown]
# ## What to remember
#
# - The output is the largest activation of each window, in each map separately. There are no weights; the layer saves
#   where the largest was.
# - Overlap (z > s): a pixel may be the largest of up to four windows, and its gradients add up.
# - ReLU and max-pooling can be exchanged.
# - 55, 27 and 13 pixels give the same size rounded up or down with windows of 3, but not with windows of 2.
#
# Next: [10, local response normalisation](10_lrn.ipynb). Read next: [reference/pool.py](../tinynet/reference/pool.py)
# beside [ops/pool.py](../tinynet/ops/pool.py).
