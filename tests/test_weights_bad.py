"""Files that are no weights, or not whole, or hostile: one line, exit code 2, bounded memory, nothing executed."""

import io
import json
import os
import pathlib
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import weight_files as files

from tinynet import runs, weights
from tinynet.weights import WeightsError, formats, network, tensors

ROOT = pathlib.Path(weights.__file__).parents[2]
OWT = files.arrays("owt", files.SMALL["owt"])
CAFFE = files.arrays("caffe", files.SMALL["caffe"])


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(network, "RECIPES", files.SHRUNK)


def safetensors(arrays):
    save = pytest.importorskip("safetensors.numpy").save
    return save(dict(arrays))


def refused(content, tmp_path):
    """The one line that a file of these bytes gets."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        weights.load(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and "\n" not in line, line
    return line.removeprefix(f"{path}: ")


# ---- what people have in the place of weights ------------------------------------------------------------------------
@pytest.mark.parametrize("content, said", [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "a pointer, not the file; git lfs pull"),
    (b"<!DOCTYPE html><html>404", "this is a web page, not the file"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), "this is HDF5"), (b"\x1f\x8b" + bytes(100), "compressed by gzip"),
    (b"name: 'AlexNet'\n", "none of the formats that are read"), (bytes(100), "none of the formats that are read"),
    (b"", "the file is empty"),
    (b"\x80\x02cos\nsystem\n.", "a pickle that torch.save has not made; it is not executed"),
    (b"{}", "this is a text")])
def test_other_files_are_called_by_their_name(tmp_path, content, said):
    assert said in refused(content, tmp_path)


def test_places_where_there_is_no_file(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path, said in ((tmp_path / "x", "No such file"), (tmp_path, "is not the folder of a run"),
                       (tmp_path / "pipe", "not a regular file")):
        with pytest.raises((WeightsError, runs.RunError), match=said):
            weights.load(path)
    monkeypatch.setattr(tensors, "MAX_BYTES", 10)
    assert "are more than any AlexNet takes" in refused(bytes(11), tmp_path)


# ---- networks that are no AlexNet, or not quite ----------------------------------------------------------------------
def test_another_network_is_said_to_be_none(tmp_path):
    zeros = np.zeros
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    vgg = {f"features.{place}.weight": zeros((64, 3 if place == 0 else 8, 3, 3), np.float32) for place in places}
    vgg |= {f"classifier.{i}.weight": zeros((8, 8), np.float32) for i in (0, 3, 6)}
    vgg |= {name.replace("weight", "bias"): zeros(8, np.float32) for name in vgg}
    assert refused(safetensors(vgg), tmp_path) == (
        "16 layers with weights; this is not an AlexNet: features.0.weight is 64x3x3x3")
    mlp = {"fc1.weight": zeros((10, 784), np.float32), "fc1.bias": zeros(10, np.float32)}
    assert refused(safetensors(mlp), tmp_path).endswith("this is not an AlexNet: fc1.weight is 10x784")
    lenet = files.state(CAFFE, dict(zip(files.LAYERS, files.LAYERS)))
    lenet["conv1.weight"] = zeros((20, 1, 5, 5), np.float32)
    assert "this is not an AlexNet: conv1.weight is 20x1x5x5" in refused(safetensors(lenet), tmp_path)


@pytest.mark.parametrize("change, said", [
    ({"features.3.bias": None}, "features.3.bias is missing"),
    ({"features.0.weight": None}, "features.0.weight is missing"),
    ({"features.3.weight": np.zeros((8, 64, 3, 3), np.float32)},
     "features.3.weight is 8x64x3x3, the recipe owt has 8x64x5x5"),
    ({"classifier.6.bias": np.zeros(6, np.float32)}, "classifier.6.bias is 6, the recipe owt has 5"),
    ({"features.1.running_mean": np.zeros(64, np.float32)},
     "features.1.running_mean is in it, which AlexNet does not have"),
    ({"features.0.bias": np.zeros(64, np.int64)}, "features.0.bias holds I64"),
    ({"features.0.bias": np.full(64, np.nan, np.float32)}, "features.0.bias holds numbers that are not finite"),
    ({"features.0.bias": np.full(64, 1e300)}, "features.0.bias holds numbers that are not finite")])
def test_an_array_that_is_at_fault_is_named(tmp_path, change, said):
    state = {name: array for name, array in (files.state(OWT) | change).items() if array is not None}
    assert said in refused(safetensors(state), tmp_path)


def test_layers_that_alexnet_does_not_have_are_named(tmp_path):
    net = files.caffe_messages()["NetParameter"]
    for change, said in (
            (lambda net: net.layer[1].blobs.pop(), "conv1: has 1 arrays, not weights and biases"),
            (lambda net: net.layer[3].__setattr__("type", "BatchNorm"), "lrn1: a layer BatchNorm"),
            (lambda net: net.layer[4].pooling_param.__setattr__("pool", 1), "pooling1: takes averages"),
            (lambda net: net.layer[1].convolution_param.stride.__setitem__(0, 2), "fc6's w is 12x144"),
            (lambda net: net.layer[3].lrn_param.__setattr__("local_size", 10**9 + 1),
             "lrn1: normalises over 1,000,000,001 maps, more than 1,024"),
            (lambda net: net.layer[1].convolution_param.pad.__setitem__(0, 5000),
             "conv1: pads by 5,000 pixels, its kernels have 11"),
            (lambda net: net.layer[1].blobs[0].data.pop(), "conv1: 96x3x11x11 in float32 does not take 139,388 bytes"),
            (lambda net: net.layer.__delitem__(slice(0, len(net.layer))), "holds no weights")):
        message = net.FromString(files.caffemodel(CAFFE))
        change(message)
        line = refused(message.SerializeToString(), tmp_path)
        assert said.lower() in line.lower(), (said, line)


def attribute(node, name):
    return next(attribute for attribute in node.attribute if attribute.name == name)


def test_graphs_that_are_no_row_of_layers_are_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    for change, said in (
            (lambda graph: graph.node[1].input.__setitem__(0, "data_0"), "not fed by the node before it"),
            (lambda graph: graph.node[1].__setattr__("op_type", "Sin"), "a node Sin, which AlexNet does not have"),
            (lambda graph: attribute(graph.node[0], "pads").ints.__setitem__(0, 3), "pads its sides by (3, 0, 0, 0)"),
            (lambda graph: graph.initializer[0].dims.__setitem__(0, 10**9), "takes 363,000,000,000 numbers"),
            (lambda graph: graph.input.__delitem__(0), "has 0 inputs"),
            (lambda graph: graph.initializer[0].__setattr__("data_location", 1), "its numbers are in another file"),
            (lambda graph: graph.input[0].type.tensor_type.shape.dim[3].__setattr__("dim_value", 9),
             "not N x 3 x S x S")):
        model = onnx.ModelProto.FromString(files.zoo_onnx(CAFFE))
        change(model.graph)
        assert said in refused(model.SerializeToString(), tmp_path)
    model = onnx.ModelProto.FromString(files.zoo_onnx(CAFFE, size=100_000))
    assert "its pictures have 100000 pixels, more than 1024" in refused(model.SerializeToString(), tmp_path)


# ---- half a download, and pickles that would do something ------------------------------------------------------------
def test_half_a_download_is_cut_short_in_every_format(oracle, tmp_path):
    for name, content in whole_files(oracle).items():
        assert network_of(content), name
        for share in (0.3, 0.7, 0.99):
            line = refused(content[:int(len(content) * share)], tmp_path)
            assert any(word in line for word in ("cut short", "damaged", "missing", "does not take")), (name, line)


def whole_files(torch):
    made = {"safetensors": safetensors(files.state(OWT)), "npy": files.guerzhoy_npy(CAFFE),
            "caffe": files.caffemodel(CAFFE), "old caffe": files.caffemodel(CAFFE, old=True)}
    for name, new in (("zip", True), ("legacy", False)):
        out = io.BytesIO()
        torch.save({key: torch.from_numpy(array) for key, array in files.state(OWT).items()}, out,
                   _use_new_zipfile_serialization=new)
        made[name] = out.getvalue()
    if pytest.importorskip("onnx"):
        made["onnx"] = files.zoo_onnx(CAFFE)
    return made


def network_of(content):
    """The names of what a file of these bytes holds; only WeightsError may come instead."""
    return weights.of_contents(formats.read_bytes(content), "file")


HOSTILE = {
    "os.system": b"cos\nsystem\n(X\x04\x00\x00\x00trueetR",
    "builtins.eval": b"cbuiltins\neval\n(X\x01\x00\x00\x001tR",
    "posix.system": b"\x8c\x05posix\x8c\x06system\x93(X\x04\x00\x00\x00truetR",
    "torch.storage._load_from_bytes": b"ctorch.storage\n_load_from_bytes\n(U\x00tR",
    "torchvision.models.alexnet.AlexNet": b"ctorchvision.models.alexnet\nAlexNet\n)\x81",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_that_names_something_else_is_refused_by_that_name(tmp_path, monkeypatch, name):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("executed"))
    body = b"\x80\x02" + HOSTILE[name] + b"."
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", body)
    head = [b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\x02M\xe9\x03.", b"\x80\x02}."]
    npy = files.guerzhoy_npy(CAFFE)
    for content in (out.getvalue(), b"".join(head) + body, npy[:npy.index(b"\n") + 1] + body):
        line = refused(content, tmp_path)
        assert f"names {name}" in line and "nothing of it was executed" in line
    old = b"\x80\x02ios\nsystem\n."  # INST, by which old pickles call
    assert "INST" in refused(b"".join(head) + old, tmp_path)


def test_a_small_file_takes_little_memory(tmp_path):
    """Sizes are checked first: a header that asks for a terabyte, a stretched storage, a memo of 2**31 places."""
    def archive(body, **storages):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as made:
            made.writestr("archive/data.pkl", b"\x80\x02" + body + b".")
            for name, content in storages.items():
                made.writestr(f"archive/data/{name}", content)
        return out.getvalue()

    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 19, 1 << 19], "data_offsets": [0, 1 << 40]}}).encode()
    tensor = (b"}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
              b"X\x01\x00\x00\x00sX\x03\x00\x00\x00cpuK\x04tQK\x00(J\x00\x00\x00\x40J\x00\x00\x00\x40t(K\x00K\x00t\x89}tRs")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("archive/data.pkl", bytes(50_000_000))
    caffe = b"\xa2\x06" + files.varint(1 << 40) + bytes(20)
    cases = [struct.pack("<Q", len(header)) + header, archive(tensor, s=bytes(16)), bomb.getvalue(), caffe,
             archive(b"Nr\xff\xff\xff\x7f"), archive(b"\x8d" + struct.pack("<Q", 1 << 40)),
             struct.pack("<Q", 99_000_000) + b"{" + bytes(100)]
    for content in cases:
        tracemalloc.start()
        refused(content, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3_000_000, (content[:40], peak)


# ---- fuzzing ---------------------------------------------------------------------------------------------------------
def damaged(rng, content):
    """A copy with bytes changed, cut out, doubled or put in, most often where the structure is: near the ends."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        size = len(content)
        place = int(size * rng.choice([rng.random() ** 4, 1 - rng.random() ** 4, rng.random()]))
        length = int(rng.integers(1, 9))
        match rng.integers(6):
            case 0:
                content[place:place + 1] = bytes([rng.integers(256)])
            case 1:
                content[place:place + length] = rng.bytes(length)
            case 2:
                del content[place:place + length * int(rng.integers(1, 200))]
            case 3:
                content[place:place] = content[place:place + length]
            case 4:
                content[place:place + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f"])
            case 5:
                del content[int(rng.integers(max(1, len(content)))):]
        if not content:
            content = bytearray(b"\x00")
    return bytes(content)


def fuzz(rng, content, times):
    """How many of so many damaged copies were refused; the others were read."""
    refusals = 0
    for _ in range(times):
        try:
            network_of(damaged(rng, content))
        except WeightsError as error:
            assert "\n" not in str(error)
            refusals += 1
    return refusals


def tiny_files(torch):
    """Whole files, and some with so few kernels that damage falls on the structure as often as on numbers."""
    few = files.arrays("caffe", (2, 2, 2, 2, 2, 3, 3, 3))
    return whole_files(torch) | {
        "tiny caffe": files.caffemodel(few), "tiny old caffe": files.caffemodel(few, old=True),
        "tiny onnx": files.zoo_onnx(few), "tiny npy": files.guerzhoy_npy(few),
        "tiny safetensors": safetensors(files.state(few))}


def test_damaged_files_give_weights_errors_and_nothing_else(oracle):
    rng = np.random.default_rng(0)
    for name, content in tiny_files(oracle).items():
        times = 200 if "tiny" in name else 30
        assert fuzz(rng, content, times) >= times // 3, name


# ---- the command line ------------------------------------------------------------------------------------------------
def test_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "x").write_bytes(b"<html>")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for arguments, said in ((["info", "x"], "tinynet.weights: x: this is a web page"),
                            (["info", "y"], "y: No such file"),
                            (["export", "x", "z.onnx"], "x: this is a web page"), (["info"], "FILE")):
        ran = subprocess.run([sys.executable, "-m", "tinynet.weights", *arguments], cwd=tmp_path, env=environment,
                             capture_output=True, text=True, timeout=120)
        assert (ran.returncode, ran.stdout) == (2, "") and said in ran.stderr and ran.stderr.count("\n") == 1
