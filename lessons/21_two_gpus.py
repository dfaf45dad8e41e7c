# %% [markdown]
# # 21 · Two GPUs
#
# *55 minutes. Before it: 08, convolution; 13, the whole network. Beside it: the paper, section 3.2, and the folder
# `tinynet/parallel`.*
#
# Its authors write that AlexNet did not fit into the memory of one GPU (section 3.2). So they wrote a parallel program,
# and half of the shape of the network comes from it. In this lesson you divide a network between two GPUs by hand,
# count the bytes that cross, add up numbers that lie on different machines, and find out why most parallel programs
# give other weights than one process, and how to get the same ones to the last bit. No GPU is needed: two arrays stand
# for two GPUs.
#
# **In a sentence:** divide the network, and activations have to cross; divide the pictures, and gradients have to
# cross.

# %%
import csv
import inspect
import math
import socket
import threading

import numpy as np

import tinynet
from tinynet import alexnet, data, figures, layers, ops, parallel
from tinynet.data.embedded import EmbeddedSource
from tinynet.parallel import DataParallel, threads

rng = np.random.default_rng(0)

# %% [markdown]
# ## One layer, two arrays
#
# A fully connected layer has 4 inputs and 4 outputs. GPU 1 holds inputs 0 and 1, and the weights of outputs 0 and 1,
# which are the first two rows of $w$. GPU 2 holds the rest. Each row needs all four inputs, so each GPU sends its two
# inputs to the other. Then each computes its own two outputs:
#
# $$y_1 = w_1 \, x, \qquad y_2 = w_2 \, x, \qquad x = (x_1, x_2)$$

# %%
x_1, x_2 = np.array([1.0, 2]), np.array([3.0, -1])         # what each GPU holds
w_1 = np.array([[1.0, 0, 2, 1],
                [0, 1, 1, 0]])
w_2 = np.array([[2.0, 1, 0, 1],
                [1, 1, 1, 3]])

x = np.concatenate([x_1, x_2])                             # the crossing: now both have all of x
y_1, y_2 = w_1 @ x, w_2 @ x
print("GPU 1:", y_1, "  GPU 2:", y_2)
assert y_1.tolist() == [1 + 0 + 6 - 1, 0 + 2 + 3 + 0] == [6, 5] and y_2.tolist() == [3, 3]

figures.draw_numbers({"w, GPU 1": w_1, "x": x[:, None], "y, GPU 1": y_1[:, None]}, signs=["@", "="])

# %% [markdown]
# **Backward.** Every input was used on both GPUs, so its gradient has a part from each (lesson 05: add up over all
# uses):
#
# $$\mathrm{d}x = w_1^T \, \mathrm{d}y_1 + w_2^T \, \mathrm{d}y_2$$
#
# GPU 1 can compute the first part, GPU 2 the second. **Predict:** GPU 1 holds inputs 0 and 1. Which numbers must come
# from GPU 2, and how many are there? Compute dx[0] by hand for dy = (1, 0) on GPU 1 and (2, 1) on GPU 2.

# %%
dy_1, dy_2 = np.array([1.0, 0]), np.array([2.0, 1])
part_1, part_2 = w_1.T @ dy_1, w_2.T @ dy_2                # each has four numbers, one for each input
dx_1 = part_1[:2] + part_2[:2]                             # GPU 2 sends part_2[:2]
dx_2 = part_1[2:] + part_2[2:]                             # GPU 1 sends part_1[2:]
print("dx[0] =", dx_1[0])
assert dx_1[0] == 1 * 1 + (2 * 2 + 1 * 1) == 6
whole_dx = np.concatenate([w_1, w_2]).T @ np.concatenate([dy_1, dy_2])
assert (np.concatenate([dx_1, dx_2]) == whole_dx).all()

figures.draw_numbers({"part of GPU 1": part_1[:, None], "part of GPU 2": part_2[:, None], "dx": whole_dx[:, None]},
                     signs=["+", "="])

# %% [markdown]
# Two numbers cross forward in each direction, and two backward. The gradient of the weights needs no crossing at all:
# $\mathrm{d}w_1 = \mathrm{d}y_1 \, x^T$, and GPU 1 has both. So **weights and their gradients stay at home.** That is
# the strength of this division: fc6 has 37.7 million weights, and reads 9,216 numbers for each picture.
#
# ## A network, two arrays
#
# Now a whole network in AlexNet's manner: conv2 has two groups, so a GPU needs only its own maps; conv3 and the last
# layer read both halves. In the program below a list of two arrays stands for the two GPUs. A convolution with two
# groups becomes two convolutions with one:

# %%
net = tinynet.Sequential([
    layers.Conv2d("conv1", 8, 5, stride=2, std=0.2), layers.ReLU("relu1"),
    layers.Conv2d("conv2", 12, 3, pad=1, groups=2, std=0.2), layers.ReLU("relu2"), layers.MaxPool("pool2", 3, 2),
    layers.Conv2d("conv3", 12, 3, pad=1, std=0.2), layers.ReLU("relu3"), layers.Flatten("flatten"),
    layers.Linear("fc", 10, std=0.2)], (3, 27, 27), rng)


def two_columns(net, x):
    """Return [y of GPU 1, y of GPU 2], and {layer: bytes that each GPU has sent}."""
    here, sent = [x, x], {}                                # both GPUs see the whole picture
    for layer in net.layers:
        if isinstance(layer, layers.Conv2d | layers.Linear):
            if layer.name != "conv1" and getattr(layer, "groups", 1) == 1:
                sent[layer.name] = here[0].nbytes
                here = [np.concatenate(here, axis=1)] * 2  # the crossing
            halves = list(zip(*(np.split(layer.params[key], 2) for key in ("w", "b"))))
        if isinstance(layer, layers.Conv2d):
            here = [ops.conv2d_forward(a, w, b, layer.stride, layer.pad, 1) for a, (w, b) in zip(here, halves)]
        elif isinstance(layer, layers.Linear):
            here = [ops.linear_forward(a, w, b) for a, (w, b) in zip(here, halves)]
        else:
            here = [layer.forward(a) for a in here]
    return here, sent


pictures = rng.standard_normal((2, 3, 27, 27), dtype=np.float32)
halves, sent = two_columns(net, pictures)
assert np.allclose(np.concatenate(halves, axis=1), net.forward(pictures), rtol=1e-5, atol=1e-6)
print(sent)
assert sent == {"conv3": 4 * 2 * 6 * 5 * 5, "fc": 4 * 2 * 6 * 5 * 5}

# %% [markdown]
# The outputs are those of the undivided network. Two pictures, 6 maps of 5 x 5 on each GPU, four bytes a number: each
# GPU sent 1,200 bytes before conv3, and as many before the last layer.
#
# ## What crosses in AlexNet?
#
# The paper's figure 2 draws two rows of blocks, one for each GPU, and says: "The GPUs communicate only at certain
# layers." This is the same figure, drawn from the table of the network. Green arrows cross:

# %%
table = tinynet.Sequential(alexnet.paper(1000), (3, 227, 227), rng)
figures.draw_network(table)

# %% [markdown]
# Two numbers differ from the paper's figure: the picture has 227 pixels, not 224, and conv1 makes 55 x 55 x 96 =
# 290,400 numbers, not 253,440 (lesson 13). Our program differs in one thing: the paper, like the authors' program, has
# fc8 on one GPU only; `--parallel columns` divides fc8 too, so that both GPUs do the same.
#
# Before a layer that reads both halves, each GPU sends its half: for $N$ pictures and $C$ maps of $H \times W$ in all,
# with four bytes a number,
#
# $$\text{bytes each way} = 4 \cdot N \cdot \tfrac{C}{2} \cdot H \cdot W$$
#
# Backward, as many numbers come back: parts of the gradient. **Predict:** which of conv3, fc6, fc7, fc8 makes the most
# traffic?

# %%
reads = {"conv3": (256, 13, 13), "fc6": (256, 6, 6), "fc7": (4096,), "fc8": (4096,)}
each_way = {name: 4 * math.prod(shape) // 2 for name, shape in reads.items()}
print(each_way, "in all", f"{sum(each_way.values()):,} bytes for each picture")
assert each_way == {"conv3": 86_528, "fc6": 18_432, "fc7": 8_192, "fc8": 8_192}

columns_bytes = 2 * 128 * sum(each_way.values())           # forward and backward, a batch of 128
print(f"a step of 128 pictures: {columns_bytes / 1e6:.1f} MB each way")
assert columns_bytes == 31_064_064

figures.draw_bars({"kB each way, forward, one picture": {name: count / 1e3 for name, count in each_way.items()}})

# %% [markdown]
# The library counts what crosses. Here are its two columns, as two threads, with one picture. The recipe is that of the
# authors' program, in which no window of LRN reaches over to the other GPU (lesson 13):

# %%
def one_step(communicator):
    columns = parallel.Columns(tinynet.AlexNet("code-2012", rng=np.random.default_rng(0)), communicator).train()
    picture = np.random.default_rng(1).standard_normal((1, *columns.in_shape), np.float32)
    loss = tinynet.SoftmaxCrossEntropy()
    loss.forward(columns.forward(picture), np.array([3]))
    columns.backward(loss.backward())
    return dict(communicator.sent)


counted, _ = threads.run(2, one_step)
print("sent by rank 0, forward and backward:", counted)
assert all(counted[name] == 2 * each_way[name] for name in each_way)

# %% [markdown]
# ## Or divide the pictures
#
# Today nearly everybody divides the batch instead: data parallelism (数据并行). Every GPU has the whole network and a
# part of the pictures. The loss is a mean over the pictures, so its gradient is a sum over them, and sums can be made
# in parts:
#
# $$\mathrm{d}w = \sum_{n=0}^{N-1} \mathrm{d}w^{(n)} = \sum_{n < N/2} \mathrm{d}w^{(n)}
# + \sum_{n \ge N/2} \mathrm{d}w^{(n)}$$
#
# No activation crosses, but every GPU needs the gradient of every weight. **Predict:** for AlexNet and 128 pictures,
# which crosses more, activations between two columns or gradients between two halves of the batch?

# %%
parameters = table.summary().params
gradient_bytes = 4 * parameters                            # each GPU sends this much, as we shall see
print(f"columns {columns_bytes / 1e6:.0f} MB, data parallel {gradient_bytes / 1e6:.0f} MB each way")
assert parameters == 60_965_224 and round(gradient_bytes / 1e6) == 244
even = gradient_bytes / (2 * sum(each_way.values()))
print(f"even at {even:.0f} pictures")
assert 1004 < even < 1005

sizes = {}
for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"):
    sizes[name] = sum(a.size for a in table[name].params.values())
figures.draw_bars({"columns, MB each way": {name: 2 * 128 * each_way.get(name, 0) / 1e6 for name in sizes},
                   "data parallel, MB each way": {name: 4 * size / 1e6 for name, size in sizes.items()}})

# %% [markdown]
# Here the columns send eight times less. They send less as long as a batch has at most 1,004 pictures: activations grow
# with the batch, gradients do not. Look at the two panels. Convolutions have few weights and large maps; fully
# connected layers have many weights and few activations. So divide the pictures below and the network above: this is
# Krizhevsky's "one weird trick" of 2014 (lesson 18), here `--parallel mixed`.
#
# ## Adding up numbers that lie on different machines
#
# Four machines, called **ranks** (进程), each have an array. At the end each of them wants the sum of all four: an
# **all-reduce** (全归约). In the figures below rank 0 has only ones, rank 1 twos, rank 2 fours and rank 3 eights. So a
# number tells which ranks have been added up: 3 is ranks 0 and 1, 12 is ranks 2 and 3, and 15 is complete.
#
# The simplest way is a star: everybody sends to rank 0, which adds up and sends back. Then rank 0 receives $3 n$
# numbers and sends $3 n$, while the others wait.
#
# A **tree** shares the work. In step 1 ranks with distance 1 exchange, in step 2 ranks with distance 2. After
# $\log_2 P$ steps everybody has everything:

# %%
start = np.repeat(2 ** np.arange(4), 4).reshape(4, 4)     # a row for each rank, four numbers each
step_1 = start + start[[1, 0, 3, 2]]                       # 0 with 1, 2 with 3
step_2 = step_1 + step_1[[2, 3, 0, 1]]                     # 0 with 2, 1 with 3
assert (step_2 == 15).all()

figures.draw_numbers({"start": start, "after step 1": step_1, "after step 2": step_2})

# %% [markdown]
# This is the shortest way for small arrays. But every rank sends all of its $n$ numbers in every step, $n \log_2 P$ in
# all. Can it be less? Look at the two rows of ranks 0 and 1 after step 1: they are the same. Both have done the same
# additions. It would have been enough if each of them had done one half, and had passed the result on.
#
# ## A ring, by hand
#
# In a **ring** every rank sends only to the next one. The array is cut into $P$ pieces. In each step a rank sends one
# piece on, and adds the piece that it receives to its own. After $P - 1$ steps every rank has one complete piece
# (reduce-scatter). Then the complete pieces go round once more (all-gather).
#
# Real programs leave this to a library, MPI or NCCL. Here we do it ourselves, once, to see what such a library does.
# Four threads are the ranks, and between neighbours there is a socket, a pipe for bytes:

# %%
def ring(arrays, work):
    """Call work(rank, array, send, receive) in a thread for each rank; return the bytes that each has sent, and which
    ranks have waited too long.
    """
    ranks = len(arrays)
    ends = [socket.socketpair() for _ in range(ranks)]     # between rank r and the next one
    sent, failed = [0] * ranks, []

    def one(rank):
        out, into = ends[rank][0], ends[rank - 1][1]
        for end in (out, into):
            end.settimeout(3)                              # seconds, after which waiting is an error

        def send(piece):
            out.sendall(piece.tobytes())
            sent[rank] += piece.nbytes

        def receive(like):
            buffer = bytearray()
            while len(buffer) < like.nbytes:
                buffer += into.recv(like.nbytes - len(buffer))
            return np.frombuffer(buffer, like.dtype)

        try:
            work(rank, arrays[rank], send, receive)
        except TimeoutError:
            failed.append(rank)

    started = [threading.Thread(target=one, args=(rank,)) for rank in range(ranks)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    for end in sum(ends, ()):
        end.close()
    return sent, sorted(failed)


def pass_on(rank, send, receive, piece, like):
    """Send a piece to the next rank and return what the rank before has sent."""
    if rank % 2:                                           # odd ranks receive first
        received = receive(like)
        send(piece)
    else:
        send(piece)
        received = receive(like)
    return received


def all_reduce(rank, x, send, receive, steps=None, P=4):
    """Replace x by the sum over all ranks, or stop after so many steps."""
    pieces = np.split(x, P)                                # views: what changes in a piece, changes in x
    for step in range(2 * (P - 1) if steps is None else steps):
        outgoing, incoming = (rank - step) % P, (rank - step - 1) % P
        received = pass_on(rank, send, receive, pieces[outgoing], pieces[incoming])
        if step < P - 1:
            pieces[incoming] += received                   # reduce-scatter
        else:
            pieces[incoming][:] = received                 # all-gather


after = {"start": start}
for steps in (1, 2, 3, 6):
    arrays = list(start.copy())
    sent, _ = ring(arrays, lambda *given, steps=steps: all_reduce(*given, steps=steps))
    after[f"after step {steps}"] = np.array(arrays)
print(f"each rank has 4 numbers and sent {sent[0] // start.itemsize}: {sent[0]} bytes")
assert (after["after step 6"] == 15).all() and sent == [2 * 3 * start.itemsize] * 4

figures.draw_numbers({title: after[title] for title in ("after step 1", "after step 3", "after step 6")})

# %% [markdown]
# After step 3 there is one 15 in each row and one in each column: each rank has one complete piece. In the end every
# rank has sent $2 (P-1)$ pieces of $n / P$ numbers. That is never more than $2n$, however many ranks there are:
#
# $$\text{numbers that each rank sends} = 2 \, n \, \frac{P - 1}{P}$$
#
# With two ranks that is $n$, the 244 MB from above.
#
# **Predict:** in `pass_on`, odd ranks receive first and even ranks send first. What happens if everybody sends first?
# A socket holds some 200 kB until somebody reads them. Think of a small piece and of a piece of 8 MB.

# %%
def everybody_sends_first(rank, x, send, receive):
    send(x)
    receive(x)


outcomes = {}
for says, numbers in (("1 kB", 256), ("8 MB", 2**21)):
    arrays = [np.ones(numbers, np.float32) for _ in range(4)]
    _, stuck = ring(arrays, everybody_sends_first)
    outcomes[says] = len(stuck)
    print(f"pieces of {says}: {len(stuck)} of 4 ranks are stuck" if stuck else f"pieces of {says}: no rank is stuck")
assert outcomes == {"1 kB": 0, "8 MB": 4}

# %% [markdown]
# It works with small pieces; with large ones it stops for ever. That is a **deadlock** (死锁): everybody waits for
# somebody who waits. It is the reason why parallel programs are tested with large arrays, and with a clock.
#
# ## Which way is the fastest?
#
# A message takes a fixed time, the latency (延迟) $\alpha$, and then so much for each byte, one over the bandwidth (带宽)
# $B$. For $n$ bytes on $P$ ranks:
#
# $$t_{\text{star}} = 2 (P-1) \left(\alpha + \frac{n}{B}\right), \qquad
# t_{\text{tree}} = \log_2 P \left(\alpha + \frac{n}{B}\right), \qquad
# t_{\text{ring}} = 2 (P-1) \left(\alpha + \frac{n}{P B}\right)$$
#
# Can one have the few steps of the tree and the few bytes of the ring? Yes: exchange with the partners of the tree, but
# each time only the half that the partner will be responsible for. With distance 1 a half of the array, with distance 2
# a quarter, and so on; then the same way back. It is called recursive halving and doubling, and `tinynet.parallel` does
# it so:
#
# $$t_{\text{halving}} = 2 \log_2 P \, \alpha + 2 \, \frac{P-1}{P} \, \frac{n}{B}$$

# %%
print(inspect.getsource(parallel.Communicator.reduce_scatter))

# %% [markdown]
# **Predict:** for a bias of 1 kB and for all 244 MB of gradients, which of the four takes longest on 1,024 ranks? The
# numbers are for 10 Gbit/s and a latency of 50 microseconds.

# %%
def seconds(n, P, latency=50e-6, rate=1.25e9):
    """Return what the four formulas give: {way: seconds}."""
    return {"star": 2 * (P - 1) * (latency + n / rate), "tree": np.log2(P) * (latency + n / rate),
            "ring": 2 * (P - 1) * (latency + n / P / rate),
            "halving": 2 * np.log2(P) * latency + 2 * (P - 1) / P * n / rate}


P = 2 ** np.arange(1, 11)
small, large = seconds(1e3, P), seconds(gradient_bytes, P)
assert small["ring"][-1] > 100 * small["tree"][-1] and large["tree"][-1] > 3 * large["ring"][-1]
assert (large["halving"] <= large["ring"]).all() and large["star"][-1] > 300

figures.draw_lines({title: {way: (P, values) for way, values in each.items()}
                    for title, each in (("1 kB", small), ("all gradients, 244 MB", large))},
                   "ranks", "seconds, from the formulas", log="xy")

# %% [markdown]
# For large arrays the tree's price is its bytes, for small arrays the ring's price is its steps.
#
# ## The order of additions
#
# Now the gradients are added up. Is it the same gradient as on one GPU? A number of float32 has 24 binary digits.
# $2^{24} + 1$ would need 25, so it is rounded back to $2^{24}$. **Predict** both results:

# %%
big, one = np.float32(2**24), np.float32(1)
left, right = (big + one) + one, big + (one + one)
print(f"(2^24 + 1) + 1 = {left:.0f}    2^24 + (1 + 1) = {right:.0f}")
assert left == 2**24 and right == 2**24 + 2

# %% [markdown]
# Addition of floating-point numbers depends on the order. In the ring each piece begins its way at another rank, so
# each piece is added up in another order, and with another number of ranks all orders change. Here are the orders that
# our ring has used, on four numbers of very different sizes:

# %%
orders = [[(piece + step) % 4 for step in range(4)] for piece in range(4)]
print({f"piece {piece}": f"ranks {order}" for piece, order in enumerate(orders)})
values = np.array([2**24, 1, 1, -2**24], np.float32)       # the number of each rank, the same in all four pieces
arrays = [np.full(4, value) for value in values]
ring(arrays, all_reduce)
print("the sum of the same four numbers, in four pieces:", arrays[0])
for piece, order in enumerate(orders):
    total = values[order[0]]
    for rank in order[1:]:
        total = values[rank] + total
    assert arrays[0][piece] == total
assert len(set(arrays[0].tolist())) > 1

# %% [markdown]
# Four pieces, the same four numbers in each, and not the same sum. In a network the numbers are of similar size, and
# only the last digit changes. But training magnifies it: a little difference in a weight changes all activations. The
# next cell trains a small network on 1, 2 and 4 ranks in the usual way: each rank computes the gradient of its part of
# the batch, and the parts are added up. The ranks are threads of `tinynet.parallel.threads`.

# %%
source = EmbeddedSource(24, quiet=True, counts=(256, 10))
mean = data.compute_statistics(source.train, quiet=True).mean
stored, labels = source.train.read(np.arange(256))[0], source.train.labels
train_x = ((stored - mean) / 64).astype(np.float32)


def train(ranks, shards, steps=60, N=32):
    """Train a small network and return its weights after every step: (steps, numbers)."""
    def work(communicator):
        small = tinynet.Sequential([
            layers.Conv2d("conv1", 8, 5, stride=2, pad=2, std=0.1, need_dx=False), layers.ReLU("relu1"),
            layers.MaxPool("pool1", 3, 2), layers.Flatten("flatten"), layers.Dropout("drop"),
            layers.Linear("fc", 10, std=0.05)], (3, 24, 24), np.random.default_rng(1)).train()
        sgd, loss, order = tinynet.SGD(small, lr=0.05), tinynet.SoftmaxCrossEntropy(), np.random.default_rng(2)
        network, history = DataParallel(small, communicator, shards), []
        for _ in range(steps):
            chosen = order.integers(0, 256, N)             # the same on every rank
            loss.forward(network.forward(train_x[chosen]), labels[chosen])
            network.backward(loss.backward())
            sgd.step()
            history.append(np.concatenate([w.ravel().copy() for w in small.named_params().values()]))
        return np.array(history)

    return threads.run(ranks, work)[0]


usual = {ranks: train(ranks, shards=ranks) for ranks in (1, 2, 4)}
for ranks in (2, 4):
    same = usual[ranks][-1].tobytes() == usual[1][-1].tobytes()
    print(f"{ranks} ranks and 1 rank: {'the same bits' if same else 'other bits'}")
    assert not same


def difference(a, b):
    """The relative difference of the weights, after each step."""
    return np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)


apart = {f"{ranks} ranks and 1": difference(usual[ranks], usual[1]) for ranks in (2, 4)}
assert all(curve[0] < 1e-6 and curve[-1] > 2 * curve[0] for curve in apart.values())
figures.draw_lines({"the usual way": apart}, "step", "relative difference of the weights", log="y")

# %% [markdown]
# It begins in the last digits and grows. That is no error: each of these networks is as good as the others. But you
# cannot tell a mistake in the parallel program from rounding, and a run on four ranks cannot be repeated on two.
#
# ## Shards make it exact
#
# So no number may depend on the number of ranks. The **run** cuts every batch into, say, 8 **shards** (分片), always 8.
# Each shard is one forward and one backward. Then the 8 gradients are added in the order of one binary tree,
#
# $$\big((g_0 + g_1) + (g_2 + g_3)\big) + \big((g_4 + g_5) + (g_6 + g_7)\big)$$
#
# One process computes all shards, one after the other, and adds in this order. With two ranks, rank 0 has shards 0 to 3
# and computes the left bracket, rank 1 the right one, and the last addition is the message between them. With 4 and 8
# ranks the messages are deeper in the tree, but it is the same tree. In which order does the halving of above add?
# Distance 1 first, then 2, then 4: the same tree again.
#
# Three more things must not depend on the ranks: dropout masks are drawn for the whole batch on every rank, the random
# crops belong to the pictures, and the mean over the batch is taken once, over all logits. **Predict:** which of
# these runs have the same bits?

# %%
print(inspect.getdoc(inspect.getmodule(DataParallel)).split("\n\n")[3])

# %%
exact = {ranks: train(ranks, shards=8) for ranks in (1, 2, 4, 8)}
for ranks in (2, 4, 8):
    same = exact[ranks].tobytes() == exact[1].tobytes()
    print(f"8 shards on {ranks} ranks and on 1: {'the same bits, in all 60 steps' if same else 'other bits'}")
    assert same
assert difference(exact[1], usual[1])[-1] > 0              # another number of shards is another rounding

# %% [markdown]
# The number of shards belongs to the run like the seed: `--shards 8` is written into config.json, and a run that was
# stopped on 4 ranks can go on with 2. There is a price. A shard is smaller than the batch, so its products are smaller,
# and small products are slower.
#
# ## Hiding the messages
#
# The gradient of fc8 is ready when backward has just begun, and nobody needs it before the update. So it can travel
# while the layers below are computing. In AlexNet this is a lucky order: the fully connected layers have 96 % of the
# gradients and come first in backward, and the convolutions below them take most of the time.
#
# The times of the layers are those of an H200, measured for 128 pictures (`lessons/measured`). The messages are
# computed from the formula, for two ranks and 10 Gbit/s:

# %%
with open("measured/h200_step.csv", encoding="utf-8") as file:
    compute = {row["layer"]: (float(row["forward ms"]) / 1e3, float(row["backward ms"]) / 1e3)
               for row in csv.DictReader(file)}
update = compute.pop("update")[0]                          # of all weights, seconds
alone = sum(map(sum, compute.values())) + update


def backward_timeline(P, link):
    """Return {layer: (seconds when its gradient is ready, when its sum has arrived)}, from the top."""
    clock, arrived, times = sum(forward for forward, _ in compute.values()), 0, {}
    for name in reversed(compute):
        clock += compute[name][1]
        if name in sizes:
            arrived = max(arrived, clock) + seconds(4 * sizes[name], P, *link)["halving"]
            times[name] = clock, arrived
    return times


times = backward_timeline(2, (50e-6, 1.25e9))
print(f"one GPU: {1e3 * alone:.0f} ms; two, with messages: {1e3 * (times['conv1'][1] + update):.0f} ms")
messages = sum(seconds(4 * size, 2)["halving"] for size in sizes.values())
assert times["fc6"][0] < 0.5 * times["conv1"][0] and round(messages / alone) == 9

figures.draw_bars({"gradient ready, ms": {name: 1e3 * ready for name, (ready, _) in times.items()},
                   "sum arrived, ms": {name: 1e3 * there for name, (_, there) in times.items()}})

# %% [markdown]
# With 10 Gbit/s the messages take nine times as long as the computing, and nothing can hide them. So the question is
# how fast the link has to be.
#
# ## A model of three schemes
#
# What follows is a **model**, not a measurement: we have never run this on a thousand GPUs. Its parts are measured, as
# far as we could. Each rank has 128 pictures, so the batch grows with the ranks (weak scaling, 弱扩展). The three schemes:
#
# - **data parallel**: each rank computes its 128 pictures. All gradients travel, hidden behind backward.
# - **columns**: each rank has $1/P$ of the kernels of every layer, and computes the whole batch of $128 P$ pictures
#   with them. Before each layer it gathers the maps that the layer reads; in a layer with two groups these are the maps
#   of half of the ranks. Beyond 32 ranks conv1's 96 kernels cannot be divided any more.
# - **one weird trick**: convolutions data parallel, fully connected layers divided.

# %%
table_reads = {"conv2": (96 * 27 * 27, 2), "conv3": (256 * 13 * 13, 1), "conv4": (384 * 13 * 13, 2),
               "conv5": (384 * 13 * 13, 2), "fc6": (9216, 1), "fc7": (4096, 1), "fc8": (4096, 1)}  # numbers, groups


def gather_seconds(name, P, link, each=128):
    """The time to gather what a divided layer reads, of a batch of P * each pictures."""
    numbers, groups = table_reads[name]
    ranks = P // groups                                    # that hold what this rank needs
    if ranks <= 1:
        return 0
    latency, rate = link
    return np.log2(ranks) * latency + 4 * each * P * numbers / groups * (ranks - 1) / ranks / rate


def step_seconds(scheme, P, link, each=128):
    """The time of a step of P * each pictures on P ranks. The work of 128 pictures was measured."""
    clock, arrived, kept = sum(forward for forward, _ in compute.values()) * each / 128, 0, 0
    for name in reversed(compute):                         # backward, from the top
        clock += compute[name][1] * each / 128
        if scheme == "columns" or scheme == "one weird trick" and name.startswith("fc"):
            if name in table_reads:
                clock += 2 * gather_seconds(name, P, link, each)  # activations, and back: not hidden
            kept += sizes.get(name, 0) / P
        elif name in sizes:
            arrived = max(arrived, clock) + seconds(4 * sizes[name], P, *link)["halving"]
            kept += sizes[name]
    return max(clock, arrived) + update * kept / parameters


by_layer = times["conv1"][1] + update
assert math.isclose(step_seconds("data parallel", 2, (50e-6, 1.25e9)), by_layer)
bytes_of_two = sum(gather_seconds(name, 2, (0, 1), each=0.5) for name in table_reads)
assert bytes_of_two == sum(each_way.values())              # per picture of the batch, as counted above
print(f"data parallel on two ranks: {1e3 * by_layer:.0f} ms, as above; columns: {bytes_of_two:,.0f} bytes for a picture, "
      f"as counted above")

# %% [markdown]
# How fast is a link? We have measured the engine of `tinynet.parallel`, MPI, between two network namespaces of one
# machine. They are like two hosts with a cable, which the kernel limits to a rate. `lessons/measured` has the table and
# its command:

# %%
with open("measured/parallel.csv", encoding="utf-8") as file:
    measured = list(csv.DictReader(file))


def median(column, scheme, link=None):
    """The median of the runs of a scheme, over one link or over all."""
    return float(np.median([float(row[column]) for row in measured
                            if row["parallel"] == scheme and link in (None, row["name"])]))


latency, share = 56e-6, 110.1 / 125                        # the best of many: other work on the machine only slows
print(f"1 Gbit/s is 125 MB/s; a program gets {share:.0%} of it, and the shortest message takes {1e6 * latency:.0f} "
      f"microseconds")
assert max(float(row["MB/s"]) for row in measured if row["name"] == "1gbit" and row["MB/s"]) < 125 * share

# %% [markdown]
# Is the model any good? On this machine we can compare, for two ranks and 8 pictures. Each scheme was measured "silent"
# as well, where both ranks compute and nothing is sent. For data parallelism the model divides the silent time among
# the layers by their multiplications, and lets gradients travel in the meantime. For the two others it adds the time of
# the bytes:

# %%
work = {row.name: row.macs for row in table.summary().rows if row.name in sizes}


def predicted(link, scheme):
    """The model's time of a step of two CPU ranks over this link, in seconds."""
    silent, rate = median("silent", scheme), 1e6 * median("MB/s", "data", link)
    if scheme != "data":
        return silent + 1e6 * median("sent MB", scheme) / rate
    per_mac = silent / (3 * sum(work.values()) - work["conv1"])  # forward, dx and dw; conv1 needs no dx
    clock, arrived = per_mac * sum(work.values()), 0
    for layer in reversed(sizes):
        clock += per_mac * work[layer] * (1 if layer == "conv1" else 2)
        arrived = max(arrived, clock) + seconds(4 * sizes[layer], 2, 0, rate)["halving"]
    return max(clock, arrived)


cases = {f"{link}, {scheme}": (link, scheme) for link in ("shared memory", "1gbit", "100mbit")
         for scheme in ("data", "columns", "mixed")}
modelled = {name: predicted(*case) for name, case in cases.items()}
together = {name: median("together", scheme, link) for name, (link, scheme) in cases.items()}
off = [modelled[name] / together[name] for name in cases if "shared" not in name]
print(f"over the limited links, the model has {min(off):.0%} to {max(off):.0%} of the measured times")
assert 0.6 < min(off) and max(off) < 1.4

figures.draw_bars({"model, seconds a step": modelled, "measured": together})

# %% [markdown]
# Now 1,024 GPUs. Ethernet of 1, 10 and 100 Gbit/s gets the share that we measured at 1 Gbit/s, and its latency. NVIDIA
# gives 900 GB/s for the NVLink of an H200, 450 in each direction; here we assume the same share, and 10 microseconds.
#
# **Predict:** over 10 Gbit/s, does data parallelism stop paying at some number of ranks? Do the columns?

# %%
links = {"1 Gbit/s": (latency, share * 125e6), "10 Gbit/s": (latency, share * 1.25e9),
         "100 Gbit/s": (latency, share * 12.5e9), "NVLink": (10e-6, share * 450e9)}
ranks = 2 ** np.arange(11)
speed_up = {}
for name, link in links.items():
    speed_up[f"MODEL, {name}"] = {"no messages": (ranks, ranks)}
    for scheme in ("data parallel", "columns", "one weird trick"):
        counts = ranks[ranks <= 32] if scheme == "columns" else ranks
        times = np.array([step_seconds(scheme, int(P), link) for P in counts])
        speed_up[f"MODEL, {name}"][scheme] = counts, counts * alone / times

figures.draw_lines(speed_up, "ranks (H200), each with 128 pictures", "times the pictures a second of one", log="xy")

# %% [markdown]
# How to read a curve: where it is below 1, one GPU alone is faster. Where it turns down, another rank makes everything
# slower. Where it runs along the line of "no messages", they are hidden. And as a table, how many ranks pay, if each is
# to do at least half of what it would do alone:

# %%
def pays(name, scheme):
    counts, times = speed_up[f"MODEL, {name}"][scheme]
    return max(P for P, faster in zip(counts.tolist(), times) if faster >= P / 2)


for name in links:
    print(f"{name:>10}:", {scheme: pays(name, scheme) for scheme in ("data parallel", "columns", "one weird trick")})
_, faster = speed_up["MODEL, 10 Gbit/s"]["data parallel"]
print("data parallel over 10 Gbit/s: faster than one GPU from", ranks[1:][faster[1:] > 1][0], "ranks")
two = {scheme: times[1] for scheme, (_, times) in speed_up["MODEL, 10 Gbit/s"].items()}
assert two["data parallel"] < two["columns"] < two["one weird trick"] and (np.diff(faster[1:]) > 0).all()

# %% [markdown]
# Three things to see:
#
# - **Data parallel does not turn down.** Its messages are 244 MB a step for two ranks, and never more than twice that.
#   So each further rank brings its own pictures. But over a slow link many ranks only pay for the messages.
# - **Columns and one weird trick end at a ceiling.** They send activations, and the batch grows with the ranks. From
#   some point on another rank brings as much traffic as work. With few ranks one weird trick is the best of the three.
# - **With two ranks over a slow link, columns beat data parallel.** That is the case of 2012: two GPUs in one computer
#   and a batch of 128.
#
# A batch that grows is a different training: 131,072 pictures a step is another algorithm than 128 (lesson 07). So here
# is the same for a fixed batch of 1,024 (strong scaling, 强扩展). The model now also assumes that half as many pictures
# take half as long, which small batches on a GPU do not: real curves are lower.

# %%
fixed = {}
for name, link in links.items():
    fixed[f"MODEL, {name}"] = {"no messages": (ranks, ranks)}
    for scheme in ("data parallel", "columns", "one weird trick"):
        counts = ranks[ranks <= 32] if scheme == "columns" else ranks
        times = np.array([step_seconds(scheme, int(P), link, each=1024 / P) for P in counts])
        fixed[f"MODEL, {name}"][scheme] = counts, 8 * alone / times
best = {name: {scheme: round(float(max(faster)), 1) for scheme, (_, faster) in fixed[f"MODEL, {name}"].items()}
        for name in links}
for name in links:
    del best[name]["no messages"]
    print(f"{name:>10}, at best:", best[name])
assert all(row["one weird trick"] >= max(row.values()) for row in best.values())
assert best["1 Gbit/s"]["one weird trick"] == 1
assert best["NVLink"]["one weird trick"] > 1.5 * best["NVLink"]["data parallel"]

figures.draw_lines(fixed, "ranks (H200), 1,024 pictures in all", "times as fast as one", log="xy")

# %% [markdown]
# Now all three have a ceiling, since the computing shrinks and the messages do not. Over 1 Gbit/s one GPU is faster
# than any number of them. One weird trick has the highest ceiling: its fully connected weights, 96 % of all, never
# travel.
#
# ## Exercises
#
# Replace the `...`, run the cell, read what the check says. [Solutions](solutions/21_two_gpus.py).
#
# **1.** Two GPUs hold half of the maps each. How many bytes does each send to the other before a layer that reads both
# halves? N pictures, C maps in all, of `side` x `side` pixels, in float32.

# %%
import numpy as np

from tinynet import exercises


def crossing_bytes(N, C, side):
    ...


exercises.check_crossing_bytes(crossing_bytes)

# %% [markdown]
# **2.** A fully connected layer is divided between two GPUs. GPU 1 has the first half of the inputs and outputs, so `w`
# has shape (OUT / 2, IN): the rows of its own outputs. `dy` (OUT / 2,) is the gradient of its own outputs. `received`
# (IN / 2,) has come from GPU 2. Return the gradient of GPU 1's own inputs, (IN / 2,).

# %%
import numpy as np

from tinynet import exercises


def own_input_gradient(w, dy, received):
    ...


exercises.check_own_input_gradient(own_input_gradient)

# %% [markdown]
# **3.** How many bytes does each of P ranks send in an all-reduce of n float32 numbers in a ring? P divides n.

# %%
import numpy as np

from tinynet import exercises


def ring_bytes(n, P):
    ...


exercises.check_ring_bytes(ring_bytes)

# %% [markdown]
# **4.** Add up the gradients of S shards in the order of the binary tree, ((0 + 1) + (2 + 3)) + ... `gradients` has
# shape (S, n), S is a power of 2. The result must be right to the last bit.

# %%
import numpy as np

from tinynet import exercises


def tree_sum(gradients):
    ...


exercises.check_tree_sum(tree_sum)

# %% [markdown]
# ## What to remember
#
# - Columns send activations: 121,344 bytes each way for a picture, and as many back. Data parallelism sends gradients:
#   244 MB each way for a step, whatever the batch.
# - An all-reduce needs $2 n (P-1) / P$ numbers from each rank. Trees save steps, rings save bytes, halving saves both.
# - The order of additions changes the last bits. A fixed number of shards and one tree make them the same on any number
#   of ranks.
# - Gradients of the upper layers can travel while the lower layers compute. It helps if the link is fast enough.
#
# Do it yourself: `pip install -e '.[mpi]'`, then
# `mpiexec -n 2 python examples/train_alexnet.py --parallel data --shards 8`. Read next:
# [parallel/data.py](../tinynet/parallel/data.py) and [parallel/communicator.py](../tinynet/parallel/communicator.py).
