"""What a file is shows in how it begins, whatever its name says."""

from tinynet.weights import caffe_file, numpy_file, onnx_file, safetensors_file, torch_file
from tinynet.weights.tensors import WeightsError, map_file

# Files that people have in the place of weights, by their first bytes.
MISTAKEN = (
    (b"version https://git-lfs", "this is a pointer, not the file; git lfs pull brings the file"),
    (b"<", "this is a web page, not the file; the download has failed"),
    (b"\x89HDF", "this is HDF5, as Keras writes it, which is not read"),
    (b"\x1f\x8b", "this is compressed by gzip; unpack it first"),
    (b"{", "this is a text; give the file of the weights themselves"),
)


def read(path):
    """Return the Contents of a file of weights. Raises WeightsError, one line for the user."""
    return read_bytes(map_file(path))


def read_bytes(data):
    """Read the bytes of a file of weights, an mmap or bytes. Raises WeightsError."""
    head = bytes(data[:64])
    for start, explanation in MISTAKEN:
        if head.startswith(start) and not safetensors_file.looks_like(data):
            raise WeightsError(explanation)
    if head.startswith(b"PK\x03\x04"):
        return torch_file.read_zip(data)
    if head.startswith(torch_file.LEGACY_HEAD):
        return torch_file.read_legacy(data)
    if head.startswith(numpy_file.MAGIC):
        return numpy_file.read(data)
    if safetensors_file.looks_like(data):
        return safetensors_file.read(data)
    if onnx_file.looks_like(data):
        return onnx_file.read(data)
    if caffe_file.looks_like(data):
        return caffe_file.read(data)
    if head[:1] == b"\x80":
        raise WeightsError("this is a pickle that torch.save has not made; it is not executed")
    raise WeightsError("none of the formats that are read: safetensors, PyTorch, ONNX, Caffe, "
                       "bvlc_alexnet.npy")
