"""What all tests share: the marker `gpu`, and PyTorch as an oracle. Both skip, saying why, unless they are required."""

import functools
import os

import pytest

from tinynet.backend import why_no_gpu

no_gpu = functools.cache(why_no_gpu)


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and no_gpu():
        skip_unless_required("TINYNET_REQUIRE_GPU", no_gpu())


@pytest.fixture(scope="session")
def oracle():
    """PyTorch, which computes every op in its own way. TINYNET_REQUIRE_ORACLE=1 turns the skip into a failure."""
    try:
        import torch
    except ImportError as error:
        skip_unless_required("TINYNET_REQUIRE_ORACLE", f"the oracle is missing ({error}); install it with: "
                                                       "pip install 'tinynet[oracle]'")
    return torch


def skip_unless_required(variable, reason):
    """Skip; but where the environment says that this test must run, fail."""
    if os.environ.get(variable) == "1":
        pytest.fail(f"{variable}=1, but {reason}", pytrace=False)
    pytest.skip(reason)
