"""Which device, and why not: what `backend.choose_device` is to say once it knows `gpu:N` and memory. Not collected yet."""

import cupy_stand_in
import pytest
from test_cuda_launchers import stand_in  # noqa: F401

import tinynet
from tinynet import backend


def test_the_choice_of_a_device_says_what_it_found(stand_in):
    found = "stand-in, number 0, 8.0 of 16.0 GiB free"
    for wanted in ("auto", "gpu", "gpu:0"):
        assert backend.choose_device(wanted) == ("gpu", found)
    assert backend.choose_device("cpu") == ("cpu", "as asked")


@pytest.mark.parametrize("wanted, needed, message", [
    ("gpu:1", 0, "there is no GPU 1; there are 1, counted from 0"),
    ("gpu", 9 << 30, "about 9.0 GiB are needed, GPU 0 has 8.0 of 16.0 GiB free; lower --batch-size, or choose another with "
                     "--device gpu:N"),
    ("gpu:x", 0, "unknown device 'gpu:x': auto, cpu, gpu or gpu:N"), ("tpu", 0, "unknown device 'tpu'")])
def test_devices_that_are_not_there(stand_in, wanted, needed, message):
    with pytest.raises(tinynet.DeviceError) as error:
        backend.choose_device(wanted, needed)
    assert str(error.value).startswith(message)


def raises(error):
    def function(*_):
        raise error
    return function


@pytest.mark.parametrize("versions, count, allocation, message", [
    ((0, 12090), None, None, "there is no NVIDIA driver"),
    ((12080, 13000), None, None, "CuPy is made for CUDA 13, the driver for CUDA 12; update the driver, or: pip uninstall "
                                 "cupy-cuda13x && pip install 'cupy-cuda12x[ctk]'"),
    ((12080, 12090), raises(cupy_stand_in.cuda.runtime.CUDARuntimeError("cudaErrorNoDevice: none")), None,
     "CUDA finds no device (cudaErrorNoDevice: none)"),
    ((12080, 12090), lambda: 0, None, "CUDA finds no device; check it with nvidia-smi"),
    ((12080, 12090), None, raises(MemoryError("Out of memory")), "its memory is full"),
    ((12080, 12090), None, raises(OSError("libnvrtc.so.12: cannot open")),
     "a test kernel failed: libnvrtc.so.12: cannot open; if files of CUDA are missing")])
def test_each_reason_why_there_is_no_gpu_has_its_line(stand_in, monkeypatch, versions, count, allocation, message):
    monkeypatch.setattr(backend, "_usable", [])
    runtime = stand_in.cuda.runtime
    for name, value in (("driverGetVersion", lambda: versions[0]), ("runtimeGetVersion", lambda: versions[1]),
                        ("getDeviceCount", count or runtime.getDeviceCount)):
        monkeypatch.setattr(runtime, name, value)
    if allocation:
        monkeypatch.setattr(stand_in, "arange", allocation)
    with pytest.raises(tinynet.DeviceError) as error:
        backend.choose_device("gpu")
    assert str(error.value).startswith(f"no usable GPU: {message}")
    assert "\n" not in str(error.value)
    assert backend.choose_device("auto") == ("cpu", str(error.value).removeprefix("no usable GPU: "))
