// The arrays of a layer as pictures: every map at once, and one of them large.

import { BROKEN, WINDOW, paint, paintRgb, scheme } from "./colours.js";
import { canvas, digits, h } from "./elements.js";
import { t } from "./labels.js";
import { format, ravel, shapeOf, size, unravel } from "./places.js";

// An array as C maps of H x W numbers, of which index(c, i, j) is the place and at(index) the other way round.
export async function sheetOf(bench, layer, of, index) {
  const { source, settings } = bench;
  const shape = shapeOf(layer, of, index);
  const parameter = ["w", "dw"].includes(of) || of === "update" && index.length > 1;
  if (parameter) {
    const unit = index[0];
    const numbers = await source.numbers(settings, layer.name, of, unit);
    const inner = shape.slice(1);
    const [C, H, W] = inner.length === 3 ? inner : folded(bench, layer, inner[0]);
    return sheet(numbers, C, H, W, of, inner.length === 3
      ? (c, i, j) => [unit, c, i, j] : (c, i, j) => [unit, ravel([c, i, j], [C, H, W])],
    index => inner.length === 3 ? index.slice(1) : unravel(index[1], [C, H, W]));
  }
  if (of === "update") return null;
  const numbers = await source.numbers(settings, layer.name, of);
  if (shape.length === 4) {
    const [, C, H, W] = shape;
    return sheet(numbers, C, H, W, of, (c, i, j) => [0, c, i, j], index => index.slice(1));
  }
  const count = size(shape);
  const W = count <= 16 ? count : Math.ceil(Math.sqrt(count)), H = Math.ceil(count / W);
  const lead = of === "b" || of === "db" ? [] : [0];
  return shape.length ? sheet(numbers, 1, H, W, of, (c, i, j) => [...lead, i * W + j],
    index => [0, ...unravel(index.at(-1), [H, W])], count) : null;
}

function sheet(numbers, C, H, W, of, index, at, count = C * H * W) {
  let data = numbers.data;
  if (count < C * H * W) { // the last row of a folded vector is not full
    data = new Float32Array(C * H * W);
    data.set(numbers.data);
  }
  const largest = data.reduce((top, number) => Math.max(top, Math.abs(number)), 0);
  return { C, H, W, data, count, largest, scheme: scheme(of), index, at };
}

// The inputs of a fully connected layer as the maps that they were before Flatten.
function folded(bench, layer, count) {
  const position = bench.layers.findIndex(other => other.name === layer.name);
  const flatten = bench.layers.slice(0, position).findLast(other => other.kind === "Flatten" || other.kind === "Linear");
  if (flatten?.kind === "Flatten" && flatten.in.length === 3) return flatten.in;
  const W = Math.ceil(Math.sqrt(count));
  return [1, Math.ceil(count / W), W];
}

// Where the largest number of a sheet is.
export function strongest(sheet) {
  let best = 0;
  for (let k = 0; k < sheet.count; k++) if (Math.abs(sheet.data[k]) > Math.abs(sheet.data[best])) best = k;
  return sheet.index(...unravel(best, [sheet.C, sheet.H, sheet.W]));
}

function numberAt(sheet, c, i, j) {
  return sheet.data[(c * sheet.H + i) * sheet.W + j];
}

// One map, large. selected: [i, j]; frames: [{top, left, height, width}] of the window that is lit.
export function bigMap(sheet, c, { label, selected, frames = [], choose, key, width = 300, mask, picture }) {
  const { H, W } = sheet;
  const cell = Math.min(width / W, width / H);
  const low = picture || paint(sheet.data.subarray(c * H * W), H, W, sheet.largest, sheet.scheme);
  const element = canvas(Math.round(W * cell), Math.round(H * cell), (context, wide, high) => {
    context.drawImage(low, 0, 0, wide, high);
    if (mask) cross(context, mask, c * H * W, H, W, cell);
    for (const frame of frames) outline(context, frame, cell, WINDOW);
    if (selected) outline(context, { top: selected[0], left: selected[1], height: 1, width: 1 }, cell, WINDOW);
  }, { "data-key": key });
  describe(element, label, choose ? t("thisMapHint") : "");
  if (!choose) return element;
  element.tabIndex = 0;
  element.setAttribute("role", "application");
  const within = (value, size) => Math.max(0, Math.min(size - 1, value));
  element.addEventListener("click", event => {
    const place = element.getBoundingClientRect();
    const i = within(Math.floor((event.clientY - place.top) / place.height * H), H);
    const j = within(Math.floor((event.clientX - place.left) / place.width * W), W);
    if ((c * H + i) * W + j < sheet.count) choose(c, i, j);
  });
  element.addEventListener("keydown", event => {
    const [i, j] = selected || [0, 0];
    const moves = { ArrowUp: [c, i - 1, j], ArrowDown: [c, i + 1, j], ArrowLeft: [c, i, j - 1], ArrowRight: [c, i, j + 1],
      PageUp: [c - 1, i, j], PageDown: [c + 1, i, j] };
    const move = moves[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [a, b, d] = [within(move[0], sheet.C), within(move[1], H), within(move[2], W)];
    if ((a * H + b) * W + d < sheet.count) choose(a, b, d);
  });
  return element;
}

function outline(context, { top, left, height, width }, cell, colour) {
  const grow = Math.max(0, (5 - cell * Math.min(height, width)) / 2); // never too small to be seen
  const place = [left * cell - grow, top * cell - grow, width * cell + 2 * grow, height * cell + 2 * grow];
  context.lineWidth = 4;
  context.strokeStyle = "#fff";
  context.strokeRect(...place);
  context.lineWidth = 2;
  context.strokeStyle = colour;
  context.strokeRect(...place);
}

function cross(context, mask, offset, H, W, cell) {
  context.fillStyle = BROKEN;
  for (let k = 0; k < H * W; k++) {
    if (!mask[offset + k]) continue;
    const x = k % W * cell, y = Math.floor(k / W) * cell, part = Math.max(1, cell * 0.4);
    context.fillRect(x + (cell - part) / 2, y + (cell - part) / 2, part, part);
  }
}

function describe(element, label, hint) {
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", `${label}. ${hint}`.trim());
}

// All maps of a sheet as tiles; choose(c) is called for the one that is clicked or walked to.
export function gallery(sheet, { label, current, choose, key, width, zoom, rgb, mask }) {
  const { H, W } = sheet;
  const C = rgb ? rgb.count : sheet.C;
  const gap = 3, cell = Math.max(0.5, tileSize(C, H, W, width, gap) * zoom);
  const wide = W * cell + gap, high = H * cell + gap;
  const columns = Math.max(1, Math.min(C, Math.floor((width + gap) / wide)));
  const rows = Math.ceil(C / columns);
  const draw = context => {
    const low = rgb ? rgb.picture : paint(sheet.data, C * H, W, sheet.largest, sheet.scheme);
    for (let c = 0; c < C; c++) {
      const x = c % columns * wide + gap / 2, y = Math.floor(c / columns) * high + gap / 2;
      context.drawImage(low, 0, c * H, W, H, x, y, W * cell, H * cell);
      if (mask && !rgb) {
        context.save();
        context.translate(x, y);
        cross(context, mask, c * H * W, H, W, cell);
        context.restore();
      }
      if (c === current) {
        context.lineWidth = 2.5;
        context.strokeStyle = WINDOW;
        context.strokeRect(x - 1, y - 1, W * cell + 2, H * cell + 2);
      }
    }
  };
  const element = canvas(columns * wide, rows * high, draw, { "data-key": key, tabIndex: 0 });
  describe(element, label, t("galleryHint"));
  element.setAttribute("role", "application");
  element.addEventListener("click", event => {
    const place = element.getBoundingClientRect();
    const column = Math.floor((event.clientX - place.left) / wide), row = Math.floor((event.clientY - place.top) / high);
    const c = row * columns + column;
    if (column < columns && c < C) choose(c);
  });
  element.addEventListener("keydown", event => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -columns, PageDown: columns };
    const move = moves[event.key];
    if (move === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (current + move >= 0 && current + move < C) choose(current + move);
  });
  return element;
}

// The largest cells with which all tiles take no more room than about half of a square.
function tileSize(C, H, W, width, gap) {
  const room = width * width * 0.8 / C;
  return Math.min(12, Math.max(0.5, (Math.sqrt(room) - gap) / Math.max(H, W)));
}

// The kernels of a layer that sees a picture, in its colours, as in the paper's figure 3.
export function kernelsInColour(numbers, H, W) {
  const { data } = numbers, each = 3 * H * W, count = data.length / each;
  const tops = Array.from({ length: count }, (_, n) => data.subarray(n * each, (n + 1) * each)
    .reduce((top, number) => Math.max(top, Math.abs(number)), 0) || 1);
  return { count, picture: paintRgb(data, H, W, (number, n) => 127.5 + 127.5 * number / tops[n]) };
}

export function readout(sheet, layer, of, index) {
  const [c, i, j] = sheet.at(index);
  const place = format({ layer: layer.name, of: of === "update" ? "w" : of, index });
  return h("p", { className: "readout" }, of === "update" ? `${t("changeOf")} ` : "", h("code", {}, place), " = ",
    h("strong", {}, digits(numberAt(sheet, c, i, j))));
}
