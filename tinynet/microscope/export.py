"""The page as one HTML file, which computes for itself.

It holds the activations, gradients and parameters of one training step on one picture. The weights
of large fully connected layers stay behind: of each of their numbers the largest terms are there,
and the sum of all others. Convolution weights are rounded until the file is small enough, before
anything is computed, so that every number in the page is exact for the network that it shows.
"""

import base64
import html
import importlib.resources
import json
import re
import zlib

import numpy as np

from tinynet import checkpoint, layers
from tinynet.microscope import loading
from tinynet.microscope.server import describe
from tinynet.microscope.specimen import Specimen

BITS = (32, 16, 12, 10, 8, 7, 6)  # of a convolution's weights, the finest first
WHOLE = 1 << 17    # fully connected weights up to so many are all there
TERMS = {True: 24, False: 5}  # of a number whose weights stay behind; few in small files
SMALL = 6.0        # MB
TEXT = 1.25        # bytes of base 85 for one byte
COPIES = (layers.ReLU, layers.Dropout, layers.Flatten)  # their y and dx are x and dy, or 0: the
#                                                         page copies these, exactly
MODULES = ("elements", "labels", "places", "colours", "strip", "maps", "number", "computing",
           "exported", "page")
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


class ExportError(ValueError):
    """A page that cannot be written; one line for the user."""


def write(path, network, name, pixels, label, limit=15.0):
    """Write the page to a file, whole or not at all.

    Args     network: a loading.Network, whose weights are rounded and whose velocities become 0;
             name, pixels, label: of the picture, the label None for the network's best guess;
             limit: MB (10^6 bytes)
    Returns  the size in bytes, and the bits of the convolutions' weights
    Raises   ExportError where even the coarsest rounding does not fit, or path cannot be written
    """
    try:
        with checkpoint.atomic_write(path) as file:  # opened before the long computation
            text, bits = page(network, name, pixels, label, limit)
            file.write(text)
    except OSError as error:
        raise ExportError(f"--out {path}: cannot be written ({error.strerror or error})") from None
    return len(text), bits


def page(network, name, pixels, label, limit=15.0):
    """Return the page as bytes, and the bits of the convolutions' weights. As write."""
    originals = {name: layer.params["w"].copy()
                 for name, layer in network.net.named_layers().items()
                 if isinstance(layer, layers.Conv2d)}
    network.sgd.velocity = loading.zeros(network.net)
    for bits in BITS:
        found = {layer: rounded(w, bits) for layer, w in originals.items()}
        least = sum(len(zlib.compress(planes(w if bits == 32 else levels)))
                    for w, levels, _ in found.values())
        if least * TEXT > limit * 1e6 and bits > BITS[-1]:
            continue
        for layer, (w, _, _) in found.items():
            network.net[layer].params["w"][...] = w
        specimen = Specimen(network, pixels, label, training=True)
        facts, arrays = contents(specimen, name, bits, TERMS[limit >= SMALL])
        text = assemble(facts, arrays)
        if len(text) <= limit * 1e6:
            return text, bits
    raise ExportError(f"the page would have {len(text) / 1e6:.1f} MB, more than --limit {limit:g}")


def rounded(w, bits):
    """Return the weights of kernels, rounded; the levels, and the scale of each kernel, or None.

    The weights are exactly level * scale in float32.
    """
    if bits == 32:
        return w, None, None
    top = 2**(bits - 1) - 1
    scales = (abs(w).max(axis=(1, 2, 3)) / top).astype(np.float32)
    scales[scales == 0] = 1
    levels = np.rint(w / scales[:, None, None, None])
    weights = levels.astype(np.float32) * scales[:, None, None, None]
    return weights, levels.astype(np.int8 if bits <= 8 else np.int16), scales


def contents(specimen, name, bits, terms):
    """Return what the page knows: JSON values, and named arrays."""
    network, trace = specimen.network, specimen.trace
    sgd, described = network.sgd, describe(network.net)
    arrays = {"pixels": specimen.pixels, "mean": network.mean.astype(np.float32)}
    for row in described:
        step, key = trace[row["name"]], row["name"]
        if not isinstance(step.layer, COPIES):
            arrays |= {f"{key}.y": step.y, f"{key}.dx": step.dx}
        if key == "loss":
            arrays["loss.probs"] = step.layer.probs
        if isinstance(step.layer, layers.Dropout):
            arrays[f"{key}.mask"] = step.saved[0]
        if row["params"]:
            arrays |= {f"{key}.b": step.layer.params["b"], f"{key}.db": step.grads["b"]}
            row["behind"], kept = weights(step, bits, terms)
            arrays |= {f"{key}.{name}": array for name, array in kept.items()}
    origin = network.origin.replace(str(network.folder), network.folder.name)
    facts = {"name": network.folder.name, "origin": origin, "picture": name, "bits": bits,
             "classes": list(network.class_names), "label": specimen.label, "layers": described,
             "in_shape": list(network.net.in_shape),
             "sgd": {key: getattr(sgd, key) for key in
                     ("lr", "momentum", "weight_decay", "lr_mult", "decay_mult")}}
    return facts, {name: floats(array) for name, array in arrays.items()}


def floats(array):
    """Return small whole numbers and float64 as they are, all else as float32."""
    array = np.asarray(array)
    return array if array.dtype.kind in "ui" or array.dtype == np.float64 else np.float32(array)


def weights(step, bits, terms):
    """Return whether the weights stay behind, and the arrays that stand for them."""
    w = step.layer.params["w"]
    if w.ndim == 4 and bits < 32:
        _, levels, scales = rounded(w, bits)
        return False, {"levels": levels, "scales": scales}
    if w.ndim == 4 or w.size <= WHOLE:
        return False, {"w": w}
    found = {}
    for of, values, table in (("y", step.x[0], w), ("dx", step.dy[0], w.T)):
        indices, kept, rest = largest_terms(table, values, min(terms, table.shape[1]))
        found |= {f"{of}.indices": indices, f"{of}.weights": kept, f"{of}.rest": rest}
    return True, found


def largest_terms(table, values, terms):
    """Return where the largest products of each row with values are, their weights, and the rest.

    Args     table (M, N), values (N,); terms: how many of each row
    Returns  (M, terms) uint16, (M, terms) float32, (M,) float64: the sum of all other products
    """
    M, N = table.shape
    indices = np.empty((M, terms), np.uint16)
    kept, rest = np.empty((M, terms), np.float32), np.empty(M)
    for unit, row in enumerate(table):
        products = row.astype(np.float64) * values.astype(np.float64)
        chosen = np.argpartition(-abs(products), terms - 1)[:terms]
        chosen = np.sort(chosen)
        indices[unit], kept[unit] = chosen, row[chosen]
        products[chosen] = 0
        rest[unit] = products.sum()
    return indices, kept, rest


def assemble(facts, arrays):
    """Return the HTML file as bytes."""
    folder = importlib.resources.files("tinynet.microscope") / "page"
    files = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    blob = zlib.compress(b"".join(planes(array) for array in arrays.values()), 9)
    table = {"bytes": len(blob), "arrays": [[name, array.dtype.str[1:], array.size]
                                            for name, array in arrays.items()]}
    data = base64.b85encode(blob, pad=True).decode()
    start = ("unpack(document.getElementById('data').textContent, FACTS.table)"
             ".then(arrays => start(new Exported(FACTS, arrays)));")
    known = json.dumps(facts | {"table": table}).replace("<", "\\u003c")
    script = "\n".join([f"const FACTS = {known};", *(enclosed(name, files[f"{name}.js"])
                                                     for name in MODULES),
                        "const { start } = $page, { Exported, unpack } = $exported;", start])
    text = files["index.html"].replace("</title>", f": {html.escape(facts['name'])}</title>\n"
                                       f'<meta http-equiv="Content-Security-Policy" '
                                       f'content="{POLICY}">')
    for old, new in (('<link rel="stylesheet" href="style.css">',
                      f"<style>\n{files['style.css']}</style>"),
                     ('<script type="module" src="main.js"></script>',
                      f'<script type="text/plain" id="data">{data}</script>\n'
                      f'<script type="module">\n{script}\n</script>')):
        before, _, after = text.partition(old)
        text = before + new + after
    return text.encode()


def planes(array):
    """Return the first bytes of all numbers, then the second ones, ...: these compress better."""
    array = np.ascontiguousarray(array)
    return array.reshape(-1).view(np.uint8).reshape(-1, array.itemsize).T.tobytes()


def enclosed(name, source):
    """Return a module as a constant with what it exports: one file needs no other."""
    exports = re.findall(r"^export (?:async )?(?:function|class|const) (\w+)", source, re.M)
    source = re.sub(r'^import (\{.*?\}) from "./(\w+)\.js";', r"const \1 = $\2;", source,
                    flags=re.M | re.S)
    source = re.sub(r"^export ", "", source, flags=re.M)
    return f"const ${name} = (() => {{\n{source}\nreturn {{ {', '.join(exports)} }};\n}})();"
