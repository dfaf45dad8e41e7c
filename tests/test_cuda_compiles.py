"""Rung cuda, the kernels: NVRTC compiles each file for three generations of GPUs, with no warning and no spilling.

    python tests/test_cuda_compiles.py      prints registers, shared memory and spills of every kernel

NVRTC needs no GPU and no driver; TINYNET_REQUIRE_NVRTC=1 turns the skip where it is missing into a failure.
"""

import ctypes
import functools
import importlib.metadata
import pathlib
import re

import pytest

try:
    from conftest import skip_unless_required
except ImportError:  # run as a script, where nobody looks for a test
    skip_unless_required = None

from tinynet.cuda import implicit, kernels
from tinynet.shapes import ceil_div

FILES = sorted(path.stem for path in pathlib.Path(kernels.__file__).parent.glob("*.cu"))
ARCHITECTURES = ["sm_75", "sm_80", "sm_90"]
KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([\w, ]+\) )?(\w+)\(')
PACKAGES = ["nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc"]


@functools.cache
def nvrtc():
    """The library of the pip package, or None."""
    for package in PACKAGES:
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if re.fullmatch(r"libnvrtc\.so\.\d+", file.name):
                return ctypes.CDLL(str(file.locate()))
    return None


def options(real, index, architecture, tile):
    """Those that kernels.py hands to CuPy, and those that CuPy 14 adds."""
    sizes = [f"-D{name}={size}" for name, size in tile._asdict().items()] if tile else []
    return ["--std=c++17", "-ftz=true", "--device-as-default-execution-space", f"-Dreal={real}",
            f"-Dindex_t={index}", "-Dposition=unsigned char", f"-arch={architecture}", "--ptxas-options=-v", *sizes]


def tiles(file, real="float", index="int", architecture="sm_90"):
    """The tiles for which implicit.cu is compiled; for other files just None."""
    if file != "implicit":
        return [None]
    wanted = {implicit.tile(version, rows) for version in implicit.VERSIONS for rows in (128, 64)}
    if (real, index) != ("float", "int"):
        wanted = {tile for tile in wanted if tile.VERSION >= 7}
    if real == "double" or architecture == "sm_75":
        wanted = {tile for tile in wanted if tile.VERSION < implicit.TENSOR_CORES}
    return sorted(wanted)


def compiled(file, real, index, architecture, tile=None):
    """(whether it compiled, the log)."""
    library, program = nvrtc(), ctypes.c_void_p()
    text = f'#line 1 "{file}.cu"\n{kernels.source(file)}'.encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), text, f"{file}.cu".encode(), 0, None, None) == 0
    arguments = [option.encode() for option in options(real, index, architecture, tile)]
    result = library.nvrtcCompileProgram(program, len(arguments), (ctypes.c_char_p * len(arguments))(*arguments))
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return result == 0, log.value.decode()


def resources(log):
    """{kernel: (registers, bytes of shared memory, bytes spilled)} from what ptxas said of it."""
    found = {}
    for said in log.split("Compiling entry function '")[1:]:  # with what it calls: pow of double
        spilled = sum(int(count) for count in re.findall(r"(\d+) bytes spill", said))
        shared = re.search(r"(\d+) bytes smem", said)
        registers = int(re.search(r"Used (\d+) registers", said)[1])
        found[said.partition("'")[0]] = registers, int(shared[1]) if shared else 0, spilled
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_nvrtc_takes_it_without_a_word(file, architecture):
    if nvrtc() is None:
        skip_unless_required("TINYNET_REQUIRE_NVRTC", f"NVRTC is not installed; pip install {PACKAGES[0]}")
    for real, index in (("float", "int"), ("double", "int"), ("float", "long long")):
        for tile in tiles(file, real, index, architecture):
            good, log = compiled(file, real, index, architecture, tile)
            words = [line for line in log.splitlines() if re.search(r"error|warning", line)]
            assert good and not words, log
            found = resources(log)
            assert sorted(found) == sorted(KERNEL.findall(kernels.source(file)))
            for kernel, (registers, shared, spilled) in found.items():
                assert spilled == 0, f"{kernel} {tile} spills {spilled} bytes"
                assert shared <= kernels.SHARED_LIMIT
                if tile is None:
                    assert registers <= 64, f"{kernel} takes {registers} registers: not four blocks of 256 threads fit"
                elif (real, index) == ("float", "int"):
                    warps = 65536 // (ceil_div(registers, 8) * 8 * tile.THREADS) * tile.THREADS // 32
                    assert warps >= 8, f"{tile} takes {registers} registers: only {warps} warps fit"


@pytest.mark.parametrize("file", FILES)
def test_each_file_opens_with_its_ladder(file):
    """From version 1, the loop, to the one that runs; and every kernel says by its name on which rung it stands."""
    text = kernels.source(file)
    head = re.match(r"(//[^\n]*\n)+", text)[0]
    told = [int(number) for number in re.findall(r"(?m)^// Version (\d)  \S", head)]
    assert told == list(range(1, len(told) + 1)) and len(told) >= 2
    assert "// real: float or double." in head
    pattern = r"(?m)^__device__ void (product_\d)\(" if file == "implicit" else KERNEL
    kept = {int(re.search(r"_(\d)$", name)[1]) for name in re.findall(pattern, text)}
    assert 1 in kept and kept <= set(told)


def test_a_mistake_is_reported_with_its_line():
    if nvrtc() is None:
        skip_unless_required("TINYNET_REQUIRE_NVRTC", f"NVRTC is not installed; pip install {PACKAGES[0]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "source", lambda file: "// one\nthis is no kernel\n")
        good, log = compiled("sgd", "float", "int", "sm_80")
    assert not good and "sgd.cu(2): error" in log


if __name__ == "__main__":
    print(f"{'float, index_t int':24}" + "".join(f"{name:>26}" for name in ARCHITECTURES))
    for file in FILES:
        for tile in tiles(file):
            rows = [resources(compiled(file, "float", "int", name, tile)[1]) for name in ARCHITECTURES]
            for kernel in rows[-1]:
                name = f"{kernel} {tile.VERSION}, {tile.ROWS} rows" if tile else kernel
                print(f"{name:24}" + "".join("{:>8} regs {:>5} B {:>3} sp".format(*row[kernel]) if kernel in row
                                             else " " * 26 for row in rows))
