// The network in one row, as the paper draws it: a box for each layer's output, and what is between.

import { h, svg } from "./elements.js";
import { t } from "./labels.js";

const SYMBOLS = { // drawn in 20 x 20
  ReLU: () => line("2,14 10,14 18,5"),
  LeakyReLU: () => line("2,17 10,13 18,4"),
  Tanh: () => path("M2 16 C 9 16, 11 4, 18 4"),
  Sigmoid: () => path("M2 16 C 9 16, 11 4, 18 4"),
  LRN: () => dots([[2, 10], [6, 10], [10, 10], [14, 10], [18, 10]]),
  LRNWithin: () => dots([5, 10, 15].flatMap(y => [5, 10, 15].map(x => [x, y])), 10, 10),
  Dropout: () => path("M4 4 L16 16 M16 4 L4 16"),
  Flatten: () => path("M2 5 H18 M2 10 H18 M2 15 H18"),
  SoftmaxCrossEntropy: () => path("M4 17 V12 M10 17 V3 M16 17 V9"),
  Layer: () => line("2,10 18,10"),
};

function line(points) {
  return svg("polyline", { points, class: "stroke" });
}

function path(d) {
  return svg("path", { d, class: "stroke" });
}

function dots(places, x = 10, y = 10) {
  const group = svg("g", {});
  for (const [cx, cy] of places) {
    group.append(svg("circle", { cx, cy, r: cx === x && cy === y ? 2.4 : 1.5, class: "dot" }));
  }
  return group;
}

// A box with the layer's true proportions, in a scale that large and small can share.
function box(out, scale) {
  const [C, H = 1, W = 1] = out.length === 3 ? out : [out[0]];
  const flat = out.length < 3;
  const height = flat ? 8 + 3.4 * Math.log2(C) : Math.max(6, scale * Math.sqrt(H));
  const width = flat ? 5 : Math.max(6, scale * Math.sqrt(W));
  const depth = flat ? 3 : 2 + 2.1 * Math.log2(C);
  const dx = depth * 0.8, dy = depth * 0.45;
  const total = [width + dx + 2, height + dy + 2];
  const x = 1, y = 1 + dy;
  return svg("svg", { width: total[0], height: total[1], viewBox: `0 0 ${total.join(" ")}`, "aria-hidden": "true" },
    svg("path", { class: "side", d: `M${x} ${y} l${dx} ${-dy} h${width} v${height} l${-dx} ${dy} v${-height} z` }),
    svg("rect", { class: "face", x, y, width, height }),
    svg("path", { class: "edge", d: `M${x + width} ${y} l${dx} ${-dy}` }));
}

function symbol(kind) {
  return svg("svg", { width: 20, height: 20, viewBox: "0 0 20 20", "aria-hidden": "true" }, SYMBOLS[kind]());
}

// layers: of the network; at: the layer looked at; href: a layer -> the address of it; broken: {layer: {of: [n, all]}}
export function strip(layers, at, href, broken) {
  const side = Math.max(...layers.map(layer => layer.out.length === 3 ? layer.out[1] : 1));
  const scale = 40 / Math.sqrt(side);
  const items = layers.map(layer => {
    const small = layer.kind in SYMBOLS;
    const size = layer.out.length ? layer.out.join("\u00d7") : "";
    const bad = Object.values(broken?.[layer.name] || {}).reduce((sum, [n]) => sum + n, 0);
    return h("li", {}, h("a", {
      href: href(layer), "data-key": `strip-${layer.name}`, className: small ? "layer small" : "layer",
      "aria-current": layer.name === at ? "true" : null, title: `${layer.name} ${layer.kind} ${size}`,
    },
    h("span", { className: "glyph" }, small ? symbol(layer.kind) : box(layer.out, scale)),
    h("span", { className: "name" }, layer.name === "picture" ? t("picture") : layer.name),
    h("span", { className: "size" }, small && layer.kind !== "Flatten" ? "" : size),
    bad ? h("span", { className: "bad" }, t("breaks", bad.toLocaleString("en"))) : null));
  });
  return h("nav", { "aria-label": t("network"), className: "strip" }, h("ol", {}, items));
}
