// One number: everything that it is computed from, and everything that is computed from it.

import { WINDOW, css, ink, paint, scheme } from "./colours.js";
import { canvas, count, digits, h, svg } from "./elements.js";
import { said, sentence, t } from "./labels.js";
import { format, indexAt, size, unravel } from "./places.js";

const ROWS = 10;          // of the table of terms
const GRID = 400;         // cells of a grid of numbers
const USES = 24;          // links at once

// view: what is looked at within the explanation, {slice, page, uses}; again: draw it again with another view
export function numberPanel(bench, layer, place, explanation, view, again) {
  const link = (target, content, properties) => target
    ? h("a", { href: bench.href(target), ...properties, title: [format(target), properties?.title].filter(Boolean).join(" = ") },
      content)
    : h("span", properties || {}, content);
  const direction = place.of.startsWith("d");
  const parts = [
    h("h2", { tabIndex: -1 }, h("code", {}, format(place)), h("span", { className: "equals" }, " = "),
      h("span", { className: "value", "data-value": explanation.actual }, digits(explanation.actual))),
    explanation.kind === "given" ? null : h("p", { className: "sentence" }, sentence(
      ["update", "dw", "db"].includes(place.of) ? place.of : layer.kind, direction)),
  ];
  parts.push(h("p", { className: "chips" }, explanation.related.map(([label, target]) =>
    link(target, `${t(label)} \u203a`, { className: "chip", "data-key": label }))));
  if (!explanation.agrees) parts.push(h("p", { className: "alarm", role: "alert" }, t("broken")));
  if (explanation.kind === "given") parts.push(h("p", { className: "where" }, t("given"), " ", explanation.origin));
  if (explanation.kind === "pixel") parts.push(lines(explanation, link));
  if (explanation.kind === "explained") {
    parts.push(h("p", { className: "where" }, said(explanation.where)));
    if (explanation.curve) parts.push(curve(explanation));
    const total = size(explanation.shape);
    if (explanation.shape.length && total > 1) {
      parts.push(overview(bench, explanation, view, again));
      const grid = numberGrid(explanation, view, link, again);
      if (grid) parts.push(grid);
    }
    parts.push(lines(explanation, link));
    if (total) parts.push(table(explanation, view, link, again));
  }
  parts.push(usedBy(bench, explanation.uses, view, link, again));
  return h("section", { className: "number", "aria-label": format(place) }, parts.filter(Boolean));
}

// From the terms to the value, and what the layer has.
function lines(explanation, link) {
  const row = (text, number, target, kind) => h("tr", { className: kind || "" }, h("th", { scope: "row" }, said(text)),
    h("td", {}, link(target, digits(number))));
  const rows = explanation.lines.map(([text, number, target], i) =>
    row(text, number, target, i === explanation.lines.length - 1 ? "result" : ""));
  if (explanation.tolerance !== undefined) {
    const difference = explanation.agrees ? t("agrees", digits(explanation.tolerance, 2)) : "";
    rows.push(h("tr", { className: explanation.agrees ? "own" : "own wrong" }, h("th", { scope: "row" }, t("layerHas")),
      h("td", {}, digits(explanation.actual), h("span", { className: "muted" }, difference && ` ${difference}`))));
  }
  return h("table", { className: "lines" }, h("tbody", {}, rows));
}

function blockOf(explanation, term) {
  return explanation.sources[term] || null;
}

// The place that a term is, or null for what is computed here and for the padding.
export function sourceOf(explanation, term, flat) {
  const block = blockOf(explanation, term);
  if (!block || !block.index) return null;
  if (term === "x" && explanation.inside && !explanation.inside[flat]) return null;
  if (block.listed) return { layer: block.layer, of: block.of, index: block.listed[flat] };
  return { layer: block.layer, of: block.of, index: indexAt(block.index, unravel(flat, explanation.shape)) };
}

// The terms of one channel, or all that there are: how many, their shape, and where they begin.
function slices(explanation) {
  const shape = explanation.shape;
  if (shape.length === 3) return { count: shape[0], shape: shape.slice(1) };
  if (shape.length === 2) return { count: 1, shape };
  return { count: 1, shape: [1, shape[0]] };
}

function largest(data) {
  return data.reduce((top, number) => Math.max(top, Math.abs(number)), 0);
}

// Which slice matters most: the one looked at first.
export function firstSlice(explanation) {
  if (explanation.kind !== "explained" || explanation.shape.length !== 3) return 0;
  const { count, shape } = slices(explanation), each = size(shape), last = explanation.terms[explanation.names.at(-1)];
  let best = 0, top = -1;
  for (let a = 0; a < count; a++) {
    const sum = Math.abs(last.subarray(a * each, (a + 1) * each).reduce((sum, number) => sum + number, 0));
    if (sum > top) [best, top] = [a, sum];
  }
  return best;
}

function schemeOf(explanation, name) {
  return scheme(name === "w" ? name : blockOf(explanation, name)?.of || "y");
}

// All terms in colour: a picture for x, one for w, one for the products.
function overview(bench, explanation, view, again) {
  const { count: C, shape } = slices(explanation);
  let [H, W] = shape;
  if (C === 1 && H === 1) W = Math.ceil(Math.sqrt(W)) * (W > 40 ? 1 : Math.ceil(Math.sqrt(W))); // a row, or folded
  const total = size(shape);
  W = Math.min(W, total);
  H = C === 1 && shape[0] === 1 ? Math.ceil(total / W) : H;
  const room = Math.max(64, Math.min(210, bench.room / explanation.names.length - 24));
  const pictures = explanation.names.map((name, position) => {
    let data = explanation.terms[name];
    if (data.length < C * H * W) {
      data = new Float64Array(C * H * W);
      data.set(explanation.terms[name]);
    }
    const top = largest(data), colours = schemeOf(explanation, name), gap = C > 1 ? 2 : 0;
    const side = Math.sqrt(room * room / C);
    const cell = Math.max(1, Math.min(22, (side - gap) / Math.max(H, W, 1) * (H === 1 ? 1.4 : 1)));
    const columns = Math.max(1, Math.min(C, Math.floor(room / (W * cell + gap)) || 1)), rows = Math.ceil(C / columns);
    const draw = context => {
      const low = paint(data, C * H, W, top, colours);
      for (let a = 0; a < C; a++) {
        const x = a % columns * (W * cell + gap) + gap / 2, y = Math.floor(a / columns) * (H * cell + gap) + gap / 2;
        context.drawImage(low, 0, a * H, W, H, x, y, W * cell, H * cell);
        if (C > 1 && a === view.slice) frame(context, x, y, W * cell, H * cell);
      }
      if (explanation.picked && explanation.names.length === position + 1 && C === 1) {
        explanation.picked.forEach((won, k) => won && frame(context, k % W * cell, Math.floor(k / W) * cell, cell, cell));
      }
    };
    const element = canvas(columns * (W * cell + gap), rows * (H * cell + gap), draw,
      { role: "img", "aria-label": `${said(name)}: ${t("overview")}` });
    element.addEventListener("click", event => { // a channel is chosen; of a single one, a number or its row in the table
      const place = element.getBoundingClientRect(), [high, wide] = C > 1 ? [H * cell + gap, W * cell + gap] : [cell, cell];
      const k = Math.floor((event.clientY - place.top) / high) * (C > 1 ? columns : W) + Math.floor((event.clientX - place.left) / wide);
      if (k < 0 || k >= (C > 1 ? C : total)) return;
      const target = C === 1 && sourceOf(explanation, name, k);
      if (C > 1) again({ ...view, slice: k });
      else if (target) location.hash = bench.href(target);
      else again({ ...view, page: Math.floor(order(explanation).indexOf(k) / ROWS) });
    });
    return h("figure", {}, h("figcaption", {}, said(name)), element);
  });
  const signs = explanation.names.at(-1) === "product" && explanation.names.length === 3 ? ["\u00d7", "="] : [];
  const row = pictures.flatMap((picture, i) => i ? [h("span", { className: "sign", "aria-hidden": "true" },
    signs[i - 1] || ""), picture] : [picture]);
  return h("div", { className: "overview" }, row);
}

function frame(context, x, y, width, height) {
  context.lineWidth = 2;
  context.strokeStyle = WINDOW;
  context.strokeRect(x, y, width, height);
}

// One channel of the window, the weights and the products, as numbers that are links.
function numberGrid(explanation, view, link, again) {
  const { count: C, shape: [H, W] } = slices(explanation), each = H * W;
  if (explanation.shape.length < 2 || each > GRID || W > 16) return null;
  const axis = explanation.axes[0], start = explanation.start[0];
  const wide = W > 5, names = wide ? [explanation.names[view.array] || explanation.names.at(-1)] : explanation.names;
  const move = by => again({ ...view, slice: (view.slice + by + C) % C });
  const chooser = C > 1 && h("div", { className: "chooser" },
    h("button", { type: "button", "data-key": "slice-back", "aria-label": `${t("previous")}: ${said(axis)}`,
      onclick: () => move(-1) }, "\u2039"),
    h("span", {}, `${said(axis)} ${start + view.slice}`),
    h("button", { type: "button", "data-key": "slice-on", "aria-label": `${t("next")}: ${said(axis)}`,
      onclick: () => move(1) }, "\u203a"));
  const tabs = wide && h("div", { className: "segments", role: "group" }, explanation.names.map((name, i) =>
    h("button", { type: "button", "data-key": `grid-${i}`, "aria-pressed": String(name === names[0]),
      onclick: () => again({ ...view, array: i }) }, said(name))));
  const grids = names.map(name => {
    const data = explanation.terms[name], top = largest(data), colours = schemeOf(explanation, name);
    const [unit, places] = unitOf(largest(data.subarray(view.slice * each, (view.slice + 1) * each)));
    const rows = [...Array(H).keys()].map(i => h("tr", {}, [...Array(W).keys()].map(j => {
      const flat = view.slice * each + i * W + j, number = data[flat];
      const outside = explanation.inside && !explanation.inside[flat] && name === "x";
      return h("td", { className: explanation.picked?.[flat] ? "picked" : "" },
        link(sourceOf(explanation, name, flat), outside ? "\u00b7" : short(number / unit, places),
          outside ? { className: "cell padding", title: t("padding") }
            : { className: "cell", title: digits(number), style: { background: css(number, top, colours), color: ink(number, top, colours) } }));
    })));
    return h("figure", {}, h("figcaption", {}, said(name), unit === 1 ? "" : ` \u00b7 ${t("inUnits", digits(unit))}`),
      h("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `${t("window")}: ${said(name)}`,
        "data-key": `cells-${name}` }, h("table", { className: "grid" }, h("tbody", {}, rows))));
  });
  return h("div", { className: "window" }, h("div", { className: "windowhead" },
    h("h3", {}, t("window")), chooser, tabs), h("div", { className: wide ? "grids wide" : "grids" }, grids));
}

// In which unit, and with how many decimals, a grid of numbers up to top is short and can be compared.
function unitOf(top) {
  const power = top > 0 ? Math.floor(Math.log10(top)) : 0;
  const unit = power < -2 || power > 4 ? 10 ** power : 1;
  return [unit, Math.max(0, Math.min(4, 2 - (unit === 1 ? power : 0)))];
}

// With so many decimals; what is 0 is "0", what rounds to it has no sign.
function short(number, places) {
  return number === 0 ? "0" : number.toFixed(places).replace(/^-(?=[0.]*$)/, "").replace("-", "\u2212");
}

function order(explanation) {
  const last = explanation.terms[explanation.names.at(-1)];
  explanation.order ||= Array.from(last.keys()).sort((a, b) => Math.abs(last[b]) - Math.abs(last[a]) || a - b);
  return explanation.order;
}

// Every term, the largest first, ten at a time; the page that is looked at is in the view.
function table(explanation, view, link, again) {
  const sorted = order(explanation), total = sorted.length, pages = Math.ceil(total / ROWS);
  const page = Math.min(view.page, pages - 1), shown = sorted.slice(page * ROWS, (page + 1) * ROWS);
  const tops = explanation.names.map(name => largest(explanation.terms[name]));
  const head = h("tr", {}, [h("th", { scope: "col" }, t("rank")),
    ...explanation.axes.map(axis => h("th", { scope: "col" }, said(axis))),
    ...explanation.names.map(name => h("th", { scope: "col" }, said(name)))]);
  const rows = shown.map((flat, i) => {
    const place = explanation.places ? explanation.places[flat]
      : unravel(flat, explanation.shape).map((at, axis) => at + explanation.start[axis]);
    return h("tr", { className: explanation.picked?.[flat] ? "picked" : "" }, [h("td", {}, count(page * ROWS + i + 1)),
      ...place.map(at => h("td", {}, String(at))),
      ...explanation.names.map((name, k) => {
        const number = explanation.terms[name][flat], colours = schemeOf(explanation, name);
        const outside = name === "x" && explanation.inside && !explanation.inside[flat];
        return h("td", {}, h("span", { className: "swatch", "aria-hidden": "true",
          style: { background: css(number, tops[k], colours) } }),
        link(sourceOf(explanation, name, flat), digits(number)), outside ? h("span", { className: "muted" }, ` ${t("padding")}`) : null);
      })]);
  });
  const to = (label, target, key, disabled) => h("button", { type: "button", "data-key": key, disabled,
    "aria-label": `${label}: ${t("terms")}`, onclick: () => again({ ...view, page: target }) }, label);
  const pager = pages > 1 && h("div", { className: "pager" },
    to(t("first"), 0, "terms-first", page === 0), to(t("previous"), page - 1, "terms-back", page === 0),
    h("span", {}, t("range", count(page * ROWS + 1), count(Math.min(total, (page + 1) * ROWS)), count(total))),
    to(t("next"), page + 1, "terms-on", page === pages - 1), to(t("last"), pages - 1, "terms-last", page === pages - 1));
  const note = explanation.note ? h("p", { className: "muted" }, explanation.note) : null;
  return h("div", { className: "terms" }, h("h3", {}, t("terms")), h("p", { className: "muted" }, t("termsHint")),
    h("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": t("terms"), "data-key": "terms" },
      h("table", {}, h("thead", {}, head), h("tbody", {}, rows))), note, pager || "");
}

// The numbers that are computed from this one, a few links at a time.
function usedBy(bench, uses, view, link, again) {
  const groups = (uses || []).filter(use => size(use.shape)).map((use, which) => {
    const total = size(use.shape), page = view.uses?.[which] || 0, shown = [];
    for (let flat = page * USES; flat < Math.min(total, (page + 1) * USES); flat++) {
      const target = { layer: use.layer, of: use.of, index: indexAt(use.index, unravel(flat, use.shape)) };
      shown.push(link(target, format(target), { className: "chip" }));
    }
    const move = by => again({ ...view, uses: { ...view.uses, [which]: page + by } });
    return h("div", { className: "use" },
      h("h4", {}, h("code", {}, `${use.layer}.${use.of}`), " ", total === 1 ? t("aNumber") : t("numbers", count(total))),
      h("div", { className: "chips" }, shown),
      total > USES ? h("div", { className: "pager" },
        h("button", { type: "button", disabled: page === 0, "data-key": `uses-back-${which}`,
          "aria-label": `${t("previous")}: ${use.layer}.${use.of}`, onclick: () => move(-1) }, t("previous")),
        h("span", {}, t("range", count(page * USES + 1), count(Math.min(total, (page + 1) * USES)), count(total))),
        h("button", { type: "button", disabled: (page + 1) * USES >= total, "data-key": `uses-on-${which}`,
          "aria-label": `${t("next")}: ${use.layer}.${use.of}`, onclick: () => move(1) }, t("next"))) : null);
  });
  return h("div", { className: "uses" }, h("h3", {}, t("usedBy")), groups.length ? groups
    : h("p", { className: "muted" }, t("nothingUses")));
}

// The function of an activation, or its slope, with the point that is looked at.
function curve(explanation) {
  const [xs, ys] = explanation.curve, x = explanation.terms.x[0];
  const y = explanation.terms.slope ? explanation.terms.slope[0] : explanation.terms.y[0];
  const low = Math.min(0, ...ys), high = Math.max(...ys, low + 1e-9), W = 260, H = 150, pad = 14;
  const across = value => pad + (value - xs[0]) / (xs.at(-1) - xs[0]) * (W - 2 * pad);
  const down = value => H - pad - (value - low) / (high - low) * (H - 2 * pad);
  return svg("svg", { width: W, height: H, viewBox: `0 0 ${W} ${H}`, class: "curve", role: "img",
    "aria-label": said(explanation.where) },
  svg("path", { class: "axis", d: `M${across(0)} ${pad} V${H - pad} M${pad} ${down(0)} H${W - pad}` }),
  svg("polyline", { class: "stroke", points: Array.from(xs, (at, i) => `${across(at)},${down(ys[i])}`).join(" ") }),
  svg("circle", { cx: across(x), cy: down(y), r: 5, fill: WINDOW, stroke: "#fff", "stroke-width": 1.5 }));
}
