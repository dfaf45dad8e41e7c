"""Arrays and state in a file: what comes back is what went in, or it is refused."""

import json
import os
import zipfile

import numpy as np
import pytest

from tinynet import data
from tinynet.checkpoint import CheckpointError, atomic_write, load_arrays, load_state, save_arrays, save_state


def refused(load, path):
    """The text of the CheckpointError that load(path) raises: one line that names the file."""
    with pytest.raises(CheckpointError) as caught:
        print(load(path))
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


def test_numpy_reads_it_too(tmp_path):
    save_arrays(tmp_path / "a.npz", {"x": np.arange(6.0).reshape(2, 3)})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["x"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_wrote_is_read(tmp_path, save):
    save(tmp_path / "a.npz", x=np.arange(3))
    assert load_arrays(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]


def test_arrays_of_every_kind_and_any_name(tmp_path):
    arrays = {"file": np.float32(3), "a/b.w": np.zeros((2, 0)), "self": np.arange(6).reshape(2, 3).T,
              "flags": np.array([True, False]), "half": np.ones(3, ">f2")}
    save_arrays(tmp_path / "a.npz", arrays)
    found = load_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape


def test_objects_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save_arrays(tmp_path / "a.npz", {"x": np.array([{}])})
    assert not list(tmp_path.iterdir())


def test_whichever_byte_is_altered_it_is_noticed(tmp_path):
    """Names, dates and flags of the archive too, which its own checksums leave out."""
    path = tmp_path / "a.npz"
    save_arrays(path, {"params/conv1.w": np.arange(3, dtype=np.float32), "state": np.arange(2)})
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1:])
        refused(load_arrays, path)


def test_wherever_it_is_cut_it_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    save_arrays(path, {"x": np.arange(5)})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refused(load_arrays, path)


def test_a_damaged_compressed_file_is_refused_or_whole(tmp_path):
    """zlib, zipfile and NumPy each have errors of their own for it."""
    path, refusals = tmp_path / "a.npz", 0
    x = np.arange(50) ** 2 % 17
    np.savez_compressed(path, x=x)
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1:])
        try:
            found = load_arrays(path)
        except CheckpointError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            refusals += 1
        else:
            assert all((array == x).all() for array in found.values()), position
    assert refusals > len(content) / 2


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    assert "there is no such file" in refused(load_arrays, path)
    with open(path, "wb") as file:
        np.save(file, np.arange(3))
    assert "not a zip archive" in refused(load_arrays, path)
    path.write_text("weights\n")
    assert "not a zip archive" in refused(load_arrays, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '<f8', 'fortran_order': False, "
                                  b"'shape': (999999999999,), }".ljust(69) + b"\n")
    refused(load_arrays, path)
    np.savez(path, x=np.array([{}]))
    refused(load_arrays, path)
    refused(load_arrays, tmp_path)


# ---- state ---------------------------------------------------------------------------------------------------------
def alike(one, other):
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return json.dumps(one) == json.dumps(other)


STATE = {"step": 3, "rng": np.random.default_rng(0).bit_generator.state, "nothing": {}, "none": None,
         "rates": [0.1, float("inf"), "Käse"], "sgd": {"lr": 0.01, "velocity": {"conv1.w": np.float32([1, 2])}},
         "state": {"state": np.float64([1.5])}, "empty": np.zeros((0, 2))}


def sort(tree):
    return {key: sort(tree[key]) for key in sorted(tree)} if isinstance(tree, dict) else tree


def test_a_state_comes_back_as_it_was(tmp_path):
    save_state(tmp_path / "a.npz", STATE)
    found = load_state(tmp_path / "a.npz")
    assert alike(sort(found), sort(STATE))
    assert set(load_arrays(tmp_path / "a.npz")) == {"state", "sgd/velocity/conv1.w", "state/state", "empty"}
    found["sgd"]["velocity"]["conv1.w"][0] = 7  # it can be written to


def test_saving_a_state_leaves_it_as_it_is(tmp_path):
    state = {"a": {"w": np.zeros(2), "n": 1}}
    save_state(tmp_path / "a.npz", state)
    assert list(state["a"]) == ["w", "n"]


@pytest.mark.parametrize("state, error", [
    ({"a/b": 1}, ValueError), ({1: 2}, ValueError), ({"a": {"b/c": np.zeros(1)}}, ValueError),
    ({"state": np.zeros(1)}, ValueError), ({"a": object()}, TypeError), ({"a": [np.zeros(1)]}, TypeError),
    ({"a": np.float32(1)}, TypeError)])
def test_what_would_not_come_back_is_not_written(tmp_path, state, error):
    with pytest.raises(error):
        save_state(tmp_path / "a.npz", state)
    assert not list(tmp_path.iterdir())


def text(value):
    return np.frombuffer(value.encode(), np.uint8)


@pytest.mark.parametrize("arrays", [
    {}, {"x": np.zeros(1)}, {"state": np.zeros(3)}, {"state": text("[1]")}, {"state": text('{"a":')},
    {"state": text('{"a": 1}'), "a": np.zeros(1)}, {"state": text('{"a": 1}'), "a/b": np.zeros(1)},
    {"state": text('{"a": [1]}'), "a/b": np.zeros(1)}, {"state": text("{}"), "a/b": np.zeros(1)},
    {"state": text('{"a": "xyz"}'), "a/x": np.zeros(1)}, {"state": text("[]"), "a": np.zeros(1)},
    {"state": text("[" * 100_000)}], ids=str)
def test_a_file_that_is_no_state_is_refused(tmp_path, arrays):
    save_arrays(tmp_path / "a.npz", arrays)
    assert "not a state that was saved" in refused(load_state, tmp_path / "a.npz")


# ---- statistics of a data set --------------------------------------------------------------------------------------
def statistics(S=4):
    rng = np.random.default_rng(0)
    return {"mean": rng.random((3, S, S), np.float32), "covariance": rng.random((3, 3))}


def test_statistics_come_back_and_their_digest_notices_every_number(tmp_path):
    save_arrays(tmp_path / "s.npz", statistics())
    found = data.load_statistics(tmp_path / "s.npz")
    np.testing.assert_array_equal(found.mean, statistics()["mean"])
    np.testing.assert_array_equal(found.covariance, statistics()["covariance"])
    digests = {found.digest()}
    assert data.Statistics(**statistics()).digest() in digests
    for array in (found.mean, found.covariance):
        array.flat[-1] = np.nextafter(array.flat[-1], array.dtype.type(2))
        digests.add(found.digest())
    assert len(digests) == 3 and all(len(digest) == 16 and int(digest, 16) for digest in digests)


@pytest.mark.parametrize("change", [
    {"mean": np.zeros((3, 4, 5), np.float32)}, {"mean": np.zeros((1, 4, 4), np.float32)}, {"mean": np.zeros((3, 4, 4))},
    {"mean": np.float32(0)}, {"covariance": np.zeros((3, 4))}, {"covariance": np.zeros((3, 3), np.float32)},
    {"mean": np.full((3, 4, 4), np.nan, np.float32)}, {"more": np.zeros(3)}, {"mean": None}], ids=str)
def test_foreign_statistics_are_refused(tmp_path, change):
    arrays = {name: array for name, array in (statistics() | change).items() if array is not None}
    save_arrays(tmp_path / "s.npz", arrays)
    assert "statistics" in refused(data.load_statistics, tmp_path / "s.npz")


# ---- a file that is replaced as a whole ----------------------------------------------------------------------------
def test_a_new_file_has_the_rights_that_the_umask_leaves(tmp_path, monkeypatch):
    """And the umask, which belongs to the whole process, is not touched: another thread may be making a file."""
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", None)
        with atomic_write(tmp_path / "x") as file:
            file.write(b"1")
        assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
    finally:
        monkeypatch.undo()
        os.umask(before)


def test_a_fault_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_fault_of_the_disk_has_the_name_of_the_file(tmp_path):
    with pytest.raises(OSError) as full, atomic_write(tmp_path / "x"):
        raise OSError(28, "No space left on device")
    with pytest.raises(OSError) as absent, atomic_write(tmp_path / "none" / "x"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as folder, atomic_write(tmp_path / "folder"):
        pass
    with pytest.raises(OSError) as another, atomic_write(tmp_path / "x"):
        open(tmp_path / "picture")
    names = [str(error.value).partition("] ")[2] for error in (full, absent, folder, another)]
    assert names == [f"No space left on device: '{tmp_path / 'x'}'",
                     f"No such file or directory: '{tmp_path / 'none' / 'x'}'",
                     f"Is a directory: '{tmp_path / 'folder'}'",
                     f"No such file or directory: '{tmp_path / 'picture'}'"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
