"""Arrays in a file: what comes back is what went in, or it is refused."""

import numpy as np
import pytest

from tinynet.checkpoint import CheckpointError, load_arrays, save_arrays


def test_numpy_reads_it_too(tmp_path):
    save_arrays(tmp_path / "a.npz", {"x": np.arange(6.0).reshape(2, 3)})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["x"], np.arange(6.0).reshape(2, 3))


def test_what_numpy_wrote_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    assert load_arrays(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]


def test_whichever_byte_is_altered_it_is_noticed(tmp_path):
    """Names, dates and flags of the archive too, which its own checksums leave out."""
    path = tmp_path / "a.npz"
    save_arrays(path, {"params/conv1.w": np.arange(3, dtype=np.float32), "state": np.arange(2)})
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1:])
        with pytest.raises(CheckpointError, match="a.npz: "):
            print(position, load_arrays(path))


def test_wherever_it_is_cut_it_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    save_arrays(path, {"x": np.arange(5)})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="a.npz: "):
            load_arrays(path)
