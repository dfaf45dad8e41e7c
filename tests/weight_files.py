"""Files of weights as other programs write them, and what those programs compute: for the tests of tinynet.weights."""

import functools
import io
import math
import os
import struct
import tempfile

import matplotlib
import numpy as np
from PIL import Image

from tinynet.alexnet import RECIPES, Recipe
from tinynet.layers import Conv2d, Linear

HOPPER = os.path.join(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")  # 512 x 600 pixels
_landscape = tempfile.NamedTemporaryFile(suffix=".png")  # gone when the tests are over
with Image.open(HOPPER) as _image:
    _image.crop((40, 150, 512, 465)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(_landscape.name)
PHOTOGRAPHS = [HOPPER, _landscape.name]
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
TORCHVISION = dict(zip(LAYERS, [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]))
TRUE = {"owt": (64, 192, 384, 256, 256, 4096, 4096, 1000), "caffe": (96, 256, 384, 384, 256, 4096, 4096, 1000)}
SMALL = {"owt": (64, 8, 8, 8, 4, 12, 12, 5), "caffe": (96, 8, 8, 8, 4, 12, 12, 5)}
SMALL |= dict.fromkeys(("paper", "code-2012"), SMALL["caffe"])
GROUPS = {"owt": (1, 1, 1, 1, 1), "caffe": (1, 2, 1, 2, 2)}


def shrink(recipe):
    """A recipe with the widths of SMALL."""
    def layers(classes):
        widths, table = iter(SMALL[recipe]), RECIPES[recipe].layers(classes)
        for layer in table:
            if isinstance(layer, Conv2d):
                layer.K = next(widths)
            if isinstance(layer, Linear):
                layer.OUT = next(widths)
        return table

    return Recipe(layers, RECIPES[recipe].image_size)


SHRUNK = {recipe: shrink(recipe) for recipe in RECIPES}


def arrays(recipe, widths, seed=0):
    """{"conv1": (w, b), ...} by He's rule, so that outputs say something of the picture, with biases of all signs."""
    rng, made, C = np.random.default_rng(seed), {}, 3
    for name, K, size, groups in zip(LAYERS[:5], widths, (11, 5, 3, 3, 3), GROUPS[recipe]):
        made[name] = random(rng, (K, C // groups, size, size))
        C = K
    IN = C * 36
    for name, OUT in zip(LAYERS[5:], widths[5:]):
        made[name] = random(rng, (OUT, IN))
        IN = OUT
    if recipe == "caffe":  # whose pixels go to 255: without this, one class would always have everything
        made["fc8"][0][...] *= np.float32(0.02)
    return made


def random(rng, shape):
    fan_in = np.prod(shape[1:])
    w = rng.standard_normal(shape, dtype=np.float32) * np.float32((2 / fan_in) ** 0.5)
    return w, rng.standard_normal(shape[0], dtype=np.float32) * np.float32(0.1)


def state(made, names=TORCHVISION):
    """{"features.0.weight": array, ...}"""
    return {f"{names[name]}.{key}": array for name, pair in made.items()
            for key, array in zip(("weight", "bias"), pair)}


# ---- what the others compute -----------------------------------------------------------------------------------------
def torchvision_input(torch, path):
    """torchvision's transforms of its alexnet: Resize(256), CenterCrop(224), ToTensor, Normalize."""
    image = Image.open(path).convert("RGB")
    w, h = image.size
    w, h = (256, int(256 * h / w)) if w <= h else (int(256 * w / h), 256)
    image = image.resize((w, h), Image.BILINEAR)
    left, top = int(round((w - 224) / 2.0)), int(round((h - 224) / 2.0))
    x = torch.from_numpy(np.array(image.crop((left, top, left + 224, top + 224)))).permute(2, 0, 1).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((x - mean.view(3, 1, 1)) / std.view(3, 1, 1))[None]


def caffe_input(torch, path, crop=227):
    """Caffe's: warped to 256 x 256 as OpenCV does, the middle, BGR, minus the mean of ilsvrc12."""
    x = torch.from_numpy(opencv_resize(path)).permute(2, 0, 1).float()[None].flip(1)
    start = (256 - crop) // 2
    x = x[:, :, start:start + crop, start:start + crop]
    return x - torch.tensor([104.00698793, 116.66876762, 122.67891434]).view(1, 3, 1, 1)


def zoo_input(torch, path):
    """As the ONNX model zoo measured its AlexNet: the whole picture by Pillow's resize, minus VGG's mean, BGR."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB").resize((224, 224))).astype(np.float32)
    for channel, mean in enumerate((123.68, 116.779, 103.939)):
        pixels[:, :, channel] -= np.float32(mean)
    return torch.from_numpy(np.ascontiguousarray(pixels[:, :, [2, 1, 0]].transpose(2, 0, 1)))[None]


@functools.cache
def opencv_resize(path, size=256):
    """What cv2.resize(image, (size, size)) gives, pixel by pixel: whole numbers, weights of 1/2048."""
    pixels = np.array(Image.open(path).convert("RGB")).tolist()
    H, W = len(pixels), len(pixels[0])
    result = np.empty((size, size, 3), np.uint8)

    def between(place, length):
        place = np.float32((place + 0.5) * length / size - 0.5)
        first, share = math.floor(place), place - np.float32(math.floor(place))
        return (max(first, 0), min(first + 1, length - 1), round(float((1 - share) * 2048)),
                round(float(share * 2048)))

    for y in range(size):
        top, bottom, above, below = between(y, H)
        for x in range(size):
            left, right, before, after = between(x, W)
            for c in range(3):
                upper = pixels[top][left][c] * before + pixels[top][right][c] * after
                lower = pixels[bottom][left][c] * before + pixels[bottom][right][c] * after
                result[y, x, c] = (((upper >> 4) * above >> 16) + ((lower >> 4) * below >> 16) + 2) >> 2
    return result


def torchvision_forward(torch, made, x):
    F, (w, b) = torch.nn.functional, _torch(torch, made)
    x = F.max_pool2d(F.relu(F.conv2d(x, w["conv1"], b["conv1"], 4, 2)), 3, 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, w["conv2"], b["conv2"], padding=2)), 3, 2)
    for name in ("conv3", "conv4", "conv5"):
        x = F.relu(F.conv2d(x, w[name], b[name], padding=1))
    return _head(F, w, b, F.max_pool2d(x, 3, 2))


def caffe_forward(torch, made, x, pool_first=False, ceil=True, pad=0):
    """Caffe's AlexNet, or CaffeNet, which pools first. ceil, pad: of the other geometries of the same weights."""
    F, (w, b) = torch.nn.functional, _torch(torch, made)

    def stage(x):
        def lrn(x):
            return F.local_response_norm(x, 5, 1e-4, 0.75, 1)

        def pool(x):
            return F.max_pool2d(x, 3, 2, ceil_mode=ceil)

        return lrn(pool(x)) if pool_first else pool(lrn(x))

    x = stage(F.relu(F.conv2d(x, w["conv1"], b["conv1"], 4, pad)))
    x = stage(F.relu(F.conv2d(x, w["conv2"], b["conv2"], padding=2, groups=2)))
    for name, groups in (("conv3", 1), ("conv4", 2), ("conv5", 2)):
        x = F.relu(F.conv2d(x, w[name], b[name], padding=1, groups=groups))
    return _head(F, w, b, F.max_pool2d(x, 3, 2, ceil_mode=True))


def _torch(torch, made):
    return [{name: torch.from_numpy(pair[i]) for name, pair in made.items()} for i in (0, 1)]


def _head(F, w, b, x):
    x = F.relu(F.linear(x.flatten(1), w["fc6"], b["fc6"]))
    x = F.relu(F.linear(x, w["fc7"], b["fc7"]))
    return F.linear(x, w["fc8"], b["fc8"]).softmax(1).numpy()


# ---- Caffe's format, by protobuf with the part of caffe.proto that is needed -----------------------------------------
def caffe_messages():
    """The classes NetParameter, ... of a schema made at run time."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    INT, UINT, FLOAT, DOUBLE, STRING, ENUM, MESSAGE = 5, 13, 2, 1, 9, 5, 11
    schema = {
        "BlobShape": [("dim", 1, 3, "repeated packed")],
        "BlobProto": [("num", 1, INT), ("channels", 2, INT), ("height", 3, INT), ("width", 4, INT),
                      ("data", 5, FLOAT, "repeated packed"), ("double_data", 8, DOUBLE, "repeated packed"),
                      ("shape", 7, "BlobShape")],
        "Convolution": [("num_output", 1, UINT), ("pad", 3, UINT, "repeated"), ("kernel_size", 4, UINT, "repeated"),
                        ("group", 5, UINT), ("stride", 6, UINT, "repeated"), ("pad_h", 9, UINT), ("pad_w", 10, UINT)],
        "Pooling": [("pool", 1, ENUM), ("kernel_size", 2, UINT), ("stride", 3, UINT)],
        "Norm": [("local_size", 1, UINT), ("alpha", 2, FLOAT), ("beta", 3, FLOAT)],
        "Dropout": [("dropout_ratio", 1, FLOAT)],
        "Transform": [("crop_size", 3, UINT)],
        "V1Layer": [("bottom", 2, STRING, "repeated"), ("top", 3, STRING, "repeated"), ("name", 4, STRING),
                    ("type", 5, ENUM), ("blobs", 6, "BlobProto", "repeated"), ("convolution_param", 10, "Convolution"),
                    ("dropout_param", 12, "Dropout"), ("lrn_param", 18, "Norm"), ("pooling_param", 19, "Pooling"),
                    ("transform_param", 36, "Transform")],
        "Layer": [("name", 1, STRING), ("type", 2, STRING), ("bottom", 3, STRING, "repeated"),
                  ("top", 4, STRING, "repeated"), ("blobs", 7, "BlobProto", "repeated"),
                  ("transform_param", 100, "Transform"), ("convolution_param", 106, "Convolution"),
                  ("dropout_param", 108, "Dropout"), ("lrn_param", 118, "Norm"), ("pooling_param", 121, "Pooling")],
        "NetParameter": [("name", 1, STRING), ("layers", 2, "V1Layer", "repeated"),
                         ("layer", 100, "Layer", "repeated")],
    }
    file = descriptor_pb2.FileDescriptorProto(name="caffe_part.proto", package="caffe", syntax="proto2")
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for field, number, kind, *how in fields:
            how = " ".join(how)
            added = message.field.add(name=field, number=number, label=3 if "repeated" in how else 1,
                                      type=MESSAGE if isinstance(kind, str) else kind)
            if isinstance(kind, str):
                added.type_name = f".caffe.{kind}"
            if "packed" in how:
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in schema}


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


V1_TYPES = {"Convolution": 4, "Data": 5, "Dropout": 6, "InnerProduct": 14, "LRN": 15, "Pooling": 17, "ReLU": 18,
            "SoftmaxWithLoss": 21, "Accuracy": 1}


def caffemodel(made, old=False, mixed=False, pool_first=False, name="AlexNet", crop=227, doubles=False):
    """The bytes of a .caffemodel: with `layer`; with `layers` and four sizes if old; the convolutions old if mixed."""
    messages = caffe_messages()
    net = messages["NetParameter"](name=name)

    value = "data"

    def add(kind, layer_name, as_old=old, pair=()):
        nonlocal value
        if as_old:
            layer = net.layers.add(name=layer_name, type=V1_TYPES[kind])
        else:
            layer = net.layer.add(name=layer_name, type=kind)
        if kind not in ("Data", "Accuracy"):
            layer.bottom.append(value)
            value = value if kind in ("ReLU", "Dropout") else layer_name
            layer.top.append(value)
        for array in pair:
            blob = layer.blobs.add()
            field, dtype = ("double_data", "<f8") if doubles else ("data", "<f4")
            head, raw = blob.DESCRIPTOR.fields_by_name[field].number << 3 | 2, array.astype(dtype).tobytes()
            blob.MergeFromString(bytes([head]) + varint(len(raw)) + raw)  # as `extend`, but not number by number
            if as_old:
                sizes = (1,) * (4 - array.ndim) + array.shape
                blob.num, blob.channels, blob.height, blob.width = sizes
            else:
                blob.shape.dim.extend(array.shape)
        return layer

    add("Data", "data").transform_param.crop_size = crop
    for i, (layer_name, pair) in enumerate(made.items(), 1):
        conv = i <= 5
        layer = add("Convolution" if conv else "InnerProduct", layer_name, old or mixed and conv, pair)
        if conv:
            param = layer.convolution_param
            param.num_output = len(pair[1])
            param.kernel_size.append(pair[0].shape[-1])
            param.stride.append(4 if i == 1 else 1)
            if i == 2:
                param.pad_h = param.pad_w = 2
            else:
                param.pad.append((0, 2, 1, 1, 1)[i - 1])
            param.group = GROUPS["caffe"][i - 1]
        if i < 8:
            add("ReLU", f"relu{i}")
        after = ("Pooling", "LRN") if pool_first else ("LRN", "Pooling")
        for kind in after if i <= 2 else ("Pooling",) if i == 5 else ():
            layer = add(kind, f"{kind.lower()}{i}")
            if kind == "LRN":
                layer.lrn_param.local_size, layer.lrn_param.alpha, layer.lrn_param.beta = 5, 1e-4, 0.75
            else:
                layer.pooling_param.kernel_size, layer.pooling_param.stride = 3, 2
        if i in (6, 7):
            add("Dropout", f"drop{i}").dropout_param.dropout_ratio = 0.5
    add("Accuracy", "accuracy")
    add("SoftmaxWithLoss", "loss")
    return net.SerializeToString()


# ---- the ONNX model zoo's form of Caffe's weights --------------------------------------------------------------------
def zoo_onnx(made, opset=9, size=224):
    """The graph as in bvlcalexnet: floor pooling, rows padded below and at the right in pool5 alone.

    Until version 6 of the operators Gemm has to be told to broadcast and Dropout that it is a test; until version 4
    Reshape has its sizes as an attribute, and what works in place says so in consumed_inputs.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "data_0"

    def add(kind, name, *more, outputs=(), **settings):
        nonlocal value
        if opset < 6 and kind in ("Relu", "Dropout", "Reshape"):
            settings["consumed_inputs"] = [0]
        nodes.append(helper.make_node(kind, [value, *more], [f"{name}_1", *outputs], **settings))
        value = f"{name}_1"

    def constant(name, array):
        constants.append(numpy_helper.from_array(array, name))
        return name

    for i, (name, (w, b)) in enumerate(made.items(), 1):
        pair = constant(f"{name}_w_0", w), constant(f"{name}_b_0", b)
        if i <= 5:
            pads = [(0, 2, 1, 1, 1)[i - 1]] * 4
            add("Conv", name, *pair, kernel_shape=w.shape[2:], pads=pads, strides=[4 if i == 1 else 1] * 2,
                group=GROUPS["caffe"][i - 1])
        else:
            if i == 6:
                if opset < 5:
                    add("Reshape", "pool5_flat", shape=[1, -1])
                else:
                    add("Reshape", "pool5_flat", constant("OC2_DUMMY_0", np.array([1, -1], np.int64)))
            add("Gemm", name, *pair, transB=1, **{"broadcast": 1} if opset < 7 else {})
        if i < 8:
            add("Relu", f"relu_{name}")
        if i <= 2:
            add("LRN", f"norm{i}", size=5, alpha=1e-4, beta=0.75, bias=1.0)
        if i in (1, 2, 5):
            add("MaxPool", f"pool{i}", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1] if i == 5 else [0] * 4)
        if i in (6, 7):
            if opset < 12:
                add("Dropout", f"drop{i}", outputs=[f"_drop{i}_mask_1"], ratio=0.5,
                    **{"is_test": 1} if opset < 7 else {})
            else:  # from then on the ratio is an input
                add("Dropout", f"drop{i}", constant(f"ratio{i}", np.float32(0.5)))
    add("Softmax", "prob")
    inputs = [helper.make_tensor_value_info("data_0", TensorProto.FLOAT, [1, 3, size, size])]
    inputs += [helper.make_tensor_value_info(c.name, c.data_type, c.dims) for c in constants]  # as until version 3
    output = helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, len(b)])
    graph = helper.make_graph(nodes, "bvlc_alexnet", inputs, [output], constants)
    model = helper.make_model(graph, producer_name="onnx-caffe2", opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 3
    return model.SerializeToString()


# ---- Guerzhoy's bvlc_alexnet.npy: a dict pickled by Python 2 in an array without axes --------------------------------
def guerzhoy_npy(made):
    """The bytes, written by hand: Python 3 can only write newer pickles, which np.save does for the other test."""
    out = io.BytesIO()
    out.write(b"\x93NUMPY\x01\x00")
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    out.write(struct.pack("<H", len(header)) + header)

    def array(shape, dtype, body):
        out.write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01(")
        out.write(b"".join(b"J" + struct.pack("<i", size) for size in shape) + b"tcnumpy\ndtype\n(U\x02" + dtype)
        order = b"<" if dtype == b"f4" else b"|"
        out.write(b"K\x00K\x01tR(K\x03U\x01" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
        body()
        out.write(b"tb")

    def numbers(array):
        raw = np.ascontiguousarray(array, "<f4").tobytes()
        out.write(b"T" + struct.pack("<i", len(raw)) + raw)

    def weights():
        out.write(b"]}(")
        for name, (w, b) in tensorflow(made).items():
            out.write(b"U" + bytes([len(name)]) + name.encode() + b"](")
            for item in (w, b):
                array(item.shape, b"f4", lambda item=item: numbers(item))
            out.write(b"e")
        out.write(b"ua")

    out.write(b"\x80\x02")
    array((), b"O8", weights)
    out.write(b".")
    return out.getvalue()


def tensorflow(made):
    """The arrays in TensorFlow's order: kernels (KH, KW, C, K), matrices (IN, OUT), fc6 by height, width, channels."""
    changed = {}
    for name, (w, b) in made.items():
        if name == "fc6" and w.shape[1] % 36 == 0:
            w = w.reshape(len(w), -1, 6, 6).transpose(2, 3, 1, 0).reshape(-1, len(w))
        else:
            w = w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T
        changed[name] = np.ascontiguousarray(w), b
    return changed
