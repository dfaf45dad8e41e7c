"""The microscope without a browser: its messages are the trace's numbers, and its server is for this machine only."""

import gc
import http.client
import io
import json
import os
import pathlib
import re
import runpy
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.parse
import weakref

import numpy as np
import pytest
from PIL import Image

import tinynet
from tinynet import checkpoint, layers, runs
from tinynet.microscope import bugs, export, loading, server, specimen as specimen_module
from tinynet.microscope.specimen import PICTURE, Specimen
from tinynet.trace import explain

ROOT = pathlib.Path(__file__).parent.parent
PAGE = ROOT / "tinynet" / "microscope" / "page"
NAMES = ["ant", "bee", "cat", "dog", "elk"]


def every_kind():
    """One layer of every kind, on pictures of 29 pixels."""
    return [
        layers.Conv2d("conv1", 8, 5, stride=2, pad=1, std=0.1, bias=0.1),
        layers.LRN("lrn1", n=3, k=1, alpha=0.01, groups=2),
        layers.MaxPool("pool1", 3, stride=2, ceil=True),
        layers.ReLU("relu1"),
        layers.Conv2d("conv2", 12, 3, pad=1, groups=2, std=0.2, bias=0.1, bias_lr=2, bias_decay=0),
        layers.LRNWithin("within2", n=3, k=1, alpha=0.1),
        layers.Tanh("tanh2"),
        layers.AvgPool("pool2", 3, stride=2, ceil=True),
        layers.Conv2d("conv3", 6, 2, std=0.2),
        layers.LeakyReLU("leaky3", slope=0.2),
        layers.Flatten("flatten"),
        layers.Linear("fc4", 40, std=0.2),
        layers.Sigmoid("sigmoid4"),
        layers.Dropout("drop4", keep=0.6),
        layers.Linear("fc5", 30, std=0.3),
        layers.ReLU("relu5"),
        layers.Dropout("drop5", keep=0.5, inverted=True),
        layers.Layer("same5"),
        layers.Linear("fc6", len(NAMES), std=0.5, bias=0.1),
    ]


def network():
    net = tinynet.Sequential(every_kind(), (3, 29, 29), np.random.default_rng(3))
    mean = np.full((3, 33, 33), 120, np.float32)
    trained = runs.Trained(net, NAMES, mean, "nowhere")
    return loading.Network(pathlib.Path("nowhere"), net, NAMES, "weights of nobody", mean[:, 2:31, 2:31],
                           tinynet.SGD(net, lr=0.01), 0.01, trained)


def pixels(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, 29, 29)).astype(np.uint8)


@pytest.fixture(scope="module")
def specimen():
    return Specimen(network(), pixels(), label=2, training=True)


def arrays_of(specimen, name):
    step = specimen.trace[name]
    params = getattr(step.layer, "params", {})
    return ["y", "dx", *params, *(f"d{key}" for key in params), *["probs"] * (name == "loss")]


def some_places(specimen, count, seed=0):
    """(layer, of, index) of random numbers: `count` of every array of every layer."""
    rng = np.random.default_rng(seed)
    for name in specimen.trace.names:
        for of in arrays_of(specimen, name):
            shape = specimen.trace.array(name, of).shape
            for _ in range(count if shape else 1):
                yield name, of, tuple(int(rng.integers(size)) for size in shape)
        for key, w in getattr(specimen.trace[name].layer, "params", {}).items():
            for _ in range(count):
                yield name, "update", tuple(int(rng.integers(size)) for size in w.shape), key


def unpack(answer):
    """What pack made: the message and its arrays."""
    length, = struct.unpack_from("<I", answer)
    message, at, arrays = json.loads(answer[4:4 + length]), 4 + length, []
    for kind, shape in message["arrays"]:
        at += -at % 8
        array = np.frombuffer(answer, kind, int(np.prod(shape)), at).reshape(shape)
        arrays.append(array)
        at += array.nbytes
    return message, arrays


def at(block, place):
    """The index at a place among the terms, as the page computes it."""
    return tuple(part if isinstance(part, int) else part[1] + part[2] * place[len(place) + part[0]]
                 for part in block["index"])


def number_at(specimen, name, of, index):
    return float(specimen.x[index] if name == PICTURE else specimen.trace.array(name, of)[index])


# ---- messages ------------------------------------------------------------------------------------------------------

def test_every_kind_of_layer_is_looked_at():
    kinds = {value for value in vars(layers).values() if isinstance(value, type) and issubclass(value, layers.Layer)}
    assert {type(layer) for layer in every_kind()} == kinds


def test_messages_are_explanations_and_links_lead_to_their_terms(specimen):
    links = 0
    for name, of, index, *_ in some_places(specimen, 6):
        message, arrays = unpack(server.pack(*specimen.explain(name, of, index)))
        assert (message["layer"], message["of"], tuple(message["index"])) == (name, of, index)
        if message["kind"] == "given":
            assert message["value"] == number_at(specimen, name, of, index)
            continue
        explained = explain(specimen.trace, name, index, of)
        assert message["agrees"] and message["value"] == explained.value and message["actual"] == explained.actual
        terms = dict(zip(message["terms"], arrays))
        for term, array in explained.terms.items():
            np.testing.assert_array_equal(terms[term], array)
            block = message["sources"].get(term)
            for place in list(np.ndindex(array.shape))[::7]:
                if block and explained.source(term, place):
                    near = 1e-5 if term in ("y", "p", "p[label]") else 0  # computed by the formula once more
                    own = number_at(specimen, block["layer"], block["of"], at(block, place))
                    assert array[place] == pytest.approx(own, rel=near, abs=0)
                    links += 1
        for _, number, target in message["lines"]:
            if target:
                assert number_at(specimen, target["layer"], target["of"], tuple(target["index"])) == number
    assert links > 1000


def test_what_uses_a_number_names_it_among_its_terms(specimen):
    for name, of, index, *_ in some_places(specimen, 2, seed=1):
        message, _ = specimen.explain(name, of, index)
        for use in message["uses"]:
            places = list(np.ndindex(*use["shape"]))
            for place in places[::max(1, len(places) // 3)]:
                user, _ = specimen.explain(use["layer"], use["of"], at(use, place))
                assert user["agrees"]
                if of in ("y", "dx") and use["of"] in ("y", "dx"):
                    owners = {(block["layer"], block["of"]) for block in user["sources"].values()}
                    assert (name, of) in owners or name == use["layer"]
    message, _ = specimen.explain(PICTURE, "y", (0, 1, 14, 14))
    assert message["uses"][0]["layer"] == "conv1" and message["lines"][0][1] == specimen.pixels[1, 14, 14]
    assert message["value"] == specimen.x[0, 1, 14, 14]


def test_arrays_are_sent_as_they_are(specimen):
    for name in specimen.trace.names:
        for of in arrays_of(specimen, name):
            array = specimen.trace.array(name, of)
            message, (sent,) = unpack(server.pack(*specimen.numbers(name, of)))
            np.testing.assert_array_equal(sent, array.reshape(sent.shape))
            assert message["largest"] == abs(array).max()
    _, (kernel,) = specimen.numbers("conv2", "w", 5)
    np.testing.assert_array_equal(kernel, specimen.trace["conv2"].layer.params["w"][5])
    _, (change,) = specimen.numbers("conv2", "update", 5)
    after = explain(specimen.trace, "conv2", (5, 1, 2, 0), "update").actual
    assert kernel[1, 2, 0] + change[1, 2, 0] == np.float32(after)


def test_numbers_that_are_not_finite_travel():
    text = server.pack({"value": float("nan"), "lines": [["a", float("-inf"), None]]}, [])
    assert unpack(text)[0] == {"value": "NaN", "lines": [["a", "-Infinity", None]], "arrays": []}


def test_evaluation_has_no_gradients():
    seen = Specimen(network(), pixels(), label=2)
    assert seen.explain("drop4", "y", (0, 3))[0]["terms"] == ["x", "factor", "product"]
    with pytest.raises(ValueError, match="dx of conv2 is not there yet"):
        seen.explain("conv2", "dx", (0, 0, 0, 0))
    assert {use["of"] for use in seen.explain("conv2", "y", (0, 0, 0, 0))[0]["uses"]} == {"y"}


def test_a_nudge_measures_the_gradient(specimen, monkeypatch):
    monkeypatch.setattr(specimen_module, "UNITS", 16)  # fully connected layers in pieces
    before = {name: w.copy() for name, w in specimen.network.net.named_params().items()}
    for name, of, index, *_ in some_places(specimen, 2, seed=2):
        if of in ("dx", "dw", "db"):
            seen = specimen.nudge(name, of, index, 1e-5)
            assert seen["slope"] == pytest.approx(seen["gradient"], rel=1e-3, abs=1e-6), (name, of, index)
    for name, w in specimen.network.net.named_params().items():
        np.testing.assert_array_equal(w, before[name])
    assert specimen.explain("conv2", "y", (0, 0, 0, 0))[0]["agrees"]


# ---- planted bugs --------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def shared():
    return network()


@pytest.mark.parametrize("bug", ["", *bugs.BUGS])
def test_a_planted_bug_breaks_numbers_and_the_explanation_says_which(shared, bug):
    seen = Specimen(shared, pixels(), 2, training=True, bug=bug)
    broken = seen.broken()
    file = bugs.BUGS[bug].file if bug else None
    count = sum(int(mask.sum()) for arrays in broken.values() for mask in arrays.values())
    assert (count > 0) == (bug != "")
    for name in seen.trace.names:
        for of in ("y", "dx", "dw", "db"):
            if of not in arrays_of(seen, name):
                continue
            mask = broken.get(name, {}).get(of)
            shape = seen.trace.array(name, of).shape
            for index in list(np.ndindex(shape))[::max(1, int(np.prod(shape)) // 40)]:
                agrees = seen.explain(name, of, index)[0]["agrees"]
                if mask is None or not mask[index]:
                    assert agrees, (name, of, index)
    for name, arrays in broken.items():
        for of, mask in arrays.items():
            array = seen.trace.array(name, "w" if of == "update" else of)
            worst = np.unravel_index(abs(np.where(mask, array, 0)).argmax(), mask.shape)
            assert not seen.explain(name, of, tuple(map(int, worst)))[0]["agrees"]
    wrong = not seen.explain("conv1", "update", (0, 0, 2, 2))[0]["agrees"]
    assert wrong == (file == "sgd")


# ---- runs and checkpoints ------------------------------------------------------------------------------------------

def make_run(folder, steps=()):
    """A folder as a run of CifarNet leaves it, with checkpoints of these steps."""
    folder.mkdir()
    net = tinynet.CifarNet(len(NAMES), rng=np.random.default_rng(1))
    net["conv1"].params["w"] *= 200
    runs.write_json(folder / "config.json", {"network": "CifarNet", "classes": NAMES, "lr": 0.001})
    checkpoint.save_arrays(folder / "statistics.npz", {"mean": np.full((3, 32, 32), 120, np.float32),
                                                       "covariance": np.eye(3)})
    sgd = tinynet.SGD(net, lr=0.5)
    for step in steps:
        net["conv1"].params["w"][0, 0, 0, 0] = step
        sgd.velocity["conv1.w"][...] = step
        checkpoint.save_state(folder / f"checkpoint-{step:06}.npz", {"network": net.state(), "sgd": sgd.state(),
                                                                     "step": step})
    net["conv1"].params["w"][0, 0, 0, 0] = 99
    net.save(folder / "weights.npz")
    runs.write_json(folder / "summary.json", {})
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    base = tmp_path_factory.mktemp("microscope")
    make_run(base / "run", steps=(3, 12))
    (base / "bee").mkdir()
    (base / "other").mkdir()
    runs.write_json(base / "other" / "config.json", {"network": "OfOtherCode", "classes": NAMES})
    make_run(base / "fewer")
    runs.write_json(base / "fewer" / "config.json", {"network": "CifarNet", "classes": NAMES[:3]})
    Image.fromarray(pixels(1).transpose(1, 2, 0)).save(base / "bee" / "b.png")
    Image.fromarray(pixels(2).transpose(1, 2, 0)).save(base / "a.png")
    (base / "not.png").write_text("no picture")
    return base


def test_checkpoints_are_taken_and_given_back(base):
    loaded = loading.load(base / "run")
    bench = server.Bench([loaded], [("a", None, server.reader(base / "a.png"))])
    place = ("conv1", "w", (0, 0, 0, 0))
    assert loaded.steps() == [3, 12]
    for step, number, rate, velocity in ((None, 99, 0.001, 0), (3, 3, 0.5, 3), (12, 12, 0.5, 12), (None, 99, 0.001, 0)):
        seen = bench.specimen(step=step, training=True)
        assert seen.explain(*place)[0]["value"] == number
        message, arrays = seen.explain("conv1", "update", (0, 0, 0, 0))
        assert dict(zip(message["terms"], arrays))["v"] == velocity and message["agrees"]
        assert f"gradient: -{rate:g} * dw" in message["lines"][2][0]
        assert len(bench.specimens) == 1
    with pytest.raises(ValueError, match="no checkpoint of step 4"):
        bench.specimen(step=4)


def test_a_network_that_is_loaded_has_drawn_no_weights(base):
    """Drawing the 61 million of the full network would take longer than reading them."""
    rng = loading.load(base / "run").net.rng
    assert rng.bit_generator.state == np.random.PCG64(0).state


def test_a_specimen_that_is_not_kept_is_freed_at_once(base):
    """Its gradients are as large as the network: memory must not wait for the garbage collector."""
    bench = server.Bench([loading.load(base / "run")], [("a", None, server.reader(base / "a.png"))])
    gc.disable()
    try:
        for settings in ({"training": True}, {}, {"training": True, "step": 3}):
            traces = weakref.ref(bench.specimen(**settings).trace)
            bench.specimen(label=1)
            assert traces() is None
    finally:
        gc.enable()


def test_two_are_kept_while_they_are_compared(base):
    bench = server.Bench([loading.load(base / "run")], [("a", None, server.reader(base / "a.png")),
                                                        ("b", 1, server.reader(base / "bee" / "b.png"))])
    first = bench.specimen(pair=True)
    second = bench.specimen(picture=1, pair=True)
    assert second.label == 1 and bench.specimen(pair=True) is first and bench.specimen(picture=1, pair=True) is second
    bench.specimen(picture=1, training=True)
    assert len(bench.specimens) == 1


# ---- the server ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def served():
    bench = server.Bench([network()], [("noise", 2, lambda _: pixels()), ("other", None, lambda _: pixels(1))])
    running = server.Server(bench)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def ask(served, path, method="GET", body=None, token=None, **headers):
    """-> status, headers, content"""
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=30)
    token = served.token if token is None else token
    path = urllib.parse.quote(path, safe="/?&=%,.")
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/{token}/{path}", body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def test_the_page_and_its_numbers_are_served(served):
    for name in ("", *(path.name for path in PAGE.iterdir())):
        status, headers, content = ask(served, name)
        assert status == 200 and content == (PAGE / (name or "index.html")).read_bytes()
        assert "default-src 'none'" in headers["Content-Security-Policy"]
    status, _, content = ask(served, "explain?layer=conv2&of=dw&index=5,1,2,0&mode=training")
    seen = Specimen(network(), pixels(), 2, training=True)
    assert status == 200 and unpack(content)[0]["value"] == explain(seen.trace, "conv2", (5, 1, 2, 0), "dw").value
    assert json.loads(ask(served, "network")[2])["label"] == 2


@pytest.mark.parametrize("path, how, status", [
    ("", {"Host": "evil.example"}, 403), ("", {"Host": "evil.example:80"}, 403), ("", {"Host": ""}, 403),
    ("", {"token": "guess"}, 403), ("about", {"token": ""}, 403), ("about", {"token": "%C3%A9"}, 403),
    ("about", {"Sec_Fetch_Site": "cross-site"}, 403), ("about", {"Sec_Fetch_Site": "same-site"}, 403),
    ("../server.py", {}, 404), ("..%2fserver.py", {}, 404), ("/etc/passwd", {}, 404), ("page.js/", {}, 404),
    ("%00", {}, 404), ("page.js%00", {}, 404), ("nothing", {}, 404),
    ("about", {"method": "PUT"}, 501), ("about", {"method": "DELETE"}, 501), ("about", {"method": "OPTIONS"}, 501),
    ("picture", {"method": "POST", "body": b"no picture"}, 400), ("about", {"method": "POST", "body": b""}, 404),
    ("picture", {"method": "POST", "Content_Length": "99999999999"}, 413),
    ("picture", {"method": "POST", "Content_Length": "-1"}, 413),
    ("picture", {"method": "POST", "Content_Length": "x"}, 413),
    ("picture", {"method": "POST", "Content_Length": "9" * 5000}, 413),
])
def test_hostile_requests_are_refused(served, path, how, status):
    assert ask(served, path, **how)[0] == status
    assert ask(served, "about")[0] == 200


BAD = """
    explain  explain?layer=conv2  explain?layer=conv9&of=y&index=0,0,0,0  explain?layer=conv2&of=z&index=0
    explain?layer=conv2&of=y&index=0,0,0  explain?layer=conv2&of=y&index=0,0,0,99999
    explain?layer=conv2&of=y&index=-1,0,0,0  explain?layer=conv2&of=y&index=a  explain?layer=conv2&of=y&index=1e3
    explain?layer=conv2&of=y&index=\u0661  explain?layer=picture&of=dx&index=0,0,0,0
    explain?layer=picture&of=y&index=0,0,0,99  explain?layer=conv2&of=dx&index=0,0,0,0
    explain?layer=relu1&of=w&index=0  numbers  numbers?layer=conv2&of=w&part=99  numbers?layer=loss&of=dw
    numbers?layer=relu1&of=update  value  nudge?layer=conv2&of=dw&index=0,0,0,0
    nudge?layer=conv2&of=dw&index=0,0,0,0&mode=training&eps=0  nudge?layer=conv2&of=y&index=0,0&mode=training
    nudge?layer=conv2&of=dw&index=0,0,0,0&mode=training&eps=nan  network?run=7  network?picture=7  network?label=7
    network?bug=none  network?step=7  network?run=-1  broken?layer=conv2&of=y&part=x
""".split() + ["network?run=" + "9" * 50, "about?" + "&".join(f"a{i}=1" for i in range(50))]


@pytest.mark.parametrize("path", BAD)
def test_bad_input_is_refused_in_a_line(served, path):
    status, _, content = ask(served, path)
    answer = json.loads(content)["error"]
    assert status == 400 and answer and "\n" not in answer and "Traceback" not in answer


def test_random_queries_never_break_it(served, capfd):
    rng = np.random.default_rng(0)
    words = ("conv1 conv2 fc5 loss picture y w dw update probs 0 1 2,3 0,0,0,0 -1 training relu-gate-on-dy 1e-3 \u732b "
             "0,1 999999999999 NaN %").split() + ["", "x" * 300]
    keys = "layer of index part mode run picture label step bug eps pair".split()
    for _ in range(300):
        query = "&".join(f"{rng.choice(keys)}={rng.choice(words)}" for _ in range(rng.integers(1, 7)))
        status, _, _ = ask(served, f"{rng.choice(list(server.ANSWERS))}?{query}")
        assert status in (200, 400)
    assert capfd.readouterr().err == ""


def test_a_dropped_picture_is_looked_at(served):
    file = io.BytesIO()
    Image.fromarray(pixels(5).transpose(1, 2, 0)).save(file, "PNG")
    status, _, content = ask(served, "picture?name=mine.png", "POST", file.getvalue())
    number = json.loads(content)["id"]
    assert status == 200 and number >= 2
    _, (shown,) = unpack(ask(served, f"pixels?picture={number}")[2])
    assert shown.shape == (3, 29, 29)
    for _ in range(server.KEPT_PICTURES):
        ask(served, "picture?name=more.png", "POST", file.getvalue())
    assert ask(served, f"pixels?picture={number}")[0] == 400  # the oldest have gone
    assert ask(served, "pixels?picture=0")[0] == 200


# ---- the page's files ----------------------------------------------------------------------------------------------

def test_the_page_needs_nothing_from_elsewhere():
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import|url\(", text), path.name


def test_labels_come_in_both_languages():
    text = (PAGE / "labels.js").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in PAGE.glob("*.js"))
    used = set(re.findall(r"\bt\(\"(\w+)\"", code.replace('t("key")', "")))
    table = text[text.index("const LABELS"):text.index("// What a layer does")]
    labels = dict(re.findall(r"^  (\w+): \[(.*?)\],?$", table, re.M | re.S))
    assert used <= labels.keys()
    for key, both in labels.items():
        assert key in ("language", "stepOf") or re.search(r"[\u4e00-\u9fff]", both), key
    for kind in {type(layer).__name__ for layer in every_kind()} | {"SoftmaxCrossEntropy", "Picture"}:
        assert re.search(rf"^  {kind}: \[", text, re.M), kind
    assert set(re.findall(r'^  "([\w-]+)": \[', text, re.M)) == set(bugs.BUGS)


# ---- the export ----------------------------------------------------------------------------------------------------

def test_weights_are_rounded_until_the_page_fits(monkeypatch):
    monkeypatch.setattr(export, "WHOLE", 1000)
    monkeypatch.setattr(export, "SMALL", 0.2)
    found = network()
    text, bits = export.page(found, "noise", pixels(), 2, limit=15)
    plain = text.decode().replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert bits == 32 and "http" not in plain
    small, fewer = export.page(network(), "noise", pixels(), 2, limit=(len(text) - 1000) / 1e6)
    assert fewer < 32 and len(small) < len(text)
    with pytest.raises(export.ExportError, match="more than --limit 0.01"):
        export.page(network(), "noise", pixels(), 2, limit=0.01)


@pytest.mark.parametrize("bits", [16, 8, 6])
def test_rounded_weights_are_levels_times_scales(bits):
    w = np.random.default_rng(0).standard_normal((4, 3, 5, 5)).astype(np.float32)
    w[3] = 0
    near, levels, scales = export.rounded(w, bits)
    assert abs(levels).max() <= 2**(bits - 1) - 1 and abs(near - w).max() <= scales.max() / 2 * 1.001
    np.testing.assert_array_equal(near, levels.astype(np.float32) * scales[:, None, None, None])


# ---- the command line ----------------------------------------------------------------------------------------------

def start(*arguments, cwd, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TINYNET_THREADS": "1", **environment}
    return subprocess.Popen([sys.executable, "-m", "tinynet.microscope", *map(str, arguments)], cwd=cwd,
                            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")


def test_it_serves_until_ctrl_c_and_prints_its_address(base):
    with start("run", "bee/b.png", cwd=base, PATH="", BROWSER="", DISPLAY="", WAYLAND_DISPLAY="") as process:
        address = process.stdout.readline().split()[0]
        host, port, token = re.fullmatch(r"http://(127\.0\.0\.1):(\d+)/([\w-]{20,})/", address).groups()
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", f"/{token}/network")
        assert json.loads(connection.getresponse().read())["label"] == 1  # the folder is named bee
        connection.close()
        message = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert message == "no browser could be started: open the address in one\n" and process.stderr.read() == ""


MISTAKES = [
    ("nowhere a.png", "nowhere"), ("bee a.png", "bee"), ("other a.png", "OfOtherCode"),
    ("fewer a.png", "weights.npz: made for another network"), ("run not.png", "not.png: cannot identify image"),
    ("run none.png", "none.png: No such file"), ("run", "PICTURE is missing"), ("", "RUN"),
    ("run a.png --beside nowhere", "nowhere"), ("run a.png --port x", "'x' is not a port"),
    ("run a.png --port 65536", "'65536' is not a port"), ("run a.png --port TAKEN --no-browser", "cannot be had"),
    ("export run a.png", "--out"), ("export nowhere a.png --out x.html", "nowhere"),
    ("export run not.png --out x.html", "not.png: cannot identify image"),
    ("export run a.png --out no/such/x.html", "--out no/such/x.html: cannot be written"),
    ("export run a.png --out x.html --limit 0.01", "more than --limit 0.01"),
]


@pytest.mark.parametrize("line, words", MISTAKES, ids=[line for line, _ in MISTAKES])
def test_mistakes_get_a_line_and_exit_code_2(base, line, words, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = line.replace("TAKEN", str(taken.getsockname()[1]))
        monkeypatch.setattr(sys, "argv", ["microscope", *line.split()])
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))  # capsys' cannot be reconfigured
        monkeypatch.chdir(base)
        with pytest.raises(SystemExit) as left:
            runpy.run_module("tinynet.microscope", run_name="__main__")
        said = capsys.readouterr().err
        assert left.value.code == 2 and words in said and len(said.splitlines()) == 1
    assert not list(base.glob("*.html"))


def test_export_writes_one_file(base):
    process = start("export", "run", "a.png", "--out", "page.html", cwd=base)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and err == "" and re.fullmatch(r"page\.html: \d\.\d MB\n", out)
    assert str(base) not in (base / "page.html").read_text(encoding="utf-8")
    (base / "page.html").unlink()
