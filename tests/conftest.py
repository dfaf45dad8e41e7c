"""What all tests share: the marker `gpu`, PyTorch as an oracle, a stand-in for CuPy. What is missing is skipped, saying
why, unless it is required."""

import functools
import os
import sys

import cupy_stand_in
import pytest
import slim
import threadpoolctl

import tinynet
from tinynet import emulator
from tinynet.backend import why_no_gpu

no_gpu = functools.cache(why_no_gpu)


LONGEST = ["test_lessons", "test_microscope_browser", "test_resume", "test_train_script", "test_cuda_launchers",
           "test_cuda_devices", "test_columns", "test_parallel_mpi", "test_gradients", "test_weights",
           "test_cuda_emulated", "test_trace", "test_benchmark", "test_finetune", "test_cpu", "test_classify",
           "test_pack", "test_race", "test_oracle_network", "test_train_cifar10", "test_microscope"]


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that no worker is left alone with one of them at the end."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and no_gpu():
        skip_unless_required("TINYNET_REQUIRE_GPU", no_gpu())


@pytest.fixture(scope="module", autouse=True)
def one_thread_for_blas(request):
    """Threads of several test workers would wait for each other, at full speed. test_cpu looks at their number."""
    if request.path.stem == "test_cpu":
        yield
        return
    with threadpoolctl.threadpool_limits(1, user_api="blas"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_NUM_THREADS", "1")  # of the programs that tests start
        yield


@pytest.fixture(scope="session")
def oracle():
    """PyTorch, which computes every op in its own way. TINYNET_REQUIRE_ORACLE=1 turns the skip into a failure."""
    try:
        import torch
    except ImportError as error:
        skip_unless_required("TINYNET_REQUIRE_ORACLE", f"the oracle is missing ({error}); install it with: "
                                                       "pip install -e '.[oracle]'")
    torch.set_num_threads(1)  # as for BLAS
    return torch


@pytest.fixture
def kernels_run():
    """The emulator, which runs kernels without a GPU. TINYNET_REQUIRE_EMULATOR=1 turns the skip into a failure."""
    if emulator.why_not():
        skip_unless_required("TINYNET_REQUIRE_EMULATOR", emulator.why_not())


@pytest.fixture
def stand_in(kernels_run, monkeypatch):
    """For the length of one test `import cupy` brings the stand-in, so that "gpu" is a device that can be used."""
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in)
    cupy_stand_in.cuda.Device(0).use()
    cupy_stand_in.meter.reset()
    return cupy_stand_in


@pytest.fixture(scope="module")
def slim_alexnets():
    """For the length of a test file every AlexNet of this process is slim; slim.py does it for another program."""
    with pytest.MonkeyPatch.context() as patch:
        for name, recipe in slim.slim_recipes().items():
            patch.setitem(tinynet.RECIPES, name, recipe)
        yield


def skip_unless_required(variable, reason):
    """Skip; but where the environment says that this test must run, fail."""
    if os.environ.get(variable) == "1":
        pytest.fail(f"{variable}=1, but {reason}", pytrace=False)
    pytest.skip(reason)
