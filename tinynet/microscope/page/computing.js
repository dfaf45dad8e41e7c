// The formulas, for the exported page alone: each function explains one number as tinynet.trace does, in the same
// order, from the arrays that the page carries. A test compares the two, number by number.
//
// A layer here has x, y, dy, dx (typed arrays without the batch, which is one picture), w, b, facts, in and out.

import { ravel, size } from "./places.js";

const total = a => a.reduce((sum, number) => sum + number, 0);
const many = number => number.toLocaleString("en");
const plural = (count, what) => `sum of ${many(count)} ${count === 1 ? what.slice(0, -1) : what}`;

// "rows 8 to 18", or "row 8"
function span(name, start, count) {
  return count === 1 ? `${name} ${start}` : `${name}s ${start} to ${start + count - 1}`;
}

// Six digits, as Python writes {:.6g}.
export function general(number) {
  if (!number) return "0";
  const power = Number(number.toExponential(5).split("e")[1]);
  if (power >= -4 && power < 6) return String(Number(number.toPrecision(6)));
  const [digits, exponent] = number.toExponential(5).split("e");
  return `${digits.replace(/\.?0+$/, "")}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

// An array of shape (A, B, C) filled by number(a, b, c).
function filled(shape, number) {
  const [A, B, C] = [...[1, 1, 1], ...shape].slice(-3), data = new Float64Array(A * B * C);
  for (let a = 0, k = 0; a < A; a++) for (let b = 0; b < B; b++) for (let c = 0; c < C; c++) data[k++] = number(a, b, c);
  return data;
}

const times = (a, b) => a.map((number, k) => number * b[k]);

// The windows of `size`, `stride` apart, that contain the pixel, counted from the padding's edge.
function windowsWith(pixel, size, stride, count) {
  const first = Math.max(0, Math.ceil((pixel - size + 1) / stride)), last = Math.min(count - 1, Math.floor(pixel / stride));
  return [first, Math.max(0, last - first + 1)];
}

const at = (layer, array) => ({ x: [layer.below, "y"], dy: [layer.above, "dx"], y: [layer.name, "y"], w: [layer.name, "w"],
  b: [layer.name, "b"], dw: [layer.name, "dw"], db: [layer.name, "db"], probs: ["loss", "probs"] })[array];

function block(layer, array, index) {
  const [name, of] = at(layer, array);
  return name && !(of === "w" && layer.behind) ? { layer: name, of, index } : null;
}

function explained(where, axes, start, shape, terms, lines, sources, rest) {
  const last = Object.values(terms).at(-1);
  return { kind: "explained", where, axes, start, shape, names: Object.keys(terms), terms, lines, sources, inside: null,
    picked: null, curve: null, size: last.reduce((sum, number) => sum + Math.abs(number), 0), ...rest };
}

const scalar = number => Float64Array.of(number);

// ---- convolution ----------------------------------------------------------------------------------------------

const Conv2d = {
  y(layer, [, o, i, j]) {
    const [CG, KH, KW] = layer.params.w.slice(1), [, H, W] = layer.in, { stride, pad, groups } = layer.facts;
    const channel = Math.floor(o / (layer.out[0] / groups)) * CG;
    const top = i * stride[0] - pad[0], left = j * stride[1] - pad[1], shape = [CG, KH, KW];
    const there = (u, v) => top + u >= 0 && top + u < H && left + v >= 0 && left + v < W;
    const x = filled(shape, (c, u, v) => there(u, v) ? layer.x[ravel([channel + c, top + u, left + v], layer.in)] : 0);
    const w = Float64Array.from(layer.w.subarray(o * size(shape), (o + 1) * size(shape)));
    const inside = Uint8Array.from(filled(shape, (c, u, v) => there(u, v))), product = times(x, w), sum = total(product);
    let where = `kernel ${o} over ${span("channel", channel, CG)}, ${span("row", top, KH)}, ${span("column", left, KW)} of x[0]`;
    const out = KH * KW - total(inside.subarray(0, KH * KW));
    if (out) where += `; ${out} of its ${KH * KW} pixels lie past the edge and are 0`;
    return explained(where, ["channel", "row", "column"], [channel, top, left], shape, { x, w, product }, [
      [plural(product.length, "products"), sum, null], [`bias b[${o}]`, layer.b[o], { layer: layer.name, of: "b", index: [o] }],
      ["y = sum + bias", sum + layer.b[o], null]], {
      x: block(layer, "x", [0, [-3, channel, 1], [-2, top, 1], [-1, left, 1]]),
      w: block(layer, "w", [o, [-3, 0, 1], [-2, 0, 1], [-1, 0, 1]]) }, { inside });
  },
  dw(layer, [o, c, u, v]) {
    const CG = layer.params.w[1], [, H, W] = layer.in, [K, OH, OW] = layer.out, { stride, pad, groups } = layer.facts;
    const channel = Math.floor(o / (K / groups)) * CG + c, shape = [1, OH, OW];
    const row = i => i * stride[0] + u - pad[0], column = j => j * stride[1] + v - pad[1];
    const there = (i, j) => row(i) >= 0 && row(i) < H && column(j) >= 0 && column(j) < W;
    const dy = Float64Array.from(layer.dy.subarray(o * OH * OW, (o + 1) * OH * OW));
    const x = filled(shape, (_, i, j) => there(i, j) ? layer.x[ravel([channel, row(i), column(j)], layer.in)] : 0);
    const inside = Uint8Array.from(filled(shape, (_, i, j) => there(i, j))), product = times(dy, x);
    return explained(`w[${o}, ${c}, ${u}, ${v}] met channel ${channel} of x in every one of ${OH} x ${OW} windows`,
      ["image", "i", "j"], [0, 0, 0], shape, { dy, x, product }, [[plural(product.length, "products"), total(product), null]], {
        dy: block(layer, "dy", [0, o, [-2, 0, 1], [-1, 0, 1]]),
        x: block(layer, "x", [0, channel, [-2, row(0), stride[0]], [-1, column(0), stride[1]]]) }, { inside });
  },
  db(layer, [o]) {
    const [, OH, OW] = layer.out, dy = Float64Array.from(layer.dy.subarray(o * OH * OW, (o + 1) * OH * OW));
    return explained(`b[${o}] was added to every activation of map ${o}`, ["image", "i", "j"], [0, 0, 0], [1, OH, OW], { dy },
      [[plural(dy.length, "gradients"), total(dy), null]], { dy: block(layer, "dy", [0, o, [-2, 0, 1], [-1, 0, 1]]) });
  },
  dx(layer, [, channel, row, column]) {
    const [K, CG, KH, KW] = layer.params.w, [, OH, OW] = layer.out, { stride, pad, groups } = layer.facts, KG = K / groups;
    const q = Math.floor(channel / CG), c = channel % CG;
    const [i, down] = windowsWith(row + pad[0], KH, stride[0], OH), [j, across] = windowsWith(column + pad[1], KW, stride[1], OW);
    const u = row + pad[0] - i * stride[0], v = column + pad[1] - j * stride[1], shape = [KG, down, across];
    const dy = filled(shape, (k, a, b) => layer.dy[ravel([q * KG + k, i + a, j + b], layer.out)]);
    const w = filled(shape, (k, a, b) => layer.w[ravel([q * KG + k, c, u - a * stride[0], v - b * stride[1]], layer.params.w)]);
    const product = times(dy, w);
    return explained(product.length ? `${down} x ${across} windows saw this pixel, each of them with ${span("kernel", q * KG, KG)}`
      : "no window saw this pixel", ["kernel", "i", "j"], [q * KG, down ? i : 0, across ? j : 0], shape, { dy, w, product },
    [[plural(product.length, "products"), total(product), null]], {
      dy: block(layer, "dy", [0, [-3, q * KG, 1], [-2, i, 1], [-1, j, 1]]),
      w: block(layer, "w", [[-3, q * KG, 1], c, [-2, u, -stride[0]], [-1, v, -stride[1]]]) });
  },
};

// ---- pooling --------------------------------------------------------------------------------------------------

function poolWindow(layer, c, i, j) {
  const [, H, W] = layer.in, { size: [KH, KW], stride, pad } = layer.facts;
  const top = Math.max(0, i * stride[0] - pad[0]), left = Math.max(0, j * stride[1] - pad[1]);
  const shape = [Math.min(H, i * stride[0] - pad[0] + KH) - top, Math.min(W, j * stride[1] - pad[1] + KW) - left];
  return { top, left, shape, x: filled(shape, (_, a, b) => layer.x[ravel([c, top + a, left + b], layer.in)]) };
}

function winner(x) {
  return x.indexOf(x.reduce((top, number) => Math.max(top, number), -Infinity));
}

function pool(average) {
  return {
    y(layer, [, c, i, j]) {
      const { top, left, shape, x } = poolWindow(layer, c, i, j);
      let where = `${span("row", top, shape[0])}, ${span("column", left, shape[1])} of x[0, ${c}]`;
      const sources = { x: block(layer, "x", [0, c, [-2, top, 1], [-1, left, 1]]) };
      if (average) {
        return explained(where, ["row", "column"], [top, left], shape, { x }, [[plural(x.length, "pixels"), total(x), null],
          [`divided by ${x.length}`, total(x) / x.length, null]], sources);
      }
      const first = winner(x), ties = x.filter(number => number === x[first]).length;
      if (ties > 1) where += `; ${ties} are equally large, the first in reading order wins`;
      const place = `row ${top + Math.floor(first / shape[1])}, column ${left + first % shape[1]}`;
      return explained(where, ["row", "column"], [top, left], shape, { x }, [[`largest, at ${place}`, x[first], null]], sources,
        { picked: Uint8Array.from(x, (_, k) => k === first) });
    },
    dx(layer, [, c, row, column]) {
      const [, OH, OW] = layer.out, { size: [KH, KW], stride, pad } = layer.facts;
      const [i, down] = windowsWith(row + pad[0], KH, stride[0], OH), [j, across] = windowsWith(column + pad[1], KW, stride[1], OW);
      const shape = [down, across], start = [down ? i : 0, across ? j : 0];
      const dy = filled(shape, (_, a, b) => layer.dy[ravel([c, i + a, j + b], layer.out)]);
      const part = filled(shape, (_, a, b) => {
        const window = poolWindow(layer, c, i + a, j + b);
        return average ? 1 / window.x.length
          : Number(winner(window.x) === (row - window.top) * window.shape[1] + column - window.left);
      });
      const product = times(dy, part), sources = { dy: block(layer, "dy", [0, c, [-2, i, 1], [-1, j, 1]]) };
      const lines = [[plural(product.length, "products"), total(product), null]];
      return average ? explained(`windows that contain this pixel: ${dy.length}, each gives it an even share`, ["i", "j"], start, shape,
        { dy, share: part, product }, lines, sources)
        : explained(`windows that contain this pixel: ${dy.length}, of which it won ${total(part)}`, ["i", "j"], start, shape,
          { dy, won: part, product }, lines, sources, { picked: Uint8Array.from(part) });
    },
  };
}

// ---- normalisation --------------------------------------------------------------------------------------------

function lrn(within) {
  const around = (layer, [c, h, w]) => {
    const [C, H, W] = layer.in, half = layer.facts.n >> 1;
    if (within) {
      const top = Math.max(0, h - half), left = Math.max(0, w - half);
      return { axes: ["row", "column"], start: [top, left], shape: [Math.min(H, h + half + 1) - top, Math.min(W, w + half + 1) - left],
        place: (_, a, b) => [c, top + a, left + b], block: [0, c, [-2, top, 1], [-1, left, 1]] };
    }
    const each = C / layer.facts.groups, begin = Math.floor(c / each) * each;
    const first = Math.max(begin, c - half), last = Math.min(begin + each - 1, c + half);
    return { axes: ["channel"], start: [first], shape: [last - first + 1], place: (_, __, b) => [first + b, h, w],
      block: [0, [-1, first, 1], h, w] };
  };
  const values = (layer, array, window) => filled(window.shape, (...k) => array[ravel(window.place(...k), layer.in)]);
  const scaleOf = (layer, place) => layer.facts.k + layer.facts.alpha
    * values(layer, layer.x, around(layer, place)).reduce((sum, number) => sum + number * number, 0);
  return {
    y(layer, index) {
      const place = index.slice(1), window = around(layer, place), { k, alpha, beta } = layer.facts;
      const x = values(layer, layer.x, window), squares = x.map(number => number * number), own = layer.x[ravel(place, layer.in)];
      const scale = scaleOf(layer, place), y = own * scale ** -beta;
      return explained(`x = ${general(own)} is divided by a power of the scale of ${x.length} neighbours, itself included`,
        window.axes, window.start, window.shape, { x, "x^2": squares }, [["energy = sum of x^2", total(squares), null],
          [`scale = ${general(k)} + ${general(alpha)} * energy`, scale, null], [`scale^-${general(beta)}`, scale ** -beta, null],
          ["y = x * that", y, null]], { x: block(layer, "x", window.block) }, { size: Math.abs(y) });
    },
    dx(layer, index) {
      const place = index.slice(1), window = around(layer, place), { alpha, beta } = layer.facts;
      const dy = values(layer, layer.dy, window), x = values(layer, layer.x, window), at = ravel(place, layer.in);
      const scale = filled(window.shape, (...k) => scaleOf(layer, window.place(...k)));
      const y = x.map((number, k) => number * scale[k] ** -beta), crossed = dy.map((number, k) => number * y[k] / scale[k]);
      const own = layer.dy[at] * scaleOf(layer, place) ** -beta, others = 2 * alpha * beta * layer.x[at] * total(crossed);
      return explained(`what x did to its own y, minus what it did to the ${dy.length} y whose energy it is part of`,
        window.axes, window.start, window.shape, { dy, y, scale, "dy*y/scale": crossed }, [["sum of dy*y/scale", total(crossed), null],
          [`own = dy * scale^-${general(beta)}`, own, null], ["others = 2 * alpha * beta * x * sum", others, null],
          ["dx = own - others", own - others, null]], { dy: block(layer, "dy", window.block), y: block(layer, "y", window.block) },
        { size: Math.abs(own) + Math.abs(others) });
    },
  };
}

// ---- one number to one number ---------------------------------------------------------------------------------

const logistic = x => 1 / (1 + Math.exp(-x));
const FUNCTIONS = { // the function, and its slope
  Layer: [x => x, () => 1],
  ReLU: [x => Math.max(x, 0), x => Number(x > 0)],
  LeakyReLU: [(x, { slope }) => x > 0 ? x : slope * x, (x, { slope }) => x > 0 ? 1 : slope],
  Tanh: [x => Math.tanh(x), x => 1 - Math.tanh(x) ** 2],
  Sigmoid: [logistic, x => logistic(x) * logistic(-x)],
};

function curve(x, f) {
  const reach = Math.max(3, 1.2 * Math.abs(x)), xs = Float64Array.from({ length: 201 }, (_, i) => -reach + reach * i / 100);
  return [xs, xs.map(f)];
}

const Activation = {
  y(layer, index) {
    const f = x => FUNCTIONS[layer.kind][0](x, layer.facts), x = layer.x[ravel(index.slice(1), layer.in)], y = f(x);
    return explained(`${layer.kind} of x = ${general(x)}`, [], [], [], { x: scalar(x), y: scalar(y) }, [["y", y, null]],
      { x: block(layer, "x", index) }, { curve: curve(x, f) });
  },
  dx(layer, index) {
    const f = x => FUNCTIONS[layer.kind][1](x, layer.facts), k = ravel(index.slice(1), layer.in);
    const x = layer.x[k], dy = layer.dy[k], slope = f(x);
    return explained(`dy times the slope of ${layer.kind} at x = ${general(x)}`, [], [], [],
      { x: scalar(x), dy: scalar(dy), slope: scalar(slope), product: scalar(dy * slope) }, [["dx = dy * slope", dy * slope, null]],
      { x: block(layer, "x", index), dy: block(layer, "dy", index) }, { curve: curve(x, f) });
  },
};

function masked(name, into) {
  return (layer, index) => {
    const k = ravel(index.slice(1), layer.in), mask = layer.mask[k], value = layer[name][k];
    return explained(`the unit ${mask ? "is kept" : "is dropped"}, its mask is ${general(mask)}`, [], [], [],
      { [name]: scalar(value), mask: scalar(mask), product: scalar(value * mask) }, [[`${into} = ${name} * mask`, value * mask, null]],
      { [name]: block(layer, name, index) });
  };
}

function moved(name, into) {
  return (layer, index) => {
    const [from, to] = into === "y" ? [layer.in, layer.out] : [layer.out, layer.in], k = ravel(index.slice(1), to);
    const place = [0];
    for (let axis = from.length - 1, rest = k; axis >= 0; rest = Math.floor(rest / from[axis--])) place.splice(1, 0, rest % from[axis]);
    const value = layer[name][k];
    return explained(`the same number as ${name}[${place.join(", ")}]`, [], [], [], { [name]: scalar(value) }, [[into, value, null]],
      { [name]: block(layer, name, place) });
  };
}

// ---- fully connected ------------------------------------------------------------------------------------------

// Where the weights stayed behind: the largest terms of a unit, and the sum of all others.
function fromTop(layer, unit, top, name, values, axis, where, bias) {
  const { indices, weights, rest, count } = top, each = indices.length / rest.length;
  const chosen = indices.subarray(unit * each, (unit + 1) * each), w = Float64Array.from(weights.subarray(unit * each, (unit + 1) * each));
  const x = Float64Array.from(chosen, k => values[k]), product = times(x, w), sum = total(product) + rest[unit];
  const lines = [[plural(each, "products"), total(product), null], ["all other terms together", rest[unit], null]];
  if (bias) lines.push([`bias b[${unit}]`, layer.b[unit], { layer: layer.name, of: "b", index: [unit] }], ["y = sum + bias", sum + layer.b[unit], null]);
  else lines.push([plural(count, "products"), sum, null]);
  const source = block(layer, name, [0, [-1, 0, 1]]);
  return explained(where, [axis], [0], [each], { [name]: x, w, product }, lines, { [name]: { ...source,
    listed: Array.from(chosen, k => [0, k]) } }, { places: Array.from(chosen, k => [k]), behind: true,
    size: total(product.map(Math.abs)) + Math.abs(rest[unit]) });
}

const Linear = {
  y(layer, [, out]) {
    const IN = layer.in[0], where = `unit ${out} has a weight for all ${many(IN)} inputs of x[0]`;
    if (layer.behind) return fromTop(layer, out, layer.top.y, "x", layer.x, "input", where, true);
    const x = Float64Array.from(layer.x), w = Float64Array.from(layer.w.subarray(out * IN, (out + 1) * IN));
    const product = times(x, w), sum = total(product);
    return explained(where, ["input"], [0], [IN], { x, w, product }, [[plural(IN, "products"), sum, null],
      [`bias b[${out}]`, layer.b[out], { layer: layer.name, of: "b", index: [out] }], ["y = sum + bias", sum + layer.b[out], null]],
    { x: block(layer, "x", [0, [-1, 0, 1]]), w: block(layer, "w", [out, [-1, 0, 1]]) });
  },
  dx(layer, [, unit]) {
    const [IN] = layer.in, [OUT] = layer.out, where = `all ${many(OUT)} units use this input`;
    if (layer.behind) return fromTop(layer, unit, layer.top.dx, "dy", layer.dy, "unit", where, false);
    const dy = Float64Array.from(layer.dy), w = dy.map((_, out) => layer.w[out * IN + unit]), product = times(dy, w);
    return explained(where, ["unit"], [0], [OUT], { dy, w, product }, [[plural(OUT, "products"), total(product), null]],
      { dy: block(layer, "dy", [0, [-1, 0, 1]]), w: block(layer, "w", [[-1, 0, 1], unit]) });
  },
  dw(layer, [out, unit]) {
    const dy = scalar(layer.dy[out]), x = scalar(layer.x[unit]), product = times(dy, x);
    return explained(`w[${out}, ${unit}] times input ${unit}, once for each picture`, ["image"], [0], [1], { dy, x, product },
      [[plural(1, "products"), product[0], null]], { dy: block(layer, "dy", [[-1, 0, 1], out]), x: block(layer, "x", [[-1, 0, 1], unit]) });
  },
  db(layer, [out]) {
    const dy = scalar(layer.dy[out]);
    return explained(`b[${out}] was added once for each picture`, ["image"], [0], [1], { dy }, [[plural(1, "gradients"), dy[0], null]],
      { dy: block(layer, "dy", [[-1, 0, 1], out]) });
  },
};

// ---- the loss -------------------------------------------------------------------------------------------------

function softmax(logits) {
  const top = logits.reduce((top, number) => Math.max(top, number), -Infinity);
  const exps = Float64Array.from(logits, number => Math.exp(number - top)), sum = total(exps);
  return [exps, sum, exps.map(number => number / sum)];
}

const SoftmaxCrossEntropy = {
  y(layer) {
    const [, , probs] = softmax(layer.x), p = probs[layer.label], loss = -Math.log(p);
    return explained("the probability of each picture's own class", ["image"], [0], [1],
      { label: scalar(layer.label), "p[label]": scalar(p), "-log p": scalar(loss) }, [["sum of 1 loss", loss, null],
        ["divided by 1, the size of the batch", loss, null]], { "p[label]": block(layer, "probs", [[-1, 0, 1], [-1, layer.label, 1]]) });
  },
  probs(layer, [, c]) {
    const [exps, sum, probs] = softmax(layer.x);
    return explained(`class ${c} of picture 0, whose label is ${layer.label}`, ["class"], [0], [exps.length],
      { logit: Float64Array.from(layer.x), "exp(logit - largest)": exps }, [[`exp of class ${c}`, exps[c], null],
        [plural(exps.length, "exps"), sum, null], ["p = exp / sum", probs[c], null]], { logit: block(layer, "x", [0, [-1, 0, 1]]) },
      { picked: Uint8Array.from(exps, (_, k) => k === c) });
  },
  dx(layer, [, c]) {
    const [, , p] = softmax(layer.x), truth = p.map((_, k) => Number(k === layer.label)), wrong = p.map((number, k) => number - truth[k]);
    return explained(`the probability of class ${c} minus the truth: picture 0 has label ${layer.label}`, ["class"], [0], [p.length],
      { p, truth, "p - truth": wrong }, [["p - truth", wrong[c], null], ["divided by 1, the size of the batch", wrong[c], null]],
      { p: block(layer, "probs", [0, [-1, 0, 1]]) }, { picked: Uint8Array.from(p, (_, k) => k === c) });
  },
};

// ---- the update -----------------------------------------------------------------------------------------------

export function update(layer, index, sgd, dw) {
  const key = index.length === 1 ? "b" : "w", name = `${layer.name}.${key}`, k = ravel(index, layer.params[key]);
  const lr = sgd.lr * (sgd.lr_mult[name] ?? 1), decay = sgd.weight_decay * (sgd.decay_mult[name] ?? 1), w = layer[key][k];
  const place = `${key}[${index.join(", ")}]`, source = of => ({ layer: layer.name, of, index });
  const terms = { w: scalar(w), v: scalar(0), dw: scalar(dw) }, sources = { w: source(key), dw: source(`d${key}`) };
  if (lr === 0) return explained(`${place} is frozen: its rate is 0`, [], [], [], terms, [[`new ${key} = ${key}`, w, null]], sources);
  const parts = [0, -decay * lr * w, -lr * dw], step = total(parts);
  return explained(`one step of SGD moves ${place} by ${general(step)}`, [], [], [], terms, [
    [`momentum: ${general(sgd.momentum)} * v`, 0, null], [`decay: -${general(decay)} * ${general(lr)} * ${key}`, parts[1], null],
    [`gradient: -${general(lr)} * d${key}`, parts[2], null], ["new v = their sum", step, null],
    [`new ${key} = ${key} + new v`, w + step, null]], sources);
}

export const KINDS = {
  Conv2d, Linear, SoftmaxCrossEntropy, MaxPool: pool(false), AvgPool: pool(true), LRN: lrn(false), LRNWithin: lrn(true),
  Dropout: { y: masked("x", "y"), dx: masked("dy", "dx") }, Flatten: { y: moved("x", "y"), dx: moved("dy", "dx") },
  ...Object.fromEntries(Object.keys(FUNCTIONS).map(kind => [kind, Activation])),
};

// The slice of dw that belongs to one kernel, for a map of it: every weight's sum over all windows.
export function kernelGradient(layer, o) {
  const shape = layer.params.w.slice(1), data = new Float32Array(size(shape)), [, H, W] = layer.in, [K, OH, OW] = layer.out;
  if (shape.length === 1) return data.map((_, unit) => layer.dy[o] * layer.x[unit]);
  const [CG, KH, KW] = shape, { stride, pad, groups } = layer.facts, first = Math.floor(o / (K / groups)) * CG;
  for (let i = 0; i < OH; i++) for (let j = 0; j < OW; j++) {
    const dy = layer.dy[(o * OH + i) * OW + j];
    if (!dy) continue;
    for (let c = 0, k = 0; c < CG; c++) for (let u = 0; u < KH; u++) for (let v = 0; v < KW; v++, k++) {
      const row = i * stride[0] + u - pad[0], column = j * stride[1] + v - pad[1];
      if (row >= 0 && row < H && column >= 0 && column < W) data[k] += dy * layer.x[((first + c) * H + row) * W + column];
    }
  }
  return data;
}
