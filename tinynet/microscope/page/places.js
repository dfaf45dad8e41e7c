// Places: a layer, an array of it and an index. {layer: "conv2", of: "y", index: [0, 5, 10, 3]}

const ADDRESS = /^([\w.-]+)\.(y|probs|dx|w|b|dw|db|update)(?:\[([\d,]*)\])?$/;

export function format(place) {
  const index = place.index ? `[${place.index.join(",")}]` : "";
  return `${place.layer}.${place.of}${index === "[]" ? "" : index}`;
}

// A place, whose index is null where the address has none; or null.
export function parse(address) {
  const found = ADDRESS.exec(address || "");
  if (!found) return null;
  const index = found[3] ? found[3].split(",").map(Number) : null;
  return { layer: found[1], of: found[2], index };
}

export function same(a, b) {
  return a.layer === b.layer && a.of === b.of && String(a.index) === String(b.index);
}

// The index at a position (one number for each axis of shape) of a block of indices, each a number
// or [axis, first, step], the axis counted from the end.
export function indexAt(block, position) {
  return block.map(part => typeof part === "number" ? part
    : part[1] + part[2] * position[position.length + part[0]]);
}

export function size(shape) {
  return shape.reduce((product, count) => product * count, 1);
}

// 7, [2, 3, 4] -> [0, 1, 3]: where the number is that comes seventh, from 0.
export function unravel(flat, shape) {
  const position = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    position.unshift(flat % shape[axis]);
    flat = Math.floor(flat / shape[axis]);
  }
  return position;
}

export function ravel(position, shape) {
  return position.reduce((flat, i, axis) => flat * shape[axis] + i, 0);
}

export function direction(of) {
  return of === "update" ? "update" : of.startsWith("d") ? "backward" : "forward";
}

// The arrays of a layer that can be looked at, in each direction.
export function arraysOf(layer) {
  const params = Object.keys(layer.params);
  const here = params.filter(key => !(key === "w" && layer.behind)); // in an exported page some stay behind
  if (layer.kind === "Picture") return { forward: ["y"], backward: [], update: [] };
  const probs = layer.kind === "SoftmaxCrossEntropy" ? ["probs"] : [];
  return { forward: [...probs, "y", ...here], backward: ["dx", ...params.map(key => `d${key}`)],
    update: params.length ? ["update"] : [] };
}

// The shape of an array of a layer, the batch included.
export function shapeOf(layer, of, index) {
  if (layer.kind === "Picture") return [1, ...layer.out];
  if (of === "probs") return [1, ...layer.in];
  if (of === "y") return layer.out.length ? [1, ...layer.out] : [];
  if (of === "dx") return [1, ...layer.in];
  if (of === "update") return index && index.length === 1 ? layer.params.b : layer.params.w;
  return layer.params[of.replace(/^d/, "")];
}

// The value, the gradient and the update that belong to one number: [[label, place], ...], without itself. The
// gradient of what a layer makes is the dx of the layer after it.
export function related(layers, { layer: name, of, index }) {
  const position = layers.findIndex(layer => layer.name === name), layer = layers[position];
  if (of === "y" && layers[position + 1]) return [["itsGradient", { layer: layers[position + 1].name, of: "dx", index }]];
  if (of === "dx") return [["itsValue", { layer: layers[position - 1].name, of: "y", index }]];
  const key = of === "update" ? index.length === 1 ? "b" : "w" : of.replace(/^d/, "");
  if (!(key in layer.params)) return [];
  return [["itsValue", key], ["itsGradient", `d${key}`], ["itsUpdate", "update"]]
    .filter(([, other]) => other !== of && !(key === "w" && layer.behind && other !== "dw"))
    .map(([label, other]) => [label, { layer: name, of: other, index }]);
}

// A place in another direction that has to do with this one.
export function counterpart(layer, place, toward) {
  const { of, index } = place;
  const key = { w: "w", dw: "w", b: "b", db: "b" }[of]
    || (of === "update" ? (index && index.length === 1 ? "b" : "w") : null);
  const arrays = arraysOf(layer)[toward];
  if (!arrays.length) return null;
  if (key && toward === "forward" && !(key === "w" && layer.behind)) return { layer: place.layer, of: key, index };
  if (key && toward === "backward") return { layer: place.layer, of: `d${key}`, index };
  if (key && !(key === "w" && layer.behind)) return { layer: place.layer, of: "update", index };
  if (toward === "update" && layer.behind) return { layer: place.layer, of: "update", index: [0] };
  return { layer: place.layer, of: arrays[0], index: null };
}
