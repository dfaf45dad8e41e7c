"""The rung cpu/: threads and BLAS as they were found, the same bits always, memory flat, Winograd's rounding bounded.

That it computes the same as the other rungs is shown where they all are: parity, gradients, contract, mutants, oracle.
"""

import os
import random
import subprocess
import sys
import threading
import time
import types
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl

from tinynet import cpu, ops
from tinynet.backend import DeviceError
from tinynet.cpu import memory, parallel, winograd


def make_pieces_small(monkeypatch):
    """arrays() then gives several pieces of every kind, and other ones on one thread than on more."""
    monkeypatch.setattr(parallel, "ALONE_BYTES", 1 << 15)
    monkeypatch.setattr(parallel, "SHARED_BYTES", 1 << 16)
    monkeypatch.setattr(winograd, "BAND_TILES", 4)
    monkeypatch.setattr(winograd, "SMALL_PRODUCT", 1 << 17)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    make_pieces_small(monkeypatch)


@pytest.fixture(autouse=True)
def settings_as_before():
    blas = threadpoolctl.threadpool_info()
    yield
    parallel.set_thread_count(None)
    parallel._has_one_limit.cache_clear()
    assert threadpoolctl.threadpool_info() == blas
    assert parallel._inside == [] and parallel._process_limits == {}


def arrays(seed=0, dtype="float32"):
    """Arguments large enough for several pieces of every kind: bands, shares of the batch, blocks, units."""
    rng = np.random.default_rng(seed)
    shapes = {"x": (9, 32, 27, 27), "w": (64, 32, 3, 3), "wide": (64, 32, 5, 5), "strided": (64, 16, 5, 5), "b": (64,),
              "dy": (9, 64, 27, 27), "dy_strided": (9, 64, 13, 13),
              "rows": (70, 900), "units": (600, 900), "b600": (600,), "drows": (70, 600),
              "few": (16, 3600), "long_units": (600, 3600),
              "picture": (1, 3, 300, 300), "first": (32, 3, 11, 11),
              "many": (70, 2, 7, 7), "few_kernels": (4, 2, 3, 3), "dmany": (70, 4, 5, 5)}  # several images in a share
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def everything(a, rung=cpu):
    """Every op that works on several cores, once: a list of arrays."""
    y, scale = rung.lrn_forward(a["dy"], 5, 2.0, 0.1, 0.75, 2)
    pooled, argmax = rung.maxpool_forward(a["x"], 3, 2)
    w, v = rung.sgd_step(a["units"], a["units"][::-1].copy(), a["units"] * 2, 0.1, 0.9, 0.01)
    picture = rung.conv2d_forward(a["picture"], a["first"], a["b"][:32], 4, 0, 1)
    corner = rung.conv2d_forward(a["picture"][:, :, :40, :40], a["first"], a["b"][:32], 4, 0, 1)
    return [
        corner, y, scale, pooled, argmax, w, v, picture,
        *rung.conv2d_backward(picture, a["picture"], a["first"], 4, 0, 1, need_dx=False)[1:],
        *rung.conv2d_backward(a["dy"][:, :32, :3, :3], a["x"][:, :3, :22, :22], a["first"], 4, 0, 1),
        rung.conv2d_forward(a["x"], a["strided"], a["b"], 2, 1, 2),
        *rung.conv2d_backward(a["dy_strided"], a["x"], a["strided"], 2, 1, 2),
        rung.conv2d_forward(a["x"], a["w"], a["b"], 1, 1, 1),
        *rung.conv2d_backward(a["dy"], a["x"], a["w"], 1, 1, 1),
        rung.conv2d_forward(a["x"], a["wide"], a["b"], 1, 2, 1),
        *rung.conv2d_backward(a["dy"], a["x"], a["wide"], 1, 2, 1),
        *rung.conv2d_backward(a["dmany"], a["many"], a["few_kernels"], 1, 0, 1),
        rung.lrn_backward(a["dy"][::-1], a["dy"], scale, 5, 0.1, 0.75, 2),
        rung.maxpool_backward(pooled, argmax, a["x"].shape, 3, 2),
        rung.avgpool_forward(a["x"], 3, 2, ceil=True), rung.avgpool_backward(pooled, a["x"].shape, 3, 2),
        rung.relu_forward(a["x"]), rung.relu_backward(a["x"][::-1], a["x"]), rung.tanh_forward(a["x"]),
        rung.linear_forward(a["rows"], a["units"], a["b600"]),
        *rung.linear_backward(a["drows"], a["rows"], a["units"]),
        rung.linear_forward(a["few"], a["long_units"], a["b600"]),
        *rung.linear_backward(a["drows"][:16], a["few"], a["long_units"]),
        *rung.linear_backward(a["drows"][:1], a["rows"][:1], a["units"]),
    ]


def same_bits(a, b):
    return len(a) == len(b) and all(p.tobytes() == q.tobytes() for p, q in zip(a, b))


# ------------------------------------------------------------------------------------------------------------ same bits

def test_the_same_bits_from_run_to_run_and_on_any_number_of_threads():
    a = arrays()
    parallel.set_thread_count(1)
    alone = everything(a)
    for threads in (1, 2, 3, 7):
        parallel.set_thread_count(threads)
        assert same_bits(alone, everything(a)), threads


def test_the_right_numbers():
    a = arrays(dtype="float64")
    for number, (result, expected) in enumerate(zip(everything(a), everything(a, ops), strict=True)):
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9, err_msg=str(number))


@pytest.mark.parametrize("IN, OUT", [(1021, 997), (1024, 600), (5, 3)])
@pytest.mark.parametrize("N", [0, 1, 2, 17, 32, 33])
def test_fully_connected_layers_of_any_size(N, IN, OUT):
    """Primes have no tiles, a batch may be empty, and from 33 images on there are no tiles either."""
    rng = np.random.default_rng(0)
    x, w, b, dy = (rng.standard_normal(shape) for shape in ((N, IN), (OUT, IN), OUT, (N, OUT)))
    results = cpu.linear_forward(x, w, b), *cpu.linear_backward(dy, x, w)
    for result, exact in zip(results, (ops.linear_forward(x, w, b), *ops.linear_backward(dy, x, w)), strict=True):
        np.testing.assert_allclose(result, exact, rtol=1e-9, atol=1e-9)


def test_sum_in_order_waits_for_its_turn():
    """The first piece ends last; the sum must still be the one from left to right, which differs from any other."""
    values = np.float32([1e8, 1, -1e8, 1])
    first_may_end = threading.Event()

    def work(i):
        if i == 0:
            first_may_end.wait(5)
            time.sleep(0.05)  # the last piece is being added meanwhile
        if i == 3:
            first_may_end.set()
        return [values[i:i + 1].copy()]

    parallel.set_thread_count(4)
    total, = parallel.sum_in_order(work, range(4))
    assert total[0] == ((values[0] + values[1]) + values[2]) + values[3] == 1


@pytest.mark.parametrize("count, most", [(1, 4), (4, 4), (10, 3), (7, 100), (0, 5)])
def test_shares_cover_everything_once(count, most):
    slices = parallel.shares(count, most)
    assert [i for piece in slices for i in range(count)[piece]] == list(range(count))
    assert len(slices) <= max(1, min(count, most))


# ----------------------------------------------------------------------------------------------------- threads and BLAS

def blas_threads():
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


def in_thread(function, *arguments):
    """Call function in a new thread, and return what it returns."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *arguments).result(60)


def seen_by_pieces(pieces=6):
    """The numbers of BLAS threads that pieces see, as a set; pieces slow enough for every helper to get some."""
    seen = []

    def work(_):
        time.sleep(0.001)
        seen.append(tuple(blas_threads()))

    parallel.for_each(work, range(pieces))
    return set(seen)


@pytest.fixture
def two_blas_threads():
    """BLAS with 2 threads, and control of it, as a main program may have taken it; returns what is then held."""
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert before and set(before) == {2}
        yield {(1,) * len(before)}
        assert blas_threads() == before


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_blas_is_held_to_one_thread_whichever_thread_calls(threads, two_blas_threads):
    parallel.set_thread_count(threads)
    for _ in range(2):
        assert seen_by_pieces() == two_blas_threads
        assert in_thread(seen_by_pieces) == two_blas_threads
        assert set(blas_threads()) == {2}


def test_blas_is_held_while_another_thread_controls_it(two_blas_threads):
    controls, end = threading.Event(), threading.Event()

    def controller():
        threadpoolctl.threadpool_limits(2, user_api="blas")  # on its own: threadpoolctl never ends this control
        controls.set()
        end.wait(60)

    getattr(threadpoolctl.OpenBLASController, "clear_controlling_thread", lambda force: None)(force=True)
    thread = threading.Thread(target=controller)
    thread.start()
    assert controls.wait(60)
    try:
        assert seen_by_pieces() == in_thread(seen_by_pieces) == two_blas_threads
    finally:
        end.set()
        thread.join()


def test_others_may_set_limits_afterwards():
    """We do not stay in control of BLAS: any thread can limit it as before."""
    def limited():
        with threadpoolctl.threadpool_limits(2, user_api="blas"):
            return set(blas_threads())

    seen_by_pieces()
    assert limited() == in_thread(limited) == {2}


def test_blas_is_put_back_after_an_exception(two_blas_threads):
    def fail():
        with pytest.raises(ZeroDivisionError):
            parallel.for_each(lambda piece: 1 // piece, [1, 1, 0, 1])
        return set(blas_threads())

    assert fail() == in_thread(fail) == {2}


def test_blas_is_held_inside_nested_work(two_blas_threads):
    seen = []
    parallel.set_thread_count(2)
    parallel.for_each(lambda _: seen.append([seen_by_pieces(), set(blas_threads())]), range(3))
    assert seen == [[two_blas_threads, {1}]] * 3


def test_blas_is_put_back_by_the_last_thread_that_leaves(two_blas_threads):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with parallel.one_blas_thread():
            inside.set()
            assert leave.wait(60)
            return set(blas_threads())

    with ThreadPoolExecutor(1) as executor:
        try:
            with parallel.one_blas_thread():
                with parallel.one_blas_thread():
                    pass
                assert set(blas_threads()) == {1}
                future = executor.submit(other)
                assert inside.wait(60)
            assert set(blas_threads()) == {1}
        finally:
            leave.set()
        assert future.result(60) == {1}
    assert set(blas_threads()) == {2}


def test_threads_demand_the_interpreter_lock_at_once_while_they_work():
    before, seen = sys.getswitchinterval(), []
    parallel.set_thread_count(2)
    parallel.for_each(lambda piece: seen.append(sys.getswitchinterval()), range(3))
    with pytest.raises(ZeroDivisionError):
        parallel.for_each(lambda piece: 1 // piece, [1, 0, 1])
    assert seen == [pytest.approx(parallel.SWITCH_SECONDS)] * 3
    assert sys.getswitchinterval() == before and parallel._switch_seconds is None


def test_the_same_bits_in_whichever_thread(two_blas_threads):
    a = arrays()
    for threads in (1, 3):
        parallel.set_thread_count(threads)
        assert same_bits(everything(a), in_thread(everything, a)), threads


@pytest.mark.parametrize("threads", ["", "1", "3"])
def test_bits_and_held_state_from_a_fresh_start(threads):
    """What a thread computes first, what the main thread computes, and what threads compute at the same time."""
    program = """if True:
        import hashlib, threading
        from concurrent.futures import ThreadPoolExecutor
        from test_cpu import arrays, blas_threads, cpu, in_thread, seen_by_pieces
        a, before = arrays(), blas_threads()
        def digest(_=None):
            y = cpu.conv2d_forward(a["x"], a["strided"], a["b"], 2, 1, 2)
            arrays = y, *cpu.linear_backward(a["drows"], a["rows"], a["units"]), *cpu.conv2d_backward(
                y, a["x"], a["strided"], 2, 1, 2)
            return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
        digests = [in_thread(digest), digest(), *ThreadPoolExecutor(3).map(digest, range(6)), in_thread(digest)]
        assert len(set(digests)) == 1, digests
        assert seen_by_pieces() == in_thread(seen_by_pieces) == {(1,) * len(before)}
        assert blas_threads() == before
        print(digests[0])"""
    result = python(program, TINYNET_THREADS=threads)
    assert result.stdout and not result.stderr, result.stderr
    assert result.stdout == python(program, TINYNET_THREADS="2").stdout


class FakeBlas:
    """A BLAS library whose limit belongs to the process, to each thread, or is fixed; it notes nothing else."""

    filepath, internal_api, version = "libfake.so", "fake", "1.0"

    def __init__(self, scope, threads=4):
        self.scope, self.threads = scope, threads
        self.place = threading.local() if scope == "thread" else types.SimpleNamespace()

    @property
    def num_threads(self):
        return getattr(self.place, "threads", self.threads)

    def set_num_threads(self, threads):
        if self.scope != "fixed":
            self.place.threads = threads


@pytest.mark.parametrize("scope", ["process", "thread"])
def test_a_limit_of_the_process_and_a_limit_of_each_thread_are_both_held(scope, monkeypatch):
    """MKL and OpenBLAS with OpenMP have one for each thread."""
    blas, seen, barrier = FakeBlas(scope), [], threading.Barrier(2)
    monkeypatch.setattr(parallel, "_blas_libraries", lambda: [blas])
    parallel.set_thread_count(2)

    def piece_after_piece(_):
        def work(_):
            barrier.wait(60)  # a helper has the other piece
            seen.append(blas.num_threads)

        parallel.for_each(work, range(2))
        return blas.num_threads

    def while_another_caller_works(_):
        for _ in range(50):
            with parallel.one_blas_thread():
                seen.append(blas.num_threads)
                with parallel.one_blas_thread():
                    seen.append(blas.num_threads)
                seen.append(blas.num_threads)
        return scope == "process" or blas.num_threads == 4

    assert piece_after_piece(0) == in_thread(piece_after_piece, 0) == 4
    with ThreadPoolExecutor(4) as executor:
        assert all(executor.map(while_another_caller_works, range(4)))
    assert set(seen) == {1} and len(seen) == 4 + 4 * 150
    assert blas.num_threads == 4


def test_a_blas_that_ignores_its_limit_is_said_once(monkeypatch):
    monkeypatch.setattr(parallel, "_blas_libraries", lambda: [blas])
    for _ in range(2):
        blas = FakeBlas("fixed")
        with pytest.warns(RuntimeWarning, match="libfake.so .fake 1.0. ignores the limit .* uses 4; results"):
            assert in_thread(parallel.for_each, lambda piece: None, range(3)) is None
        with warnings.catch_warnings(action="error"):
            parallel.for_each(lambda piece: None, range(3))


def test_a_blas_that_is_not_known_is_said(monkeypatch):
    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", lambda: types.SimpleNamespace(
        select=lambda user_api: types.SimpleNamespace(lib_controllers=[])))
    with pytest.warns(RuntimeWarning, match="does not know the BLAS library"):
        assert parallel._blas_libraries.__wrapped__() == []


def test_the_first_exception_ends_the_work():
    done = []

    def work(piece):
        if piece == 2:
            raise ValueError("piece 2")
        done.append(piece)

    parallel.set_thread_count(1)
    with pytest.raises(ValueError, match="piece 2"):
        parallel.for_each(work, range(100))
    assert done == [0, 1]


def test_an_exception_in_a_helper_reaches_the_caller():
    caller, both = threading.get_ident(), threading.Barrier(2)

    def work(piece):
        both.wait(5)
        if threading.get_ident() != caller:
            raise ValueError("in the helper")

    parallel.set_thread_count(2)
    with pytest.raises(ValueError, match="in the helper"):
        parallel.for_each(work, range(2))


def test_work_may_share_out_work():
    parallel.set_thread_count(2)
    done = []
    parallel.for_each(lambda i: parallel.for_each(lambda j: done.append((i, j)), range(5)), range(5))
    assert sorted(done) == [(i, j) for i in range(5) for j in range(5)]


@pytest.mark.parametrize("count", [0, -1, 1.5, "2"])
def test_a_wrong_number_of_threads_is_refused(count):
    with pytest.raises(ValueError, match="at least 1"):
        parallel.set_thread_count(count)


@pytest.mark.parametrize("value, expected", [("3", 3), ("", None)])
def test_tinynet_threads(value, expected):
    result = python("from tinynet.cpu import parallel; print(parallel.thread_count())", TINYNET_THREADS=value)
    assert result.stdout.strip() == str(expected or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("value", ["abc", "0", "-1", "1.5", " "])
def test_a_wrong_tinynet_threads_stops_the_first_op_in_one_line(value, monkeypatch):
    """Not the import, where nobody can catch it; and as a DeviceError, which command lines show as one line."""
    monkeypatch.setenv("TINYNET_THREADS", value)
    parallel.set_thread_count(None)
    for _ in range(2):
        with pytest.raises(parallel.ThreadCountError) as error:
            cpu.relu_forward(np.ones((50, 3000), np.float32))
        assert str(error.value) == f"TINYNET_THREADS must be a whole number of at least 1, it is {value!r}"
    assert isinstance(error.value, DeviceError) and isinstance(error.value, ValueError)
    parallel.set_thread_count(2)
    assert cpu.relu_forward(np.ones((50, 3000), np.float32)).all()
    assert python("import tinynet.cpu; print('fine')", TINYNET_THREADS=value).stdout == "fine\n"


def test_one_core_is_enough():
    program = """if True:
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import numpy as np
        from tinynet import cpu, ops
        from tinynet.cpu import parallel
        x, w, b = np.ones((4, 3, 20, 20)), np.ones((4, 3, 3, 3)), np.ones(4)
        assert parallel.thread_count() == 1
        assert np.allclose(cpu.conv2d_forward(x, w, b, 1, 1, 1), ops.conv2d_forward(x, w, b, 1, 1, 1))
        print("fine")"""
    assert python(program).stdout.strip() == "fine"


FORK = """if True:
    import contextlib, os, threading, time, warnings
    warnings.simplefilter("ignore")  # Python 3.12 warns of a fork in a process with threads
    import numpy as np
    import threadpoolctl
    from tinynet import cpu
    from tinynet.cpu import memory, parallel
    parallel.set_thread_count(2)
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype("float32") for s in [(50, 32, 20, 20), (64, 32, 3, 3), 64])

    def op():
        y = cpu.conv2d_forward(x, w, b, 2, 1, 1)
        return b"".join(a.tobytes() for a in [cpu.relu_forward(y), *cpu.conv2d_backward(y, x, w, 2, 1, 1)])

    def blas_threads():
        return [library["num_threads"] for library in threadpoolctl.threadpool_info()]

    def fork_and_compute(context=contextlib.nullcontext()):
        with context:
            child = os.fork()
        if child == 0:
            try:
                os._exit(0 if blas_threads() == before and op() == expected and blas_threads() == before else 1)
            finally:
                os._exit(2)
        for _ in range(1000):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(child, 9)
        os.waitpid(child, 0)
        return "hangs"

    before, expected = blas_threads(), op()

    def in_another_thread(function):
        thread = threading.Thread(target=function)
        thread.start()
        return thread

"""


@pytest.mark.parametrize("lock", ["parallel._pool_lock", "parallel._blas_lock", "memory._stores[1].lock",
                                  "memory._all_buffers_lock"])
def test_a_forked_process_finds_no_lock_held(lock):
    program = FORK + f"""
    lock, held = {lock}, threading.Event()
    def hold():
        with lock:
            held.set()
            time.sleep(0.3)
    thread = in_another_thread(hold)
    assert held.wait(60)
    print(fork_and_compute())
    thread.join()
    print(fork_and_compute(lock))  # held by the thread that forks, as it may be when a signal handler forks"""
    result = python(program)
    assert result.stdout.split() == ["0", "0"], result.stdout + result.stderr


def test_a_process_forked_in_the_middle_of_ops_starts_its_own_threads_and_has_its_blas_back():
    """Other threads are inside ops, inside sums and their locks, and hold BLAS."""
    program = FORK + """
    end, inside, proceed = threading.Event(), threading.Event(), threading.Event()
    def compute():
        while not end.is_set():
            op()
    def wait_inside():
        def work(i):
            if i == 3:
                inside.set()
                proceed.wait(60)
            return [np.ones(3)]
        parallel.sum_in_order(work, range(6))
    threads = [in_another_thread(compute), in_another_thread(compute)]
    print(*[fork_and_compute() for _ in range(10)])
    end.set()
    threads.append(in_another_thread(wait_inside))
    assert inside.wait(60)
    print(fork_and_compute())
    proceed.set()
    for thread in threads:
        thread.join()
    print(blas_threads() == before and op() == expected)"""
    result = python(program)
    assert result.stdout.split() == ["0"] * 11 + ["True"], result.stdout + result.stderr


def python(program, **environment):
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ.get("PATH", ""), **environment}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)


# --------------------------------------------------------------------------------------------------------------- memory

def test_hundreds_of_steps_from_four_threads():
    """The same bits in each, memory flat, BLAS put back (by the fixture)."""
    x, w, b = arrays()["x"][:2, :, :9, :9].copy(), arrays()["strided"][:16], arrays()["b"][:16]
    failures, kept = [], []

    def step():
        y = cpu.conv2d_forward(x, w, b, 2, 1, 2)
        scaled, scale = cpu.lrn_forward(y, 5, 2.0, 0.1, 0.75)
        dy = cpu.lrn_backward(scaled, y, scale, 5, 0.1, 0.75)
        return [scaled, *cpu.conv2d_backward(dy, x, w, 2, 1, 2)]

    parallel.set_thread_count(2)
    expected = step()

    def caller():
        for _ in range(75):
            if not same_bits(expected, step()):
                failures.append(threading.get_ident())
            kept.append(sum(memory.kept_bytes()))

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and len(kept) == 300
    assert max(kept[150:]) <= 1.2 * max(kept[:150])


def test_what_is_returned_is_nobody_elses():
    """A place goes back only when the last view of it is gone."""
    memory.free_memory()
    shape = (3, memory.PAGE)
    first = memory.empty(shape, "uint8")
    first[...] = 1
    view = first[1:].T
    del first
    second = memory.empty(shape, "uint8")
    second[...] = 2
    assert (view == 1).all()
    address = view.base.ctypes.data
    del view
    assert memory.empty(shape, "uint8").ctypes.data == address
    assert (second == 2).all()


@pytest.mark.parametrize("allowed", [0, 1, 20])
def test_the_store_takes_no_more_than_was_once_in_use_and_what_is_allowed(allowed, monkeypatch):
    monkeypatch.setattr(memory, "STORE_BYTES", allowed * memory.PAGE)
    memory.free_memory()
    before, rng, most, arrays = memory._stores[1].used_bytes, random.Random(0), 0, []
    for _ in range(300):
        arrays.append(memory.empty((rng.randint(1, 5), memory.PAGE), "uint8"))
        most = max(most, sum(array.nbytes for array in arrays))
        assert memory._stores[1].used_bytes == before + sum(array.nbytes for array in arrays)
        assert sum(array.nbytes for array in arrays) + memory.kept_bytes()[0] <= most + allowed * memory.PAGE
        if len(arrays) > 6:
            del arrays[rng.randrange(len(arrays))]
    del arrays
    assert allowed < 20 or memory.kept_bytes()[0] > 10 * memory.PAGE
    memory.free_memory()
    assert memory.kept_bytes()[0] == 0


def test_the_place_of_arrays_that_died_side_by_side_is_used_again(monkeypatch):
    """Two of 3 pages make room for one of 6; a smaller array takes the first of two free places."""
    monkeypatch.setattr(memory, "_stores", (memory._Store(memory.SMALLEST), memory._Store(memory.PAGE)))
    a, b, c, d, e = (memory.empty((pages, memory.PAGE), "uint8") for pages in (3, 3, 1, 2, 1))
    first, between = a.ctypes.data, d.ctypes.data
    del a, b, d
    assert memory.empty((2, memory.PAGE), "uint8").ctypes.data == first
    whole = memory.empty((6, memory.PAGE), "uint8")
    assert whole.ctypes.data == first
    assert memory.empty((2, memory.PAGE), "uint8").ctypes.data == between
    assert first % memory.PAGE == 0
    del c, e


def test_memory_goes_back_to_the_system():
    """A quarter of a gigabyte that was written and is free no longer counts as memory of this process."""
    def resident():
        pages = int(open("/proc/self/statm", encoding="ascii").read().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    memory.free_memory()
    before = resident()
    array = memory.empty((1 << 28,), "uint8")
    array[...] = 1
    del array
    assert resident() > before + (1 << 27)
    memory.free_memory()
    assert resident() < before + (1 << 27)


def test_a_limit_of_addresses_is_kept(monkeypatch):
    """Under a limit such as ulimit -v, the store is as large as the limit allows; then there is a MemoryError."""
    class Limited(memory.mmap.mmap):
        def __new__(cls, fd, size, **flags):
            if size > 5 * memory.PAGE:
                raise OSError(12, "Cannot allocate memory")
            return super().__new__(cls, fd, size, **flags)

    monkeypatch.setattr(memory.mmap, "mmap", Limited)
    monkeypatch.setattr(memory, "_stores", (memory._Store(memory.SMALLEST), memory._Store(memory.PAGE)))
    kept = memory.empty((memory.PAGE,), "uint8")
    with pytest.raises(MemoryError, match="no 12,582,912 bytes for a result, beside 2,097,152 in use: there are"):
        memory.empty((6, memory.PAGE), "uint8")
    kept[...] = 1


def test_a_kernel_without_huge_pages_is_enough(monkeypatch):
    class Small(memory.mmap.mmap):
        def madvise(self, *_):
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(memory.mmap, "mmap", Small)
    monkeypatch.setattr(memory, "_stores", (memory._Store(memory.SMALLEST), memory._Store(memory.PAGE)))
    array = memory.empty((memory.PAGE,), "uint8")
    assert isinstance(memory._stores[1].memory, Small)
    array[...] = 1
    assert array.all()


def test_scratch_is_used_again_and_bounded():
    memory.free_memory()
    first = memory.scratch("test", (1000,), "float32").ctypes.data
    assert memory.scratch("test", (10, 100), "float32").ctypes.data == first and first % 64 == 0
    memory.scratch("large", (memory.SCRATCH_BYTES,), "uint8")
    memory.scratch("larger", (2 * memory.SCRATCH_BYTES,), "uint8")
    assert memory.kept_bytes()[1] <= memory.SCRATCH_BYTES
    memory.free_memory()
    assert memory.kept_bytes()[1] == 0


def test_scratch_goes_with_its_thread():
    memory.free_memory()
    thread = threading.Thread(target=lambda: memory.scratch("test", (1000,), "float32"))
    thread.start()
    thread.join()
    assert memory.kept_bytes()[1] == 0


# ------------------------------------------------------------------------------------------------------------- Winograd

@pytest.mark.parametrize("m, r", [(2, 3), (3, 3), (4, 3), (2, 5), (3, 5)])
def test_the_matrices_are_a_convolution(m, r):
    A, G, B = winograd.matrices(m, r, "float64")
    d, g = np.random.default_rng(0).standard_normal((2, m + r - 1))
    expected = [d[i:i + r] @ g[:r] for i in range(m)]
    np.testing.assert_allclose(A.T @ ((G @ g[:r]) * (B.T @ d)), expected, rtol=1e-12)


@pytest.mark.parametrize("r, pad, bounds", [(3, 1, (2e-6, 3e-6, 2e-6)), (5, 2, (6e-6, 8e-6, 8e-6))])
def test_rounding_of_winograd(r, pad, bounds):
    """Against float64, relative to the length of the whole result; the direct sum has 2e-7 to 5e-7."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((5, 96, 14, 13)), 0).astype("float32")
    w, b = (rng.standard_normal((128, 48, r, r)) / 30).astype("float32"), np.zeros(128, "float32")
    dy = rng.standard_normal((5, 128, 14, 13)).astype("float32")
    assert winograd.pays(x, w, dy.shape, 1)
    results = [cpu.conv2d_forward(x, w, b, 1, pad, 2), *cpu.conv2d_backward(dy, x, w, 1, pad, 2)[:2]]
    x, w, b, dy = (a.astype("float64") for a in (x, w, b, dy))
    expected = [ops.conv2d_forward(x, w, b, 1, pad, 2), *ops.conv2d_backward(dy, x, w, 1, pad, 2)[:2]]
    for result, exact, bound in zip(results, expected, bounds):
        assert np.linalg.norm(result - exact) <= bound * np.linalg.norm(exact)


@pytest.mark.parametrize("r, pad, size", [(3, 0, (7, 9)), (3, (2, 1), (13, 6)), (3, (1, 17), (5, 1)),
                                          (5, 1, (9, 10)), (5, (0, 2), (5, 8))])
@pytest.mark.parametrize("need_dx", [True, False])
def test_winograd_at_odd_sizes(r, pad, size, need_dx):
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((4, 64, *size)), rng.standard_normal((64, 32, r, r)), rng.standard_normal(64)
    y = ops.conv2d_forward(x, w, b, 1, pad, 2)
    assert winograd.pays(x, w, y.shape, 1)
    dy = rng.standard_normal(y.shape)
    results = cpu.conv2d_forward(x, w, b, 1, pad, 2), *cpu.conv2d_backward(dy, x, w, 1, pad, 2, need_dx=need_dx)
    expected = y, *ops.conv2d_backward(dy, x, w, 1, pad, 2, need_dx=need_dx)
    for result, exact in zip(results, expected):
        if exact is None:
            assert result is None
        else:
            np.testing.assert_allclose(result, exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size, stride, pad, shape, ceil", [
    (11, 4, 0, (4, 3, 27, 31), False), (11, 4, 0, (4, 3, 26, 31), False), (11, 4, 2, (4, 4, 25, 22), True),
    (10, 2, (3, 0), (4, 8, 15, 17), False), (5, 2, 1, (5, 8, 10, 13), True),
    (4, 2, 0, (4, 8, 9, 8), False), (6, 3, 1, (4, 6, 13, 14), False)])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("need_dx", [True, False])
def test_winograd_in_blocks_of_pixels(size, stride, pad, shape, ceil, groups, need_dx, monkeypatch):
    """The last windows end before, at and after the last pixel, and kernels fill their last block or do not.

    With 26 pixels, the last two are in no block.
    """
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(winograd, "TILES", {2: 3, 3: 2, 5: 3})
    rng, groups = np.random.default_rng(0), groups if shape[1] % groups == 0 else 1
    x, b = rng.standard_normal(shape), rng.standard_normal(6)
    w = rng.standard_normal((6, shape[1] // groups, size, size))
    y = ops.conv2d_forward(x, w, b, stride, pad, groups, ceil)
    assert winograd.pays(x, w, y.shape, stride)
    dy = rng.standard_normal(y.shape)
    results = (cpu.conv2d_forward(x, w, b, stride, pad, groups, ceil),
               *cpu.conv2d_backward(dy, x, w, stride, pad, groups, ceil, need_dx))
    expected = y, *ops.conv2d_backward(dy, x, w, stride, pad, groups, ceil, need_dx)
    for result, exact in zip(results, expected):
        if exact is None:
            assert result is None
        else:
            np.testing.assert_allclose(result, exact, rtol=1e-9, atol=1e-9)


def test_conv1_goes_by_blocks():
    x, w = np.empty((4, 3, 227, 227), "float32"), np.empty((96, 3, 11, 11), "float32")
    assert winograd.pays(x, w, (4, 96, 55, 55), 4)
    assert not winograd.pays(x, w, (4, 96, 55, 55), (4, 2))


def test_without_winograd(monkeypatch):
    monkeypatch.setattr(winograd, "TILES", {})
    a = arrays()
    assert not winograd.pays(a["x"], a["w"], a["dy"].shape, 1)
    np.testing.assert_allclose(cpu.conv2d_forward(a["x"], a["w"], a["b"], 1, 1, 1),
                               ops.conv2d_forward(a["x"], a["w"], a["b"], 1, 1, 1), rtol=1e-4, atol=1e-4)


# ----------------------------------------------------------------------------- planted bugs that tests above must see

def planted_first_come_first_added(monkeypatch):
    def sum_as_it_comes(work, pieces):
        pieces, lock, totals = list(pieces), threading.Lock(), []

        def add(piece):
            parts = work(piece)
            with lock:
                for total, part in zip(totals, parts):
                    total += part
                totals[:] = totals or parts

        parallel.for_each(add, pieces)
        return totals

    monkeypatch.setattr(parallel, "sum_in_order", sum_as_it_comes)
    return test_sum_in_order_waits_for_its_turn, ()


def planted_blas_left_alone(monkeypatch):
    monkeypatch.setattr(parallel, "_blas_libraries", lambda: [])
    return with_two_blas_threads, (test_blas_is_held_inside_nested_work,)


def planted_only_the_main_thread_sets_limits(monkeypatch):
    set_limit = parallel._set_limit
    monkeypatch.setattr(parallel, "_set_limit", lambda *arguments: (
        threading.current_thread() is threading.main_thread() and set_limit(*arguments)))
    return with_two_blas_threads, (test_blas_is_held_to_one_thread_whichever_thread_calls, 2)


def planted_every_limit_taken_for_the_process(monkeypatch):
    monkeypatch.setattr(parallel, "_has_one_limit", lambda library: True)
    return test_a_limit_of_the_process_and_a_limit_of_each_thread_are_both_held, ("thread", monkeypatch)


def planted_every_limit_taken_for_the_thread(monkeypatch):
    monkeypatch.setattr(parallel, "_has_one_limit", lambda library: False)
    return with_two_blas_threads, (test_blas_is_put_back_by_the_last_thread_that_leaves,)


def with_two_blas_threads(test, *arguments):
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        test(*arguments, {(1,) * len(blas_threads())})


def planted_block_returned_too_early(monkeypatch):
    def empty(shape, dtype):
        store = memory._stores[1]
        place = store.take(int(np.prod(shape)))
        store.returned.append(place)
        return np.ndarray(shape, dtype, store.memory, place[0])

    monkeypatch.setattr(memory, "empty", empty)
    return test_what_is_returned_is_nobody_elses, ()


def planted_scratch_shared_between_threads(monkeypatch):
    class Shared:
        buffers = memory._Buffers()

    memory._all_buffers.add(Shared.buffers)
    monkeypatch.setattr(memory, "_scratch", Shared)
    return test_scratch_goes_with_its_thread, ()


def planted_worse_points(monkeypatch):
    monkeypatch.setattr(winograd, "POINTS", (0, 1, -1, 3, -3, 4, -4))
    monkeypatch.setattr(winograd, "matrices", winograd.matrices.__wrapped__)  # not what was computed before
    return test_rounding_of_winograd, (5, 2, (6e-6, 8e-6, 8e-6))


@pytest.mark.parametrize("plant", [
    planted_first_come_first_added, planted_blas_left_alone, planted_only_the_main_thread_sets_limits,
    planted_every_limit_taken_for_the_process, planted_every_limit_taken_for_the_thread,
    planted_block_returned_too_early, planted_scratch_shared_between_threads, planted_worse_points],
    ids=lambda plant: plant.__name__)
@pytest.mark.filterwarnings("ignore:.* ignores the limit")
def test_planted_bugs_are_seen(plant, monkeypatch):
    test, arguments = plant(monkeypatch)
    with pytest.raises(AssertionError):
        test(*arguments)
