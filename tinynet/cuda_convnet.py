"""The authors' own files of 2012: layers-*.cfg and layer-params-*.cfg of cuda-convnet.

The Computer History Museum published them; they are not part of tinynet. The net of the paper is in
layers-145.cfg. It is written in two columns, one per GPU: conv1a and conv1b, conv2a and conv2b.
Here each pair becomes one layer. Where each column reads only its own side the layer has groups=2,
where both read both sides it has none.

    rng = np.random.default_rng(0)
    net, sgd = cuda_convnet.load("layers-145.cfg", "layer-params-145.cfg", rng=rng)
"""

import collections
import dataclasses
import math
import os

from tinynet.layers import (
    LRN,
    AvgPool,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LRNWithin,
    MaxPool,
    ReLU,
    Sigmoid,
)
from tinynet.network import Sequential
from tinynet.optim import SGD

MAX_BYTES = 1 << 20  # of a file; the longest published one has 10 kB
MAX_WEIGHTS = 500_000_000  # of a network, 2 GB; AlexNet has 61 million
NEURONS = {"relu": ReLU, "logistic": Sigmoid}
FEED_OR_JUDGE = ("data", "softmax", "cost.logreg")  # no layers of ours

# What each kind of layer may say, in lower case as their parser reads it. "" is a key that changes
# nothing that is computed; a value in quotes is the only one that is understood here.
COMMON = {"type": None, "inputs": None, "gpu": ""}
WEIGHTS = {"initw": None, "initb": None, "neuron": None}
KNOWN = {
    "conv": COMMON | WEIGHTS | {
        "channels": None, "filters": None, "filtersize": None, "padding": None, "stride": None,
        "groups": None, "partialsum": "", "sharedbiases": "1", "randsparse": "0"},
    "fc": COMMON | WEIGHTS | {"outputs": None},
    "pool": COMMON | {"pool": None, "sizex": None, "stride": None, "channels": None, "neuron": None,
                      "start": "0", "outputsx": "0"},
    "cmrnorm": COMMON | {"size": None, "channels": None, "neuron": None, "blocked": "0"},
    "rnorm": COMMON | {"size": None, "channels": None, "neuron": None},
    "hs": COMMON | {"keep": None},
}
KNOWN_PARAMS = {
    "conv": {"epsw": None, "epsb": None, "momw": None, "momb": None, "wc": None, "wball": "0",
             "supereps": "0", "supermom": "0"},
    "pool": {}, "cmrnorm": {"scale": None, "pow": None, "mindiv": None},
    "rnorm": {"scale": None, "pow": None}, "hs": {"enable": "true"},
}
KNOWN_PARAMS["fc"] = KNOWN_PARAMS["conv"]
TRUE = {"true": "1", "false": "0"}


class CfgError(ValueError):
    """A file of cuda-convnet that cannot be read; one line for the user, with the place."""


@dataclasses.dataclass
class Section:
    """A part of a file, [name] and what follows: values by key, and the line of each."""

    path: str
    name: str
    line: int
    values: dict = dataclasses.field(default_factory=dict)
    lines: dict = dataclasses.field(default_factory=dict)

    def error(self, text, key=None):
        """Return a CfgError that names the file, the line and the section."""
        line = self.lines.get(key, self.line)
        return CfgError(f"{self.path}, line {line}: [{self.name}] {text}")

    def text(self, key, default=None):
        """Return a value as it is written."""
        if key not in self.values and default is None:
            raise self.error(f"has no {key}")
        return self.values.get(key, default)

    def numbers(self, key, kind, default=None):
        """Return a list of numbers: a layer with two inputs has two."""
        text = self.text(key, default)
        try:
            numbers = [kind(part) for part in text.split(",")]
            if not all(map(math.isfinite, numbers)):
                raise ValueError
        except (ValueError, OverflowError):
            raise self.error(f"has {key}={text!r}, not numbers", key) from None
        return numbers

    def number(self, key, kind, default=None):
        """Return a number, which must be the same for all inputs of a layer."""
        values = set(self.numbers(key, kind, default))
        if len(values) > 1:
            raise self.error(f"has {key}={self.values[key]!r}: inputs that differ in it make no "
                             "layer of ours", key)
        return values.pop()

    def require_known(self, known):
        """Refuse what is not understood, rather than pass over it."""
        for key, value in self.values.items():
            if key not in known:
                raise self.error(f"has {key}={value!r}, which is not known here", key)
            only = known[key]
            if only and any(_plain(part) != _plain(only) for part in value.split(",")):
                raise self.error(f"has {key}={value!r}; only {only} is known here", key)


def load(layers, params, image_size=224, *, rng):
    """Read a network and its training from the two files.

    Args     layers: path of layers-*.cfg; params: path of layer-params-*.cfg; image_size: side of
             the pictures in pixels, which neither file says; rng: numpy.random.Generator
    Returns  net, sgd: a Sequential with fresh weights, and an SGD with the rates, the momentum and
             the decays of the files. Where rates differ, sgd.lr is the commonest one
    Raises   CfgError, with the file and the line, for everything that is not known; ShapeError
    Differs  the weights of the two columns are drawn as one array: other numbers, the same spread
    """
    sections, settings = read(layers), read(params)
    nodes = _nodes(sections)
    made = _Network(settings, os.fspath(params))
    for node in nodes:
        made.add(node)
    if not made.layers:
        raise CfgError(f"{layers}: there are no layers in it")
    in_shape = made.in_channels, image_size, image_size
    _require_size(made.layers, (1, *in_shape), layers)
    net = Sequential(made.layers, in_shape, rng)
    return net, made.optimiser(net)


def _require_size(layers, shape, path):
    """Raise CfgError where weights would take too much memory, before it is taken."""
    count = 0
    for layer in layers:
        if isinstance(layer, Conv2d):
            count += math.prod(layer.weight_shape(shape))
        if isinstance(layer, Linear):
            count += layer.OUT * math.prod(shape[1:])
        if count > MAX_WEIGHTS:
            raise CfgError(f"{path}: the layers up to {layer.name} have {count:,} weights, more "
                           f"than {MAX_WEIGHTS:,}")
        shape = layer.output_shape(shape)


def read(path):
    """Read a .cfg -> {name: Section}. Raises CfgError."""
    sections, section = {}, None
    for number, line in enumerate(_lines(path), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            section = Section(os.fspath(path), line[1:-1].strip(), number)
            if section.name in sections:
                raise section.error(f"is there twice, before in line {sections[section.name].line}")
            sections[section.name] = section
            continue
        key, equals, value = line.partition("=")
        if section is None or not equals:
            raise CfgError(f"{path}, line {number}: neither [name] nor key=value: {line[:60]!r}")
        key = key.strip().lower()
        section.values[key], section.lines[key] = value.strip(), number
    return sections


def _lines(path):
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise CfgError(f"{path}: {os.path.getsize(path):,} bytes are more than {MAX_BYTES:,}")
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError as error:
        raise CfgError(f"{path}: {error.strerror or error}") from None


def _plain(text):
    return TRUE.get(text.strip().lower(), text.strip().rstrip("0").rstrip(".") or "0")


@dataclasses.dataclass
class Node:
    """A layer: one section, or two that are its columns; `apart` if each reads its own side."""

    name: str
    columns: list
    inputs: list
    apart: bool

    @property
    def kind(self):
        return self.columns[0].values["type"]


def _nodes(sections):
    """Return the layers in the order of the file, with pairs of columns joined."""
    nodes, merged = [], {}
    for name, section in sections.items():
        kind = section.text("type")
        if name in merged or kind in FEED_OR_JUDGE:
            merged.setdefault(name, name)
            continue
        if kind not in KNOWN:
            raise section.error(f"is of type {kind!r}, which is not known here", "type")
        columns = [section]
        other = sections.get(f"{name[:-1]}b") if name.endswith("a") else None
        if other and other.values.get("type") == kind:
            columns.append(other)
        for column in columns:
            column.require_known(KNOWN[kind])
            merged[column.name] = name[:-1] if len(columns) > 1 else name
        _require_alike(columns)
        inputs = [[part.strip() for part in column.text("inputs").split(",")] for column in columns]
        sides = [merged.get(part, part) for parts in inputs for part in parts]
        if len(set(sides)) > 1:
            raise section.error(f"reads {section.values['inputs']}: only layers that follow each "
                                "other are known here", "inputs")
        apart = len(columns) > 1 and not set(inputs[0]) & set(inputs[1])
        nodes.append(Node(merged[name], columns, sides[:1], apart))
    for node, before in zip(nodes[1:], nodes):
        if node.inputs[0] != before.name:
            raise node.columns[0].error(f"reads {node.columns[0].values['inputs']}, not the layer "
                                        f"before it, {before.name}", "inputs")
    return nodes


def _require_alike(columns, but=("inputs", "gpu")):
    first, last = columns[0], columns[-1]
    for key in [*first.values, *last.values]:
        if key not in but and first.values.get(key) != last.values.get(key):
            raise last.error(f"has {key}={last.values.get(key)}, [{first.name}] "
                             f"{first.values.get(key)}: two columns of one layer must agree", key)


class _Network:
    """Layers as they are added, with the rates that training needs."""

    def __init__(self, settings, path):
        self.settings, self.path = settings, path
        self.layers, self.rates, self.channels, self.in_channels = [], {}, None, 3

    def add(self, node):
        """Add the layers that a node stands for: itself, and its neurons."""
        section, sides = node.columns[0], len(node.columns)
        params = self.params(node)
        if "channels" in section.values:
            inputs = len(section.text("inputs").split(","))
            count = sum(section.numbers("channels", int)) * (sides if node.apart else 1)
            if len(section.numbers("channels", int)) == 1:
                count *= inputs
            if self.channels is None:
                self.channels = self.in_channels = count
            if count != self.channels:
                raise section.error(f"reads {count} channels, the layer before makes "
                                    f"{self.channels}", "channels")
        match node.kind:
            case "conv":
                K = section.number("filters", int) * sides
                groups = section.number("groups", int, "1") * (sides if node.apart else 1)
                self.layers.append(Conv2d(
                    node.name, K, section.number("filtersize", int),
                    stride=section.number("stride", int, "1"),
                    pad=section.number("padding", int, "0"), groups=groups, ceil=True,
                    need_dx=bool(self.layers), **self.initial(section)))
                self.channels = K
            case "fc":
                if not any(isinstance(layer, Flatten) for layer in self.layers):
                    self.layers.append(Flatten("flatten"))
                self.layers.append(Linear(node.name, section.number("outputs", int) * sides,
                                          **self.initial(section)))
            case "pool":
                kinds = {"max": MaxPool, "avg": AvgPool}
                if section.text("pool") not in kinds:
                    raise section.error(f"has pool={section.text('pool')!r}, which is not known "
                                        "here", "pool")
                self.layers.append(kinds[section.text("pool")](
                    node.name, section.number("sizex", int), section.number("stride", int),
                    ceil=True))
            case "cmrnorm":
                n = section.number("size", int)
                self.layers.append(LRN(
                    node.name, n=n, k=params.number("mindiv", float, "1"),
                    alpha=params.number("scale", float) / n, beta=params.number("pow", float),
                    groups=sides))
            case "rnorm":
                n = section.number("size", int)
                self.layers.append(LRNWithin(
                    node.name, n=n, alpha=params.number("scale", float) / n**2,
                    beta=params.number("pow", float)))
            case "hs":
                self.layers.append(Dropout(node.name, keep=section.number("keep", float)))
        if node.kind in ("conv", "fc"):
            self.rates[node.name] = params
        neuron = section.values.get("neuron", "ident")
        if neuron not in (*NEURONS, "ident"):
            raise section.error(f"has neuron={neuron!r}, which is not known here", "neuron")
        if neuron in NEURONS:
            self.layers.append(NEURONS[neuron](f"{node.name}_neuron"))

    def params(self, node):
        """Return the section of a node in the file of parameters, the same for both columns."""
        found = []
        for column in node.columns:
            section = self.settings.get(column.name)
            if section is None and node.kind != "pool":
                raise column.error(f"has no section in {self.path}")
            if section is not None:
                section.require_known(KNOWN_PARAMS[node.kind])
                found.append(section)
        if found:
            _require_alike(found)
            return found[0]
        return None

    @staticmethod
    def initial(section):
        """Return the spread of the weights and the value of the biases."""
        return {"std": section.number("initw", float, "0.01"),
                "bias": section.number("initb", float, "0")}

    def optimiser(self, net):
        """Make SGD of the commonest rate and decay; what differs is in the layers' multipliers."""
        rows = {name: (section.number("epsw", float), section.number("epsb", float),
                       section.number("wc", float, "0")) for name, section in self.rates.items()}
        momentum = {(section.number("momw", float), section.number("momb", float)): section
                    for section in self.rates.values()}
        (momentum_w, momentum_b), section = next(iter(momentum.items()))
        if len(momentum) > 1 or momentum_w != momentum_b:
            section = list(momentum.values())[-1]
            raise section.error("has momenta that differ from layer to layer or from weights to "
                                "biases, which is not known here", "momw")
        lr = _commonest(rate for rate, _, _ in rows.values())
        decay = _commonest(decay for _, _, decay in rows.values())
        for name, (rate, bias_rate, own_decay) in rows.items():
            net[name].lr_mult = {"w": rate / lr, "b": bias_rate / lr} if lr else {}
            net[name].decay_mult = {"w": own_decay / decay if decay else 1, "b": 0}
        return SGD(net, lr, momentum_w, decay)


def _commonest(values):
    """Return the most frequent of the values that are not 0; 0 if there is none."""
    counted = collections.Counter(value for value in values if value)
    return counted.most_common(1)[0][0] if counted else 0.0
