"""Run CUDA kernels without a GPU, and say what they do wrong.

    module = Module(text, ("-Dreal=float", "-Dindex_t=int"))
    module.kernels["relu_forward_1"].launch((grid,), (block,), arguments)      raises Misstep

A .cu file is built as C++, by g++, and run by runtime.cpp, which runs the threads one after another
in a shuffled order and watches every access to memory. It finds wrong indices, races, missing
barriers; it says nothing about speed, except for the memory traffic of warps.
"""

import ctypes
import functools
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).parent
COMPILER = shutil.which("g++")
WATCHED = ["-fsanitize=thread",
           "-fsanitize=bounds,signed-integer-overflow,integer-divide-by-zero,shift",
           "--param", "tsan-instrument-func-entry-exit=0", "-w"]
COMMON = ["-std=c++17", "-fPIC"]

SCALARS = {"int": np.int32, "long long": np.int64, "float": np.float32, "double": np.float64,
           "unsigned char": np.uint8, "unsigned short": np.uint16, "unsigned int": np.uint32,
           "unsigned long long": np.uint64}


class Misstep(AssertionError):
    """A kernel did something that is wrong on a GPU, or its arguments make no sense there."""


class _Buffer(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("itemsize", ctypes.c_uint),
                ("writable", ctypes.c_int), ("name", ctypes.c_char_p)]


class Traffic(ctypes.Structure):
    """The accesses to one array.

    requests  how many instructions of warps made them
    sectors   how many sectors of 32 bytes, in which a GPU reads and writes memory, they touched
    least     the number of sectors that would have been enough for the same numbers; if `sectors`
              is several times as large, the access is not coalesced
    """

    _fields_ = [("accesses", ctypes.c_ulonglong), ("requests", ctypes.c_ulonglong),
                ("sectors", ctypes.c_ulonglong), ("least", ctypes.c_ulonglong)]


class _Launch(ctypes.Structure):
    _fields_ = [("blocks", ctypes.c_uint),
                ("threads_x", ctypes.c_uint), ("threads_y", ctypes.c_uint),
                ("first_block", ctypes.c_uint), ("last_block", ctypes.c_uint),
                ("shared_bytes", ctypes.c_size_t), ("seed", ctypes.c_ulonglong),
                ("buffers", ctypes.POINTER(_Buffer)), ("buffer_count", ctypes.c_int),
                ("steps", ctypes.c_ulonglong), ("traffic", ctypes.POINTER(Traffic))]


class Module:
    """The kernels of a .cu file, compiled with some -D options.

    With `steps`, a kernel is stopped after so many branches, which ends an endless loop, and its
    traffic is counted.
    Raises Misstep if g++ finds an error in the source.
    """

    def __init__(self, text, options=(), steps=0):
        types = dict(option.removeprefix("-D").split("=", 1) for option in options)
        library = ctypes.CDLL(_build(text, tuple(sorted(types.items())), steps > 0))
        library.emulate.restype = ctypes.c_char_p
        self.kernels = {name: Kernel(library, name, parameters, types, steps)
                        for name, parameters in _signatures(text)}


class Kernel:
    """A kernel that can be launched.

    `seed` shuffles blocks and threads; every launch takes the next seed.
    """

    seed = 1

    def __init__(self, library, name, parameters, types, steps):
        self.name, self._steps = name, steps
        self.parameters = [_parameter(text, types) for text in parameters.split(",")]
        self._emulate, self._entry = library.emulate, getattr(library, f"call_{name}")

    def launch(self, grid, block, arguments, shared=0, blocks=None):
        """Run the kernel on `arguments`, of exactly the types that it declares.

        Args     arguments: NumPy arrays and NumPy scalars; shared: bytes of shared memory for each
                 block; blocks: (first, last), to run only a part of a grid that is too large
        Returns  {name of an array: Traffic}; all zeros if the module has no limit of steps
        Raises   Misstep at the first thing that is wrong
        """
        if len(arguments) != len(self.parameters):
            raise Misstep(f"{self.name} has {len(self.parameters)} parameters, it was given "
                          f"{len(arguments)} arguments")
        _check_limits(self.name, grid, block, shared)
        buffers, slots = [], []
        for argument, (c_type, pointer, const, name) in zip(arguments, self.parameters):
            where = f"{self.name}: {c_type}{'*' if pointer else ''} {name}"
            if not isinstance(argument, np.ndarray if pointer else np.generic):
                raise Misstep(f"{where} was given {type(argument).__name__}")
            if argument.dtype != SCALARS[c_type]:
                raise Misstep(f"{where} was given {argument.dtype}")
            if pointer:
                if not argument.flags.c_contiguous:
                    raise Misstep(f"{where} was given an array that is not contiguous")
                buffers.append(_Buffer(argument.ctypes.data, argument.nbytes, argument.itemsize,
                                       not const, name.encode()))
                slots.append(np.array(argument.ctypes.data, np.uintp))
            else:
                slots.append(np.array(argument))
        first, last = blocks or (0, grid[0])
        Kernel.seed += 1
        traffic = (Traffic * len(buffers))()
        launch = _Launch(grid[0], block[0], block[1] if len(block) > 1 else 1, first, last, shared,
                         Kernel.seed, (_Buffer * len(buffers))(*buffers), len(buffers),
                         self._steps, traffic if self._steps else None)
        addresses = (ctypes.c_void_p * len(slots))(*[slot.ctypes.data for slot in slots])
        wrong = self._emulate(self._entry, addresses, ctypes.byref(launch))
        if wrong:
            raise Misstep(f"{self.name}: {wrong.decode()}")
        return {buffer.name.decode(): counted for buffer, counted in zip(buffers, traffic)}


@functools.cache
def why_not():
    """Return None if kernels can be run here, else one line with the reason."""
    if COMPILER is None:
        return "there is no g++, which the emulator needs: apt-get install g++"
    try:
        kernel = Module('extern "C" __global__ void nothing(int n) {}', ()).kernels["nothing"]
        kernel.launch((1,), (1,), (np.int32(0),))
    except (Misstep, OSError, AttributeError) as error:  # g++ is clang; another kind of computer
        return f"this g++ cannot build the emulator ({' '.join(str(error).split())[:120]})"
    return None


def _check_limits(name, grid, block, shared):
    """Raise Misstep for a launch that a GPU of compute capability 7.5 refuses.

    It also refuses the few kinds of launches that runtime.cpp cannot run.
    """
    threads = int(np.prod(block))
    if not all(isinstance(size, int) for size in (*grid, *block, shared)):
        raise Misstep(f"{name}: grid {grid}, block {block} and shared {shared} must be whole "
                      "numbers")
    if not (1 <= grid[0] < 2**31 and all(1 <= size <= 65535 for size in grid[1:])):
        raise Misstep(f"{name}: no GPU has a grid of {grid}")
    if not (1 <= threads <= 1024 and all(size >= 1 for size in block)
            and (len(block) < 3 or block[2] <= 64)):
        raise Misstep(f"{name}: no GPU has a block of {block}")
    if shared > 48 << 10:
        raise Misstep(f"{name}: {shared} bytes of shared memory are more than a block gets "
                      "without asking")
    if len(grid) > 1 or len(block) > 2:
        raise Misstep(f"{name}: the emulator knows grids of one axis and blocks of two")


def _signatures(text):
    text = re.sub(r"//[^\n]*|__restrict__ |__launch_bounds__\([\w, ]+\) ", "", text)
    return re.findall(r'extern "C" __global__ void (\w+)\(([^)]*)\)', text)


def _parameter(text, types):
    pointer, const = "*" in text, "const " in text
    *c_type, name = re.sub(r"\bconst\b|\b__restrict__\b|\*", " ", text).split()
    c_type = " ".join(c_type)
    return types.get(c_type, c_type), pointer, const, name


def _call(kernel, parameters):
    """Return the C++ of a function that calls a kernel, and reads its arguments from memory."""
    types = [text.strip().rpartition(" ")[0] + ("*" if "*" in text.rpartition(" ")[2] else "")
             for text in parameters.split(",")]
    arguments = ", ".join(f"*({c_type}*)arguments[{i}]" for i, c_type in enumerate(types))
    return (f'extern "C" UNWATCHED void call_{kernel}(void** arguments) '
            f'{{ {kernel}({arguments}); }}\n')


@functools.cache
def _folder():
    return tempfile.TemporaryDirectory(prefix="tinynet-emulator-")


@functools.cache
def _runtime():
    path = os.path.join(_folder().name, "runtime.o")
    _compile([*COMMON, "-O2", "-w", "-c", str(HERE / "runtime.cpp"), "-o", path])
    return path


@functools.cache
def _build(text, types, limited):
    """Return the path of a shared library, which is built once in a session."""
    stem = os.path.join(_folder().name,
                        hashlib.sha256(repr((text, types, limited)).encode()).hexdigest()[:16])
    defines = "".join(f"#define {name} {c_type}\n" for name, c_type in types)
    calls = "".join(_call(name, parameters) for name, parameters in _signatures(text))
    text = re.sub(r"extern __shared__ (\w+) (\w+)\[\];",
                  r"\1* \2 = (\1*)emulator_dynamic_shared();", text)
    head = f'#include "{HERE / "cuda_on_cpu.h"}"\n{defines}#line 1 "{stem}.cpp"\n'
    pathlib.Path(f"{stem}.cpp").write_text(f"{head}{text}\n{calls}")
    branches = ["-fsanitize-coverage=trace-pc"] if limited else []
    _compile([*COMMON, *WATCHED, *branches, "-c", f"{stem}.cpp", "-o", f"{stem}.o"])
    _compile(["-shared", "-Wl,-Bsymbolic", f"{stem}.o", _runtime(), "-o", f"{stem}.so"])
    return f"{stem}.so"


def _compile(arguments):
    ran = subprocess.run([COMPILER, *arguments], capture_output=True, text=True,
                         env={**os.environ, "LC_ALL": "C"})  # messages in English
    if ran.returncode:
        raise Misstep(f"g++ does not take it:\n{ran.stderr}")
