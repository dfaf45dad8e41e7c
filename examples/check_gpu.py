"""Check tinynet on a GPU: whether it computes the right numbers, and how fast. Run this first.

    python examples/check_gpu.py
    python examples/check_gpu.py --out my_gpu --quick

Each part runs in its own process with a time limit, so that one failure does not hide the others.
The reports check_gpu.md and check_gpu.json are written again after each part: they are complete
even if the check is interrupted.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import numpy as np

import tinynet
from tinynet import backend, console
from tinynet.checkpoint import atomic_write

EXAMPLES = pathlib.Path(__file__).resolve().parent
ROOT = EXAMPLES.parent
TESTS = ("test_parity.py", "test_contract.py", "test_gradients.py", "test_cuda_launchers.py",
         "test_cuda_masks.py", "test_cuda_devices.py", "test_nccl.py")


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
    """Return [(name, command, seconds)] in the order in which they run."""
    python, own = sys.executable, [sys.executable, __file__, "--part"]
    against = "torch" if has_torch_with_cuda() else ""
    bench = [python, EXAMPLES / "benchmark.py", "--device", "gpu", "--against", against,
             "--json", args.out / "benchmark.json", "--batch-size", 16 if args.quick else 128]
    training = [python, EXAMPLES / "train_alexnet.py", "--device", "gpu", "--epochs", 1,
                "--out", args.out / "run", *(["--steps", 5] if args.quick else [])]
    tests = [python, "-m", "pytest", "-q", "-m", "gpu", *(ROOT / "tests" / name for name in TESTS)]
    return [("machine", [*own, "machine"], 120), ("kernels", [*own, "kernels"], 600),
            ("tests on the GPU", tests, 900), ("determinism", [*own, "determinism"], 120),
            ("trajectory", [*own, "trajectory"], 120), ("memory", [*own, "memory"], 120),
            ("benchmark", bench, 900), ("first epoch", training, 900)]


def has_torch_with_cuda():
    """Return whether PyTorch is installed and finds a GPU, asked in another process."""
    code = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def run_part(name, command, limit):
    """Run one part. Returns its entry of the report; nothing that it does can stop the check."""
    environment = os.environ | {"TINYNET_REQUIRE_GPU": "1", "PYTHONPATH": os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    started = time.monotonic()
    try:
        ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT,
                             timeout=limit, env=environment, errors="replace")
        output, failed = ran.stdout + ran.stderr, ran.returncode != 0
        state = f"failed with exit code {ran.returncode}" if failed else "passed"
    except subprocess.TimeoutExpired as error:
        output = "".join(text.decode(errors="replace") if isinstance(text, bytes) else text or ""
                         for text in (error.stdout, error.stderr))
        state = f"not finished after {limit} s"
    result = re.findall(r"^RESULT (.*)$", output, re.MULTILINE)
    return {"part": name, "state": state, "seconds": round(time.monotonic() - started, 1),
            "result": json.loads(result[-1]) if result else None,
            "output": re.sub(r"^RESULT .*\n", "", output, flags=re.MULTILINE)[-20_000:]}


def write_reports(folder, entries, unfinished):
    """Write check_gpu.json and check_gpu.md."""
    with atomic_write(folder / "check_gpu.json") as file:
        report = {"tinynet": tinynet.__version__, "parts": entries, "not run": unfinished}
        file.write(json.dumps(report, indent=2).encode() + b"\n")
    lines = ["# tinynet on a GPU", "", "| part | state | seconds |", "|---|---|---|"]
    lines += [f"| {e['part']} | {e['state']} | {e['seconds']} |" for e in entries]
    lines += [f"| {name} | not run | |" for name in unfinished]
    for entry in entries:
        lines += ["", f"## {entry['part']}", ""]
        for key, value in (entry["result"] or {}).items():
            lines.append(f"- {key}: {value}")
        if entry["output"].strip():
            lines += ["", "```", entry["output"].strip().replace("```", "'''"), "```"]
    with atomic_write(folder / "check_gpu.md") as file:
        file.write("\n".join(lines).encode() + b"\n")


def main():
    """Run every part, and write the reports after each."""
    args = parse_arguments()
    if args.part:
        print("RESULT " + json.dumps(OWN[args.part]()))
        return 0
    backend.choose_device("gpu")
    args.out = console.writable_folder(args.out).resolve()
    todo, entries = parts(args), []
    with console.Interrupt() as interrupt:
        for name, command, limit in interrupt.watch(todo):
            print(f"{name} (at most {limit} s) ...", end=" ", flush=True)
            entries.append(run_part(name, command, limit))
            print(f"{entries[-1]['state']}, {entries[-1]['seconds']} s")
            write_reports(args.out, entries, [each for each, *_ in todo[len(entries):]])
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
