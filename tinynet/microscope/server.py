"""The local server of the page: 127.0.0.1 only, a secret in the address, no file but the page's.

Every number in the page is one that Python has computed. A request names its whole state (run,
picture, label, mode, checkpoint, bug); the server keeps the newest specimen, or the newest two
while the page compares. Answers with arrays are binary: the length of a JSON text in four bytes,
the text, then the arrays, each from a multiple of eight bytes on.
"""

import collections
import hmac
import http.server
import importlib.resources
import io
import json
import secrets
import struct
import sys
import threading
import urllib.parse

import numpy as np

from tinynet.microscope import bugs, loading
from tinynet.microscope.specimen import Specimen, facts

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
UPLOAD_BYTES = 32 << 20
KEPT_PICTURES = 24  # the oldest of the dropped ones go first
HEADERS = {
    "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
                               "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; "
                               "form-action 'none'; frame-ancestors 'none'",
}


class Bench:
    """The networks and pictures that can be looked at, and the specimens made of them.

    Args     networks: of loading.Network, one or two; pictures: [(name, label or None,
             function of a Network -> uint8 (3, H, W)), ...]
    """

    def __init__(self, networks, pictures):
        self.networks = networks
        self.pictures = dict(enumerate(pictures))
        self.specimens = collections.OrderedDict()
        self.lock = threading.Lock()
        self._dropped = []

    def specimen(self, run=0, picture=0, label=None, training=False, step=None, bug="", pair=False):
        """Return the Specimen of these settings. Raises ValueError or KeyError, one line."""
        if not 0 <= run < len(self.networks):
            raise ValueError(f"there is no run {run}")
        if picture not in self.pictures:
            raise ValueError(f"there is no picture {picture}")
        network = self.networks[run]
        if label is not None and not 0 <= label < len(network.class_names):
            raise ValueError(f"there is no class {label}")
        if bug and bug not in bugs.BUGS:
            raise ValueError(f"there is no bug {bug!r}")
        if step != network.loaded:
            for key in [key for key in self.specimens if key[0] == run]:
                del self.specimens[key]  # their weights are about to change
            network.load(step)
        key = run, picture, label, training, step, bug
        if key not in self.specimens:
            while len(self.specimens) > pair:
                self.specimens.popitem(last=False)
            _, own_label, read = self.pictures[picture]
            label = own_label if label is None else label
            self.specimens[key] = Specimen(network, read(network), label, training, bug)
        self.specimens.move_to_end(key)
        return self.specimens[key]

    def add_picture(self, name, content):
        """Add a picture that was dropped on the page. Return its number. Raises DataError."""
        read = reader(io.BytesIO(content))
        read(self.networks[0])  # refused now, if it is to be refused
        number = max(self.pictures) + 1
        self.pictures[number] = name, None, read
        self._dropped.append(number)
        if len(self._dropped) > KEPT_PICTURES:
            del self.pictures[self._dropped.pop(0)]
        return number

    def about(self):
        """Return what the page has to know before the first number: JSON values."""
        return {
            "can": {"modes": True, "nudge": True, "bugs": list(bugs.BUGS), "drop": True,
                    "beside": True},
            "runs": [{"origin": network.origin, "steps": network.steps(),
                      "name": network.folder.name, "classes": list(network.class_names)}
                     for network in self.networks],
            "pictures": [{"id": number, "name": name}
                         for number, (name, _, _) in self.pictures.items()]}

    def network(self, run):
        """Return the layers of a run's network: JSON values."""
        net = self.networks[run].net
        return {"layers": describe(net), "in_shape": list(net.in_shape)}


def describe(net):
    """Return what the page shows of each layer: name, kind, sizes, the shapes of its arrays."""
    rows, shape = [], (1, *net.in_shape)
    for name, layer in net.named_layers().items():
        fold, shape = list(shape[1:]), layer.output_shape(shape)
        rows.append({"name": name, "kind": type(layer).__name__, "in": fold,
                     "out": list(shape[1:]), "facts": facts(layer),
                     "params": {key: list(w.shape) for key, w in layer.params.items()}})
    rows.append({"name": "loss", "kind": "SoftmaxCrossEntropy", "in": list(shape[1:]), "out": [],
                 "facts": {}, "params": {}})
    return rows


def reader(file):
    """Return a function of a Network that reads the picture for it."""
    def read(network):
        if hasattr(file, "seek"):
            file.seek(0)
        return network.picture(file)
    return read


def pack(message, arrays):
    """Return an answer with arrays: float32 and uint8 as they are, all else as float64."""
    arrays = [np.ascontiguousarray(a if a.dtype in (np.float32, np.uint8) else a.astype(float))
              for a in map(np.asarray, arrays)]
    kinds = {"f4": "float32", "u1": "uint8", "f8": "float64"}
    message = message | {"arrays": [[kinds[a.dtype.str[1:]], list(a.shape)] for a in arrays]}
    text = json.dumps(finite(message), allow_nan=False).encode()
    parts = [struct.pack("<I", len(text)), text]
    size = 4 + len(text)
    for array in arrays:
        parts += [bytes(-size % 8), array.tobytes()]
        size += -size % 8 + array.nbytes
    return b"".join(parts)


def finite(message):
    """Return a message in which infinite numbers and NaN are the texts "Infinity" and "NaN"."""
    if isinstance(message, dict):
        return {key: finite(value) for key, value in message.items()}
    if isinstance(message, list | tuple):
        return [finite(value) for value in message]
    if isinstance(message, float) and not np.isfinite(message):
        return "NaN" if message != message else "Infinity" if message > 0 else "-Infinity"
    return message


class Server(http.server.ThreadingHTTPServer):
    """Serve the page of a bench on 127.0.0.1. Raises OSError where the port cannot be had."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there, two servers would share a port

    def __init__(self, bench, port=0):
        self.bench, self.token = bench, secrets.token_urlsafe(16)
        folder = importlib.resources.files("tinynet.microscope") / "page"
        self.files = {file.name: (file.read_bytes(), TYPES["." + file.name.rpartition(".")[2]])
                      for file in folder.iterdir() if "." + file.name.rpartition(".")[2] in TYPES}
        self.files[""] = self.files["index.html"]
        super().__init__(("127.0.0.1", port), Handler)
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def handle_error(self, request, client_address):
        """Ignore a browser that hangs up, and print anything else in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"microscope: {type(error).__name__}: {error}", file=sys.stderr)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tinynet", ""
    timeout = 60
    wbufsize, disable_nagle_algorithm = -1, True  # an answer is one packet, and sent at once

    def do_GET(self):
        """Answer with a file of the page, or with numbers."""
        found = self._path()
        if found is None:
            return
        name, query = found
        if name in self.server.files:
            self._answer(200, *self.server.files[name])
        elif name in ANSWERS:
            self._compute(ANSWERS[name], query)
        else:
            self._refuse(404, "there is no such page")

    def do_POST(self):
        """Take a picture that was dropped on the page."""
        found = self._path()
        if found is None:
            return
        name, query = found
        length = self.headers.get("Content-Length", "")
        if name != "picture":
            self._refuse(404, "there is no such page")
        elif not length.isdecimal() or len(length) > 12 or int(length) > UPLOAD_BYTES:
            self._refuse(413, f"a picture may have at most {UPLOAD_BYTES >> 20} MiB")
        else:
            content = self.rfile.read(int(length))
            self._compute(lambda bench, query: {"id": bench.add_picture(
                query.get("name", "picture")[:100], content)}, query)

    def _path(self):
        """Return the name and the query that a request asks for; or refuse it, and return None."""
        if self.headers.get("Host") not in self.server.hosts:
            return self._refuse(403, "this address is for this machine only")
        url = urllib.parse.urlsplit(self.path)
        token, _, name = url.path.lstrip("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            return self._refuse(403, "the address lacks its secret part: copy it whole")
        if self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return self._refuse(403, "another page must not ask")
        try:
            query = urllib.parse.parse_qsl(url.query, max_num_fields=20)
        except ValueError as error:
            return self._refuse(400, str(error))
        return name, {key: value[:200] for key, value in query}

    def _compute(self, function, query):
        try:
            with self.server.bench.lock, np.errstate(all="ignore"):
                answer = function(self.server.bench, query)
        except (ValueError, LookupError, TypeError, *loading.MISTAKES) as error:
            self._refuse(400, str(error).splitlines()[0] if str(error) else type(error).__name__)
        except Exception as error:  # one line here, one line there; the page goes on
            print(f"microscope: {type(error).__name__}: {error}", file=sys.stderr)
            self._refuse(500, f"the microscope failed: {type(error).__name__}: {error}")
        else:
            if isinstance(answer, bytes):
                self._answer(200, answer, "application/octet-stream")
            else:
                self._answer(200, json.dumps(finite(answer)).encode(), "application/json")

    def _refuse(self, code, line):
        self.close_connection = True  # what else it has to say is not read
        self._answer(code, json.dumps({"error": line}).encode(), "application/json")

    def _answer(self, code, content, kind):
        self.send_response(code)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if "/j" in kind or "t/" in kind
                         else kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing: the terminal is for faults."""


def settings(query):
    """Return the keyword arguments of Bench.specimen that a query asks for."""
    return {"run": whole(query, "run", 0), "picture": whole(query, "picture", 0),
            "label": whole(query, "label"), "training": query.get("mode") == "training",
            "step": whole(query, "step"), "bug": query.get("bug", ""), "pair": "pair" in query}


def whole(query, name, default=None):
    """Return a whole number from a query. Raises ValueError, one line."""
    text = query.get(name, "")
    if text and not text.isascii() or text and not text.isdecimal() or len(text) > 12:
        raise ValueError(f"{name}={text!r} is not a whole number from 0")
    return int(text) if text else default


def place(query):
    """Return the layer, the array and the index that a query asks for."""
    index = query.get("index", "")
    if not all(i.isascii() and i.isdecimal() and len(i) < 12 for i in index.split(",") if index):
        raise ValueError(f"index={index!r} is no list of whole numbers")
    return (query.get("layer", ""), query.get("of", "y"),
            tuple(int(i) for i in index.split(",")) if index else ())


def about(bench, query):
    """Return what the page has to know first."""
    return bench.about()


def network(bench, query):
    """Return the layers of one run, and the class that a specimen takes to be right."""
    specimen = bench.specimen(**settings(query))
    run = whole(query, "run", 0)
    return bench.network(run) | {"label": specimen.label, "origin": bench.networks[run].source}


def pixels(bench, query):
    """Return the picture as the network sees it, before the mean is subtracted: uint8."""
    return pack({}, [bench.specimen(**settings(query)).pixels])


def numbers(bench, query):
    """Return an array of a layer, or one unit's part of it."""
    name, of, _ = place(query)
    return pack(*bench.specimen(**settings(query)).numbers(name, of, whole(query, "part")))


def explained(bench, query):
    """Return how one number is computed."""
    return pack(*bench.specimen(**settings(query)).explain(*place(query)))


def value(bench, query):
    """Return one number, by itself."""
    message, _ = bench.specimen(**settings(query)).explain(*place(query))
    return {"value": message["actual"]}


def nudged(bench, query):
    """Return what the loss does when one number is changed a little."""
    eps = float(query.get("eps", "0.001"))
    if not 1e-9 <= eps <= 1e3:
        raise ValueError("eps must lie between 1e-9 and 1000")
    return bench.specimen(**settings(query)).nudge(*place(query), eps)


def broken(bench, query):
    """Return how many numbers of each array a planted bug makes wrong, or which of one array."""
    specimen = bench.specimen(**settings(query))
    found = specimen.broken()
    if "layer" not in query:
        return {"broken": {name: {of: [int(mask.sum()), mask.size] for of, mask in arrays.items()}
                           for name, arrays in found.items()}}
    name, of, _ = place(query)
    mask = found.get(name, {}).get(of)
    part = whole(query, "part")
    if mask is None:
        return pack({}, [])
    if of in ("y", "dx", "probs") and mask.ndim:
        mask = mask[0]
    elif part is not None:
        mask = mask[part]
    return pack({}, [mask.astype(np.uint8)])


ANSWERS = {"about": about, "network": network, "pixels": pixels, "numbers": numbers,
           "explain": explained, "value": value, "nudge": nudged, "broken": broken}

