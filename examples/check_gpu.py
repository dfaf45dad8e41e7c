"""Check tinynet on a GPU: whether it computes the right numbers, and how fast. Run this first.

    python examples/check_gpu.py
    python examples/check_gpu.py --out my_gpu --quick

Each part runs in its own process with a time limit, so that one failure does not hide the others.
The reports check_gpu.md and check_gpu.json are written again every second, so that they have all
that is known even if the check is interrupted, in whatever way.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

import tinynet
from tinynet import backend, console
from tinynet.checkpoint import atomic_write

EXAMPLES = pathlib.Path(__file__).resolve().parent
ROOT = EXAMPLES.parent
TESTS = ("test_parity.py", "test_contract.py", "test_gradients.py", "test_cuda_launchers.py",
         "test_cuda_implicit.py", "test_cuda_masks.py", "test_cuda_devices.py", "test_nccl.py")

# A part of the check: its command, the seconds that it may take, and the JSON file that it writes,
# if any.
Part = collections.namedtuple("Part", "name command limit report", defaults=[None])


# -------------------------------------------------------------------------------------- own parts

def machine():
    """Print the GPU, its memory, the driver, CUDA, CuPy and the processor."""
    import cupy
    runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
    properties = runtime.getDeviceProperties(device.id)
    free, total = device.mem_info
    name = properties["name"].decode() if isinstance(properties["name"], bytes) else "unknown"
    result = {"gpu": name, "compute capability": device.compute_capability,
              "memory": f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
              "driver": runtime.driverGetVersion(), "cuda runtime": runtime.runtimeGetVersion(),
              "cupy": cupy.__version__, "numpy": np.__version__,
              "python": platform.python_version(), "system": platform.platform()}
    a = cupy.ones((64, 64), np.float32)  # the first product loads cuBLAS, which may be missing
    if float((a @ a).sum()) != 64**3:
        raise ArithmeticError("a product of two matrices of ones is wrong")
    return result


def compile_kernels():
    """Compile every .cu file for both precisions, and return the seconds for each."""
    import cupy

    from tinynet.cuda import implicit, kernels
    tile = implicit.tile(implicit.FASTEST[0], 128)._asdict()  # implicit.cu is compiled for a size
    seconds = {}
    for path in sorted((ROOT / "tinynet" / "cuda").glob("*.cu")):
        source = kernels.source(path.stem)
        name = re.search(r"__global__ void (?:__launch_bounds__\(.*?\) )?(\w+)", source)[1]
        for real in ("float", "double"):
            started = time.perf_counter()
            names = (f"-Dreal={real}", "-Dindex_t=int", "-Dposition=unsigned char",
                     *(f"-D{key}={size}" for key, size in tile.items()
                       if path.stem == "implicit"))
            module = cupy.RawModule(code=source, options=names)
            module.get_function(name)  # compiles the file
            seconds[f"{path.name}, {real}"] = round(time.perf_counter() - started, 2)
    return seconds


def small_network(device, dtype="float32"):
    """Return a network with every kind of layer, its loss and its SGD, the same each time."""
    from tinynet import layers
    net = tinynet.Sequential([
        layers.Conv2d("conv1", 8, 5, stride=2, std=0.1, need_dx=False), layers.ReLU("relu1"),
        layers.LRN("lrn1", alpha=0.1), layers.MaxPool("pool1", 3, 2),
        layers.Conv2d("conv2", 16, 3, pad=1, groups=2, std=0.1), layers.ReLU("relu2"),
        layers.LRNWithin("within2"), layers.AvgPool("pool2", 3, 2, ceil=True),
        layers.Flatten("flatten"), layers.Linear("fc3", 32, std=0.1), layers.ReLU("relu3"),
        layers.Dropout("drop3"), layers.Linear("fc4", 10, std=0.1),
    ], (3, 35, 35), np.random.default_rng(0), dtype)
    net.to(device)
    return net, tinynet.SoftmaxCrossEntropy(), tinynet.SGD(net, lr=0.05)


def train(device, steps, dtype="float32", after_step=lambda step: None):
    """Return the losses of some steps, and the weights after them."""
    net, loss, sgd = small_network(device, dtype)
    rng, losses = np.random.default_rng(1), []
    for step in range(steps):
        x, labels = rng.standard_normal((16, 3, 35, 35)).astype(dtype), rng.integers(0, 10, 16)
        value = loss.forward(net.forward(backend.to_device(x, net.device)), labels)
        net.backward(loss.backward())
        sgd.step()
        losses.append(float(value))
        after_step(step)
    return np.array(losses), {name: backend.to_numpy(w) for name, w in net.named_params().items()}


def determinism():
    """Train twice for 20 steps on the GPU: every bit must be the same."""
    (losses, weights), (again, weights_again) = train("gpu", 20), train("gpu", 20)
    different = [name for name, w in weights.items() if not np.array_equal(w, weights_again[name])]
    if different or not np.array_equal(losses, again):
        raise ArithmeticError(f"two runs differ in {', '.join(different) or 'their losses'}")
    return {"steps": 20, "equal to the bit": True}


def trajectory():
    """Train for 20 steps on the GPU and on the CPU, in both precisions, and compare the losses."""
    result = {}
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-3)):
        on_gpu, on_cpu = train("gpu", 20, dtype)[0], train("cpu", 20, dtype)[0]
        difference = float(np.abs(on_gpu / on_cpu - 1).max())
        result[f"largest relative difference of the loss, {dtype}"] = difference
        if not difference <= tolerance:
            raise ArithmeticError(f"{dtype}: the losses differ by {difference:.1e}, at most "
                                  f"{tolerance:.0e} is expected")
    return result


def memory():
    """Train for 200 steps: after the first ten, the memory of the GPU must not grow."""
    import cupy
    pool, used = cupy.get_default_memory_pool(), []
    train("gpu", 200, after_step=lambda step: used.append(pool.total_bytes()))
    if used[-1] > used[9]:
        raise MemoryError(f"{used[9]:,} bytes after 10 steps, {used[-1]:,} after 200")
    return {"bytes after 10 steps": used[9], "bytes after 200 steps": used[-1]}


OWN = {"machine": machine, "kernels": compile_kernels, "determinism": determinism,
       "trajectory": trajectory, "memory": memory}


# ----------------------------------------------------------------------------------- all the parts

def parts(args):
    """Return the parts in the order in which they run."""
    python, own = sys.executable, [sys.executable, __file__, "--part"]
    against = "torch" if has_torch_with_cuda() else ""
    images, numbers = 16 if args.quick else 128, args.out / "benchmark.json"
    bench = [python, EXAMPLES / "benchmark.py", "--device", "gpu", "--against", against,
             "--json", numbers, "--batch-size", images]
    training = [python, EXAMPLES / "train_alexnet.py", "--device", "gpu", "--epochs", 1,
                "--out", args.out / "run", *(["--steps", 5] if args.quick else [])]
    tests = [python, "-m", "pytest", "-q", "-m", "gpu", *(ROOT / "tests" / name for name in TESTS)]
    ladder = [python, "-m", "tinynet.cuda", "conv", "--images", images]
    return [Part("machine", [*own, "machine"], 120), Part("kernels", [*own, "kernels"], 600),
            Part("tests on the GPU", tests, 900), Part("determinism", [*own, "determinism"], 120),
            Part("trajectory", [*own, "trajectory"], 120), Part("memory", [*own, "memory"], 120),
            Part("benchmark", bench, 900, numbers), Part("first epoch", training, 900),
            Part("versions of the convolution", ladder, 300),
            *([Part("versions of the convolution, TF32", [*ladder, "--tf32"], 300)]
              if backend.has_tf32() else [])]


def has_torch_with_cuda():
    """Return whether PyTorch is installed and finds a GPU, asked in another process."""
    code = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def run_part(part):
    """Run one part, and yield what the report says of it: every second, and when it has ended.

    Nothing that it does can stop the check. No process that it started outlives this generator.
    """
    environment = os.environ | {
        "TINYNET_REQUIRE_GPU": "1", "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    if part.report:
        part.report.unlink(missing_ok=True)  # that of an earlier check
    started, state = time.monotonic(), "not finished"
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(list(map(str, part.command)), stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT, cwd=ROOT,
                                   env=environment, start_new_session=True)
        try:
            while state == "not finished":
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
                seconds = round(time.monotonic() - started, 1)
                if process.returncode is not None:
                    failed = f"failed with exit code {process.returncode}"
                    state = failed if process.returncode else "passed"
                elif seconds >= part.limit:
                    state = f"not finished after {part.limit} s"
                yield {"state": state, "seconds": seconds} | results(part, output)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def results(part, output):
    """Return the result that a part has reported so far, and the end of what it has printed."""
    # Not output.read(): the part writes at the same position of the same file.
    text = os.pread(output.fileno(), os.fstat(output.fileno()).st_size, 0).decode(errors="replace")
    reported = re.findall(r"^RESULT (.*)\n", text, re.MULTILINE)
    if part.report and part.report.exists():
        reported.append(part.report.read_text(encoding="utf-8"))
    return {"result": json.loads(reported[-1]) if reported else None,
            "output": re.sub(r"^RESULT .*\n", "", text, flags=re.MULTILINE)[-20_000:]}


def write_reports(folder, entries):
    """Write check_gpu.json and check_gpu.md."""
    with atomic_write(folder / "check_gpu.json") as file:
        report = {"tinynet": tinynet.__version__, "parts": entries}
        file.write(json.dumps(report, indent=2).encode() + b"\n")
    lines = ["# tinynet on a GPU", "", "| part | state | seconds |", "|---|---|---|"]
    lines += [f"| {e['part']} | {e['state']} | {e['seconds']} |" for e in entries]
    for entry in entries:
        short = {key: value for key, value in (entry["result"] or {}).items()
                 if not isinstance(value, (dict, list))}  # tables are in the JSON alone
        if short or entry["output"].strip():
            lines += ["", f"## {entry['part']}"]
        if short:
            lines += ["", *(f"- {key}: {value}" for key, value in short.items())]
        if entry["output"].strip():
            lines += ["", "```", entry["output"].strip().replace("```", "'''"), "```"]
    with atomic_write(folder / "check_gpu.md") as file:
        file.write("\n".join(lines).encode() + b"\n")


def main():
    """Run every part, and keep the reports up to date."""
    args = parse_arguments()
    if args.part:
        print("RESULT " + json.dumps(OWN[args.part]()))
        return 0
    backend.choose_device("gpu")
    args.out = console.writable_folder(args.out).resolve()
    todo = parts(args)
    entries = [{"part": part.name, "state": "not run", "seconds": 0.0, "result": None,
                "output": ""} for part in todo]
    write_reports(args.out, entries)
    with console.Interrupt() as interrupt:
        for part, entry in zip(todo, entries):
            print(f"{part.name} (at most {part.limit} s) ...", end=" ", flush=True)
            with contextlib.closing(run_part(part)) as found:
                for news in found:
                    entry.update(news)
                    write_reports(args.out, entries)
                    interrupt.check()
            print(f"{entry['state']}, {entry['seconds']} s")
    print(f"{args.out / 'check_gpu.md'} has everything; please send it to us with check_gpu.json")
    return int(any(entry["state"] != "passed" for entry in entries))


def parse_arguments():
    parser = console.ArgumentParser(description=__doc__.splitlines()[0],
                                    formatter_class=console.HelpFormatter)
    parser.add_argument("--out", default="check_gpu", metavar="DIR", help="folder for the reports")
    parser.add_argument("--quick", action="store_true", help="smaller batches and fewer steps")
    parser.add_argument("--part", choices=OWN, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    console.execute(main, mistakes=(backend.DeviceError, console.FolderError))
