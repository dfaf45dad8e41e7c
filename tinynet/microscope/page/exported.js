// Where the numbers come from in an exported page: the arrays in the file, and computing.js.

import { KINDS, kernelGradient, update } from "./computing.js";
import { t } from "./labels.js";
import { ravel, shapeOf, size } from "./places.js";

const TOLERANCE = 2e-5;
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

export class Exported {
  constructor(facts, arrays) {
    this.facts = facts;
    const get = name => arrays[name];
    this.pixelData = { shape: [3, ...facts.in_shape.slice(1)], data: get("pixels") };
    const mean = get("mean"), picture = Float32Array.from(get("pixels"), (pixel, k) => pixel - mean[k]);
    this.mean = mean;
    const names = ["picture", ...facts.layers.map(layer => layer.name)];
    let below = picture;
    this.layers = facts.layers.map((layer, i) => {
      const full = { ...layer, x: below, below: names[i], above: names[i + 2] || null, label: facts.label };
      for (const key of ["y", "dx", "b", "db", "mask", "probs"]) full[key] = get(`${layer.name}.${key}`);
      full.w = get(`${layer.name}.w`);
      const levels = get(`${layer.name}.levels`);
      if (levels) { // rounded weights: a whole number times the scale of its kernel
        const scales = get(`${layer.name}.scales`), each = levels.length / scales.length;
        full.w = Float32Array.from(levels, (level, k) => level * scales[Math.floor(k / each)]);
      }
      if (layer.behind) {
        full.top = Object.fromEntries(["y", "dx"].map(of => [of, { indices: get(`${layer.name}.${of}.indices`),
          weights: get(`${layer.name}.${of}.weights`), rest: get(`${layer.name}.${of}.rest`), count: layer[of === "y" ? "in" : "out"][0] }]));
      }
      full.y ??= copied(full, full.x, full.x);
      below = full.y;
      return full;
    });
    this.layers.toReversed().forEach((layer, i, all) => {
      layer.dy = all[i - 1]?.dx;
      layer.dx ??= copied(layer, layer.dy, layer.x);
    });
    this.byName = Object.fromEntries(this.layers.map(layer => [layer.name, layer]));
    this.picture = { name: "picture", kind: "Picture", out: facts.in_shape, in: [], params: {}, facts: {}, y: picture };
    this.largest = {};
  }

  async about() {
    const { facts } = this;
    return { can: { modes: false, nudge: false, bugs: [], drop: false, beside: false },
      runs: [{ name: facts.name, origin: facts.origin, steps: [], classes: facts.classes }],
      pictures: [{ id: 0, name: facts.picture }] };
  }

  async network() {
    const { facts } = this, note = `${t("oneStep")} ${facts.bits < 32 ? t("rounded", facts.bits) : ""}`;
    return { layers: facts.layers, in_shape: facts.in_shape, label: facts.label, origin: facts.origin, note };
  }

  async pixels() {
    return this.pixelData;
  }

  async numbers(settings, name, of, part = null) {
    const layer = name === "picture" ? this.picture : this.byName[name];
    const data = ["w", "dw", "update"].includes(of) ? this.parameter(layer, of, part) : layer[of];
    if (!data) throw new Error(`${name}.${of}: ${t("absent")}`);
    return { data, shape: [data.length] };
  }

  parameter(layer, of, part) {
    const each = size(layer.params.w) / layer.params.w[0], own = layer.w?.subarray(part * each, (part + 1) * each);
    if (of === "w") return part === null ? layer.w : own;
    const gradient = kernelGradient(layer, part);
    if (of === "dw") return gradient;
    const { sgd } = this.facts, name = `${layer.name}.w`, lr = sgd.lr * (sgd.lr_mult[name] ?? 1);
    const decay = sgd.weight_decay * (sgd.decay_mult[name] ?? 1);
    return own && gradient.map((dw, k) => -lr * dw - decay * lr * own[k]);
  }

  async explain(settings, { layer: name, of, index }) {
    const layer = name === "picture" ? this.picture : this.byName[name];
    const shape = layer && shapeOf(layer, of, index);
    if (!shape || shape.length !== index.length || index.some((i, axis) => !(i >= 0 && i < shape[axis]))) {
      throw new Error(`${name}.${of}[${index}]: ${t("absent")}`);
    }
    const place = { layer: name, of, index, uses: this.uses(layer, of, index) };
    if (name === "picture") return { ...this.pixel(index), ...place };
    if (of === "w" || of === "b") {
      if (!layer[of]) throw new Error(t("behind", name));
      const value = layer[of][ravel(index, shape)];
      return { kind: "given", value, actual: value, agrees: true, origin: this.facts.origin, ...place };
    }
    const found = of === "update" ? this.update(layer, index) : KINDS[layer.kind][of](layer, index);
    const value = found.lines.at(-1)[1], own = ["y", "dx", "db", "probs"].includes(of) ? layer[of] : null;
    const actual = own ? own[shape.length ? ravel(index, shape) : 0] : value;
    const tolerance = own ? TOLERANCE * Math.max(found.size, this.top(name, of, own)) : undefined;
    return { ...found, value, actual, tolerance, agrees: !own || Math.abs(value - actual) <= tolerance,
      note: found.behind ? t("behind", name) : null, ...place };
  }

  update(layer, index) {
    const of = index.length === 1 ? "db" : "dw";
    if (of === "dw" && !layer.w) throw new Error(t("behind", layer.name));
    return update(layer, index, this.facts.sgd, KINDS[layer.kind][of](layer, index).lines.at(-1)[1]);
  }

  pixel(index) {
    const k = ravel(index.slice(1), this.picture.out), pixel = this.pixelData.data[k], mean = this.mean[k], value = this.picture.y[k];
    return { kind: "pixel", value, actual: value, agrees: true, lines: [["pixel", pixel, null], ["mean of the training set", mean, null],
      ["x = pixel - mean", pixel - mean, null]] };
  }

  top(name, of, data) {
    return this.largest[`${name}.${of}`] ??= data.reduce((top, number) => Math.max(top, Math.abs(number)), 0);
  }

  // As tinynet.trace.uses: explanations read in the other direction.
  uses(layer, of, index) {
    const users = (user, of, index, source) => {
      const found = source || KINDS[user.kind][of](user, index);
      return { layer: user.name, of: "y", index: found.sources.dy.index, shape: found.shape };
    };
    if (of === "probs") return [...index[1] === layer.label ? [one("loss", "y", [])] : [], one("loss", "dx", index)];
    if (of === "w" || of === "b") return [users(layer, `d${of}`, index), one(layer.name, "update", index)];
    if (of === "dw" || of === "db") return of === "dw" && layer.behind ? [] : [one(layer.name, "update", index)];
    if (of === "update") return [];
    const position = this.layers.indexOf(layer);
    if (of === "y") {
      const user = this.layers[position + 1];
      if (!user) return [];
      if (user.kind === "SoftmaxCrossEntropy") return [{ layer: "loss", of: "probs", index: [0, [-1, 0, 1]], shape: [user.in[0]] }];
      if (user.behind) return [{ layer: user.name, of: "y", index: [0, [-1, 0, 1]], shape: user.out }];
      return [users(user, "dx", index)];
    }
    const below = this.layers[position - 1];
    if (!below) return [];
    if (below.behind) {
      return [{ layer: below.name, of: "dx", index: [0, [-1, 0, 1]], shape: below.in },
        { layer: below.name, of: "dw", index: [index[1], [-1, 0, 1]], shape: below.in }, one(below.name, "db", [index[1]])];
    }
    const found = KINDS[below.kind].y(below, index), shape = [1, ...below.in];
    const kept = found.sources.x.index.map((part, axis) => inside(part, found.shape.at(part[0]), shape[axis]));
    const counts = [...found.shape];
    kept.forEach(part => {
      if (typeof part.index !== "number") counts[counts.length + part.index[0]] = part.count;
    });
    const result = [{ layer: below.name, of: "dx", index: kept.map(part => part.index), shape: counts }];
    if (below.params.w) {
      result.push({ layer: below.name, of: "dw", index: found.sources.w.index, shape: found.shape }, one(below.name, "db", [index[1]]));
    }
    return result;
  }
}

// What ReLU, dropout and Flatten make of x or of dy: they change no number that they let through.
function copied({ kind, mask }, numbers, x) {
  if (kind === "ReLU") return numbers.map((number, k) => x[k] > 0 ? number : 0);
  return kind === "Dropout" ? numbers.map((number, k) => number * mask[k]) : numbers;
}

function one(layer, of, index) {
  return { layer, of, index, shape: [] };
}

// The part of [axis, first, step], count long, that lies from 0 to size.
function inside(part, count, size) {
  if (typeof part === "number") return { index: part };
  const [axis, first, step] = part, low = Math.max(0, Math.ceil(-first / step));
  const high = Math.min(count - 1, Math.floor((size - 1 - first) / step));
  return { index: [axis, first + low * step, step], count: Math.max(0, high - low + 1) };
}

// The arrays of the file: base 85, deflated, the bytes of each array sorted by their place in a number.
export async function unpack(text, table) {
  const digits = new Uint8Array(128);
  for (let k = 0; k < 85; k++) digits[ALPHABET.charCodeAt(k)] = k;
  const packed = new Uint8Array(text.length / 5 * 4), view = new DataView(packed.buffer);
  for (let k = 0, at = 0; k < text.length; k += 5, at += 4) {
    let number = 0;
    for (let i = 0; i < 5; i++) number = number * 85 + digits[text.charCodeAt(k + i)];
    view.setUint32(at, number);
  }
  const stream = new Blob([packed.subarray(0, table.bytes)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const plain = new Uint8Array(await new Response(stream).arrayBuffer()), arrays = {};
  const kinds = { u1: Uint8Array, i1: Int8Array, i2: Int16Array, u2: Uint16Array, f4: Float32Array, f8: Float64Array };
  let offset = 0;
  for (const [name, kind, count] of table.arrays) {
    const width = Number(kind[1]), bytes = new Uint8Array(count * width);
    for (let b = 0; b < width; b++) for (let k = 0; k < count; k++) bytes[k * width + b] = plain[offset++];
    arrays[name] = new kinds[kind](bytes.buffer);
  }
  return arrays;
}
