"""Kernels without a GPU: a .cu file built as C++ and run by runtime.cpp, which watches every access to memory.

    module = Module(text, ("-Dreal=float", "-Dindex_t=int"))
    module.kernels["relu_forward_1"].launch((grid,), (block,), arguments)      raises Misstep
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
WATCHED = ["-fsanitize=thread", "-fsanitize=bounds,signed-integer-overflow,integer-divide-by-zero,shift",
           "--param", "tsan-instrument-func-entry-exit=0", "-w"]
COMMON = ["-std=c++17", "-fPIC"]

SCALARS = {"int": np.int32, "long long": np.int64, "float": np.float32, "double": np.float64,
           "unsigned char": np.uint8, "unsigned short": np.uint16, "unsigned int": np.uint32}


class Misstep(AssertionError):
    """A kernel did what no kernel may, or was called in a way that CUDA would not notice and that gives nonsense."""


class _Buffer(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("itemsize", ctypes.c_uint),
                ("writable", ctypes.c_int), ("name", ctypes.c_char_p)]


class _Launch(ctypes.Structure):
    _fields_ = [("blocks", ctypes.c_uint), ("threads_x", ctypes.c_uint), ("threads_y", ctypes.c_uint),
                ("first_block", ctypes.c_uint), ("last_block", ctypes.c_uint), ("shared_bytes", ctypes.c_size_t),
                ("seed", ctypes.c_ulonglong), ("buffers", ctypes.POINTER(_Buffer)), ("buffer_count", ctypes.c_int)]


class Module:
    """A .cu file under some -D options. `seed` shuffles blocks and threads; every launch takes the next one."""

    def __init__(self, text, options):
        types = dict(option.removeprefix("-D").split("=", 1) for option in options)
        library = ctypes.CDLL(_build(text, tuple(sorted(types.items()))))
        library.emulate.restype = ctypes.c_char_p
        self.kernels = {name: Kernel(library, name, parameters, types) for name, parameters in _signatures(text)}


class Kernel:
    """One kernel, and the types of its parameters: (C type, whether a pointer, whether const, name)."""

    seed = 1

    def __init__(self, library, name, parameters, types):
        self.name = name
        self.parameters = [_parameter(text, types) for text in parameters.split(",")]
        self._emulate, self._entry = library.emulate, getattr(library, f"call_{name}")

    def launch(self, grid, block, arguments, shared=0, blocks=None):
        """Run it. `arguments`: NumPy arrays, and NumPy scalars of the very types that the kernel declares.

        blocks   (first, last): only these of the grid, for grids too large to be run as a whole
        """
        if len(arguments) != len(self.parameters):
            raise Misstep(f"{self.name} has {len(self.parameters)} parameters, it was given {len(arguments)} arguments")
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
                buffers.append(_Buffer(argument.ctypes.data, argument.nbytes, argument.itemsize, not const,
                                       name.encode()))
                slots.append(np.array(argument.ctypes.data, np.uintp))
            else:
                slots.append(np.array(argument))
        first, last = blocks or (0, grid[0])
        Kernel.seed += 1
        launch = _Launch(grid[0], block[0], block[1] if len(block) > 1 else 1, first, last, shared, Kernel.seed,
                         (_Buffer * len(buffers))(*buffers), len(buffers))
        addresses = (ctypes.c_void_p * len(slots))(*[slot.ctypes.data for slot in slots])
        wrong = self._emulate(self._entry, addresses, ctypes.byref(launch))
        if wrong:
            raise Misstep(f"{self.name}: {wrong.decode()}")


@functools.cache
def why_not():
    """None where kernels can be run, else one line with the reason."""
    if COMPILER is None:
        return "there is no g++, which the emulator needs: apt-get install g++"
    try:
        kernel = Module('extern "C" __global__ void nothing(int n) {}', ()).kernels["nothing"]
        kernel.launch((1,), (1,), (np.int32(0),))
    except (Misstep, OSError, AttributeError) as error:  # a clang by the name of g++, another kind of computer
        return f"this g++ does not build the emulator ({' '.join(str(error).split())[:120]})"
    return None


def _check_limits(name, grid, block, shared):
    """What a GPU of compute capability 7.5 refuses, and the little more that runtime.cpp does not know."""
    threads = int(np.prod(block))
    if not all(isinstance(size, int) for size in (*grid, *block, shared)):
        raise Misstep(f"{name}: grid {grid}, block {block} and shared {shared} must be whole numbers")
    if not (1 <= grid[0] < 2**31 and all(1 <= size <= 65535 for size in grid[1:])):
        raise Misstep(f"{name}: no GPU has a grid of {grid}")
    if not (1 <= threads <= 1024 and all(size >= 1 for size in block) and (len(block) < 3 or block[2] <= 64)):
        raise Misstep(f"{name}: no GPU has a block of {block}")
    if shared > 48 << 10:
        raise Misstep(f"{name}: {shared} bytes of shared memory are more than a block gets without asking")
    if len(grid) > 1 or len(block) > 2:
        raise Misstep(f"{name}: the emulator knows grids of one axis and blocks of two")


def _signatures(text):
    text = re.sub(r"//[^\n]*", "", text)
    return re.findall(r'extern "C" __global__ void (\w+)\(([^)]*)\)', text)


def _parameter(text, types):
    pointer, const = "*" in text, "const " in text
    *c_type, name = text.replace("const ", "").replace("*", " ").split()
    c_type = " ".join(c_type)
    return types.get(c_type, c_type), pointer, const, name


def _call(kernel, parameters):
    """The C++ of a function that calls a kernel with arguments from memory, each in the type that it declares."""
    types = [text.strip().rpartition(" ")[0] + ("*" if "*" in text.rpartition(" ")[2] else "")
             for text in parameters.split(",")]
    arguments = ", ".join(f"*({c_type}*)arguments[{i}]" for i, c_type in enumerate(types))
    return f'extern "C" UNWATCHED void call_{kernel}(void** arguments) {{ {kernel}({arguments}); }}\n'


@functools.cache
def _folder():
    return tempfile.TemporaryDirectory(prefix="tinynet-emulator-")


@functools.cache
def _runtime():
    path = os.path.join(_folder().name, "runtime.o")
    _compile([*COMMON, "-O2", "-w", "-c", str(HERE / "runtime.cpp"), "-o", path])
    return path


@functools.cache
def _build(text, types):
    """The path of a shared library; what was built once in a session is not built again."""
    stem = os.path.join(_folder().name, hashlib.sha256(repr((text, types)).encode()).hexdigest()[:16])
    defines = "".join(f"#define {name} {c_type}\n" for name, c_type in types)
    calls = "".join(_call(name, parameters) for name, parameters in _signatures(text))
    text = re.sub(r"extern __shared__ (\w+) (\w+)\[\];", r"\1* \2 = (\1*)emulator_dynamic_shared();", text)
    head = f'#include "{HERE / "cuda_on_cpu.h"}"\n{defines}#line 1 "{stem}.cpp"\n'
    pathlib.Path(f"{stem}.cpp").write_text(f"{head}{text}\n{calls}")
    _compile([*COMMON, *WATCHED, "-c", f"{stem}.cpp", "-o", f"{stem}.o"])
    _compile(["-shared", "-Wl,-Bsymbolic", f"{stem}.o", _runtime(), "-o", f"{stem}.so"])
    return f"{stem}.so"


def _compile(arguments):
    ran = subprocess.run([COMPILER, *arguments], capture_output=True, text=True)
    if ran.returncode:
        raise Misstep(f"g++ does not take it:\n{ran.stderr}")
