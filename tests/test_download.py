"""Fetching a data set, from a server on this machine that breaks off, lies, ignores or has nothing."""

import errno
import hashlib
import http.server
import io
import os
import re
import shutil
import socket
import stat
import threading
import zipfile

import numpy as np
import pytest

from tinynet.data import download as module
from tinynet.data.download import SETS, DownloadError, Remote, download
from tinynet.data.pictures import DataError

CONTENT = np.random.default_rng(0).integers(0, 256, 700_001, dtype=np.uint8).tobytes()


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends what the test has put at a path, in the way that it has put it there."""

    def do_GET(self):
        content, way = self.server.files.get(self.path, (None, "nothing"))
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if way == "nothing":
            return self.send_error(404)
        if way == "hang up":
            return self.connection.close()
        if way == "redirect":
            self.send_response(302)
            self.send_header("Location", content)
            return self.end_headers()
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and way != "no range" else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            shown = start + 7 if way == "wrong range" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        if way != "no length":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content)
        if way == "short":                                     # a third of what is left, then no more
            stop = start + (len(content) - start) // 3
        if way == "never":
            stop = start
        self.wfile.write(content[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked = {}, []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def put(server, monkeypatch):
    """put(way, …): one address for each, and a data set "some" that is to be found there."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def put(*ways, content=CONTENT, expected=CONTENT, size=700_001, folder="", file="some.tar"):
        for number, way in enumerate(ways):
            server.files[f"/{number}/{file}"] = (content, way)
        urls = tuple(f"{server.url}/{number}/{file}" for number in range(len(ways)))
        monkeypatch.setitem(SETS, "some", Remote(urls, hashlib.md5(expected).hexdigest(), size, folder))
    return put


def refused(folder, kind=DownloadError, name="some"):
    with pytest.raises(kind) as caught:
        download(name, folder, quiet=True)
    text = str(caught.value)
    assert text and "\n" not in text
    return text


def is_there(folder):
    assert (folder / "some.tar").read_bytes() == CONTENT
    assert os.listdir(folder) == ["some.tar"]


def test_a_file_is_fetched(put, server, tmp_path):
    put("well")
    assert download("some", tmp_path / "new" / "folder", quiet=True) == str(tmp_path / "new" / "folder" / "some.tar")
    is_there(tmp_path / "new" / "folder")
    assert server.asked == [("/0/some.tar", None)]


def test_a_file_that_is_there_is_not_fetched_again(put, server, tmp_path):
    put("well")
    (tmp_path / "some.tar").write_bytes(CONTENT)
    assert download("some", tmp_path, quiet=True) == str(tmp_path / "some.tar")
    assert server.asked == []


def test_a_wrong_file_that_is_there_is_fetched_again(put, tmp_path):
    put("well")
    (tmp_path / "some.tar").write_bytes(CONTENT[:-1] + b"x")
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)


def test_a_download_goes_on_where_it_stopped(put, server, tmp_path, capsys):
    put("well")
    (tmp_path / "some.tar.part").write_bytes(CONTENT[:300_000])
    download("some", tmp_path)
    is_there(tmp_path)
    assert server.asked == [("/0/some.tar", "bytes=300000-")]
    assert "downloading some.tar: 0 MB, after the 0 MB that are there, from " in capsys.readouterr().err


def test_a_whole_part_is_only_checked(put, server, tmp_path):
    put("well")
    (tmp_path / "some.tar.part").write_bytes(CONTENT)
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)
    assert server.asked == []


def test_a_whole_part_of_unknown_size_is_recognised_by_the_server(put, server, tmp_path):
    put("well", size=None)
    (tmp_path / "some.tar.part").write_bytes(CONTENT)
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_part_that_is_too_long_is_thrown_away(put, tmp_path, size):
    put("well", size=size)
    (tmp_path / "some.tar.part").write_bytes(CONTENT + b"more")
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)


def test_a_wrong_part_is_thrown_away_and_the_same_address_asked_once_more(put, server, tmp_path):
    put("well")
    (tmp_path / "some.tar.part").write_bytes(b"x" * 1000)
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)
    assert server.asked == [("/0/some.tar", "bytes=1000-"), ("/0/some.tar", None)]


def test_a_server_that_knows_no_ranges_starts_over(put, server, tmp_path):
    put("no range")
    (tmp_path / "some.tar.part").write_bytes(CONTENT[:300_000])
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)
    assert len(server.asked) == 1, "what came was not used"


def test_a_server_that_sends_another_range_is_not_believed(put, server, tmp_path):
    put("wrong range", "well")
    (tmp_path / "some.tar.part").write_bytes(CONTENT[:300_000])
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)
    assert server.asked == [("/0/some.tar", "bytes=300000-"), ("/1/some.tar", "bytes=300000-")]


def test_a_connection_that_breaks_off_is_resumed(put, server, tmp_path):
    put("short", "well")
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)
    starts = [int(wanted[6:-1]) if wanted else 0 for _, wanted in server.asked]
    assert len(starts) == module.RETRIES + 1 and starts == sorted(set(starts)), "each goes on from the last"
    assert server.asked[-1][0] == "/1/some.tar"


def test_what_has_arrived_is_kept_for_the_next_time(put, tmp_path):
    put("short")
    text = refused(tmp_path)
    assert "broke off 5 times, last after " in text and "which are kept" in text
    part = (tmp_path / "some.tar.part").read_bytes()
    assert 500_000 < len(part) < len(CONTENT) and CONTENT.startswith(part)
    assert not (tmp_path / "some.tar").exists()
    put("well")
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)


@pytest.mark.parametrize("way", ["nothing", "hang up", "never"])
def test_the_next_address_is_tried(put, server, tmp_path, way):
    put(way, way, "well")
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)
    assert server.asked[-1][0] == "/2/some.tar"


def test_a_redirection_is_followed_and_keeps_the_range(put, server, tmp_path):
    put("redirect", content="/elsewhere")
    server.files["/elsewhere"] = (CONTENT, "well")
    (tmp_path / "some.tar.part").write_bytes(CONTENT[:1000])
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)
    assert server.asked[-1] == ("/elsewhere", "bytes=1000-")


def test_wrong_bytes_are_not_used_and_that_is_said(put, server, tmp_path):
    wrong = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    put("well", content=wrong)
    text = refused(tmp_path)
    found, wanted = hashlib.md5(wrong).hexdigest(), hashlib.md5(CONTENT).hexdigest()
    assert f"what it sent has the md5 {found}, not {wanted}, and is not used" in text
    assert os.listdir(tmp_path) == [] and len(server.asked) == 1


def test_a_page_instead_of_the_file_leaves_the_part_alone(put, tmp_path):
    put("no range", content=b"<html>please log in</html>")
    (tmp_path / "some.tar.part").write_bytes(CONTENT[:300_000])
    assert "has 26 bytes there, not 700,001" in refused(tmp_path)
    assert (tmp_path / "some.tar.part").read_bytes() == CONTENT[:300_000]


def test_an_answer_of_unknown_length_is_checked_too(put, tmp_path):
    put("no length", size=None)
    download("some", tmp_path, quiet=True)
    is_there(tmp_path)


def test_where_no_address_has_it_one_line_says_what_to_do_by_hand(put, server, tmp_path):
    put("nothing", "nothing")
    text = refused(tmp_path)
    assert text.startswith("some.tar could not be downloaded (")
    assert all(f"{server.url}/{i}/some.tar: HTTP 404 Not Found" in text for i in range(2))
    assert f"get it by hand, from there or elsewhere, and put it in {tmp_path}" in text


def test_without_a_network_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    look_up = socket.getaddrinfo

    def no_names(host, *arguments, **options):
        if host == "127.0.0.1":
            return look_up(host, *arguments, **options)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
    urls = (f"http://127.0.0.1:{port}/some.tar", "http://server.invalid/some.tar")
    monkeypatch.setitem(SETS, "some", Remote(urls, "0" * 32, 5))
    text = refused(tmp_path)
    assert f"{urls[0]}: cannot be reached (Connection refused)" in text
    assert f"{urls[1]}: cannot be reached (Name or service not known)" in text


def test_a_full_disk_is_noticed_before(put, tmp_path, monkeypatch):
    put("well", content=CONTENT * 9, expected=CONTENT * 9, size=9 * len(CONTENT))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    text = refused(tmp_path)
    assert "some.tar: 6 MB are to come and there is room for 1 MB; make room and start again" in text


def test_a_disk_that_fills_up_gets_one_line(put, tmp_path, monkeypatch):
    put("well")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert refused(tmp_path) == (f"{tmp_path / 'some.tar'}: No space left on device; make room and start again, it "
                                 "goes on where it stopped")


def test_a_folder_that_cannot_be_made_gets_one_line(put, tmp_path):
    put("well")
    (tmp_path / "file").write_text("")
    assert "file/below/some.tar: " in refused(tmp_path / "file" / "below")


def test_progress_tells_the_size_first_and_then_the_time_left(put, tmp_path, monkeypatch, capsys):
    put("well", content=CONTENT * 9, expected=CONTENT * 9, size=9 * len(CONTENT))
    clock = iter(range(0, 10**6, 11))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    download("some", tmp_path)
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("downloading some.tar: 6 MB, from http://127.0.0.1:") and others
    assert all(re.fullmatch(r"some\.tar: \d/6 MB, \d+ s left", line) for line in others)


def test_quiet_says_nothing(put, tmp_path, capfd):
    put("short", "well")
    download("some", tmp_path, quiet=True)
    assert capfd.readouterr() == ("", "")


# ---- a zip that is unpacked -----------------------------------------------------------------------------------------
def zip_of(*entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


GOOD = [("some/", b""), ("some/train/n1/images/x.JPEG", b"1"), ("some/words.txt", b"2")]


def test_a_zip_is_unpacked_once_and_whole(put, server, tmp_path):
    content = zip_of(*GOOD)
    put("well", content=content, expected=content, size=len(content), folder="some", file="some.zip")
    assert download("some", tmp_path, quiet=True) == str(tmp_path / "some")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == [
        "some.zip", "some/train/n1/images/x.JPEG", "some/words.txt"]
    (tmp_path / "some.zip").unlink()
    assert download("some", tmp_path, quiet=True) == str(tmp_path / "some") and len(server.asked) == 1


@pytest.mark.parametrize("name", ["../out.txt", "some/../../out.txt", "/out.txt", "other/out.txt", "link"])
def test_nothing_leaves_the_folder(put, tmp_path, name):
    entry = name
    if name == "link":
        entry = zipfile.ZipInfo("some/link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    content = zip_of(*GOOD, (entry, b"/etc/passwd"))
    put("well", content=content, expected=content, size=len(content), folder="some", file="some.zip")
    home = tmp_path / "a" / "b"
    assert "does not belong in some/; it is not unpacked" in refused(home)
    assert os.listdir(home) == ["some.zip"] and os.listdir(tmp_path) == ["a"] and os.listdir(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("content, expected", [(b"no zip", "no zip archive"), (zip_of(), "there is no some/ in it")])
def test_a_zip_without_the_folder_gets_one_line(put, tmp_path, content, expected):
    put("well", content=content, expected=content, size=len(content), folder="some", file="some.zip")
    assert expected in refused(tmp_path) and os.listdir(tmp_path) == ["some.zip"]


# ---- names ----------------------------------------------------------------------------------------------------------
def test_imagenet_says_where_to_get_it(tmp_path):
    text = refused(tmp_path, DataError, "imagenet")
    for part in ("https://image-net.org/download.php", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar",
                 "ILSVRC2012_devkit_t12.tar.gz"):
        assert part in text


def test_an_unknown_name_gets_the_names_there_are(tmp_path):
    text = refused(tmp_path, DataError, "mnist")
    assert text == ("mnist: no data set of that name; there are cifar10, tiny-imagenet, imagenette, imagenette-320, "
                    "imagenette-160")


@pytest.mark.parametrize("name", sorted(SETS))
def test_each_set_is_well_described(name):
    remote = SETS[name]
    assert re.fullmatch(r"[0-9a-f]{32}", remote.md5) and remote.urls and (remote.size or 10**6) > 10**5
    assert {url.rpartition("/")[2] for url in remote.urls} == {remote.file}
    assert remote.file.endswith(".zip") == bool(remote.folder)
