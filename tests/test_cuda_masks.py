"""Dropout masks on a GPU: pcg64.cu draws the numbers that NumPy draws, to the bit, and leaves the generator as NumPy
does. In the emulator, and on a GPU if there is one."""

import numpy as np
import pytest
from test_cuda_emulated import Mutant, mutated, source_of
from test_cuda_launchers import small_network
from training import train_step

import tinynet
from tinynet import emulator, init
from tinynet.backend import to_numpy
from tinynet.cuda import earlier, kernels, pcg64
from tinynet.layers import Dropout

SHAPES = [(1,), (2,), (7, 3), (4, 64), (3, 5, 7), (128, 33), (0, 4)]


def generators(seed, waiting):
    """Two equal generators; `waiting`: the upper half of their last 64 bits has not been used."""
    pair = np.random.default_rng(seed), np.random.default_rng(seed)
    for rng in pair:
        rng.random(5 + waiting, dtype=np.float32)
        rng.random()  # takes 64 bits of its own, while the half still waits
        assert rng.bit_generator.state["has_uint32"] == (5 + waiting) % 2
    return pair


def masks_check(shapes=SHAPES, draw=pcg64.bernoulli):
    for number, shape in enumerate(shapes):
        for waiting in (False, True):
            for keep, value, dtype in ((0.5, 1, np.float32), (0.9, 1 / 0.9, np.float64), (0.1, 10.0, np.float32),
                                       (1.0, 1, np.float64)):
                host, device = generators(number, waiting)
                wanted = init.bernoulli(host, shape, keep, value, dtype)
                mask = draw(device, shape, keep, value, dtype)
                assert (mask.dtype, mask.flags.c_contiguous) == (dtype, True)
                np.testing.assert_array_equal(to_numpy(mask), wanted, err_msg=f"{shape}, keep {keep}")
                assert device.bit_generator.state == host.bit_generator.state, (shape, keep, waiting)


@pytest.mark.parametrize("draw", [earlier.bernoulli_1, pcg64.bernoulli])
def test_masks_are_those_of_numpy(stand_in, draw):
    masks_check(draw=draw)
    assert stand_in.meter.to_device == []


@pytest.mark.parametrize("threads, blocks, per_thread", [(8, 1, 32), (8, 3, 2), (256, 1, 1)])
def test_masks_do_not_depend_on_the_grid(stand_in, monkeypatch, threads, blocks, per_thread):
    monkeypatch.setattr(kernels, "THREADS", threads)
    monkeypatch.setattr(kernels, "BLOCKS", blocks)
    monkeypatch.setattr(pcg64, "PER_THREAD", per_thread)
    masks_check()


def test_masks_with_indices_of_64_bits(stand_in, monkeypatch):
    monkeypatch.setattr(kernels, "LARGE", 0)
    masks_check(SHAPES[2:4])


def test_a_thread_far_ahead_has_the_state_of_numpy(kernels_run):
    """The last block of a grid of 2^23 threads, whose masks alone are computed."""
    rng, threads, last = np.random.default_rng(3), 1 << 23, 64
    state = rng.bit_generator.state
    words = [np.uint64(state["state"][name] >> shift & (1 << 64) - 1) for name in ("state", "inc") for shift in (64, 0)]
    mask = np.full(2 * threads, np.nan, np.float32)
    kernel = emulator.Module(kernels.source("pcg64"), ("-Dreal=float", "-Dindex_t=int")).kernels["bernoulli_2"]
    arguments = np.int32(mask.size), mask, *words, np.int32(0), np.uint32(0), np.int32(1 << 23), np.float32(1)
    kernel.launch((threads // 64,), (64,), arguments, blocks=(threads // 64 - 1, threads // 64))
    rng.bit_generator.advance(threads - last)
    np.testing.assert_array_equal(mask[-2 * last:], rng.random(2 * last, dtype=np.float32) < 0.5)


def test_another_generator_draws_on_the_host(stand_in):
    host, device = (np.random.Generator(np.random.Philox(1)) for _ in range(2))
    wanted, mask = (init.bernoulli(rng, (3, 5), 0.5, 1, np.float32, where)
                    for rng, where in ((host, "cpu"), (device, "gpu")))
    np.testing.assert_array_equal(to_numpy(mask), wanted)
    assert stand_in.meter.to_device == [(3, 5)] and stand_in.meter.launches == 0


def test_a_layer_draws_where_it_is(stand_in):
    for device, launches in (("cpu", 0), ("gpu", 1)):
        net = tinynet.Sequential([Dropout("drop")], (6,), np.random.default_rng(0)).to(device)
        mask = net[0].draw_mask((2, 6), np.float32)
        assert stand_in.meter.launches == launches
        np.testing.assert_array_equal(to_numpy(mask), np.random.default_rng(0).random((2, 6), np.float32) < 0.5)


MUTANTS = [Mutant("pcg64", 2, *row) for row in [
    ("sum", "+ (low < a.low)", ""), ("product", "__umul64hi(a.low, b.low) + ", ""), ("product", "+ a.low * b.high", ""),
    ("both", "after(second, first.increment)", "first.increment"), ("leap_of", "steps % 2", "steps"),
    ("leap_of", "step = both(step, step)", "step = step"), ("bits_of", ">> 58", ">> 59"),
    ("bits_of", "state.high ^ state.low", "state.low"),
    ("bernoulli_2", "leap_of(thread + 1, step)", "leap_of(thread, step)"),
    ("bernoulli_2", "leap_of(threads, step)", "step"), ("bernoulli_2", "2 * thread + waiting", "2 * thread"),
    ("write_two", "if (i + 1 < total) ", ""), ("write_two", "bits >> 40", "bits >> 39"),
    ("bernoulli_2", "waiting && thread == 0", "waiting"), ("bernoulli_2", "half >> 8 < limit", "half < limit")]]


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutant_is_caught(stand_in, monkeypatch, mutant):
    monkeypatch.setattr(kernels, "THREADS", 8)
    monkeypatch.setattr(pcg64, "PER_THREAD", 4)
    with source_of("pcg64", mutated(mutant)), pytest.raises(AssertionError):
        masks_check(SHAPES[:4])


@pytest.mark.gpu
@pytest.mark.parametrize("draw", [earlier.bernoulli_1, pcg64.bernoulli])
def test_masks_on_a_gpu_are_those_of_numpy(draw):
    masks_check([*SHAPES, (128, 4096)], draw)


@pytest.mark.gpu
def test_a_step_on_a_gpu_draws_the_masks_of_the_cpu():
    states = []
    for device, rung in (("cpu", "ops"), ("gpu", "cuda")):
        net, loss, sgd = small_network(device, rung)
        train_step(net, loss, sgd, np.ones((6, 3, 19, 19), np.float32), np.arange(6) % 4)
        states.append(net.rng.bit_generator.state)
    assert states[0] == states[1]
