// The page: what is looked at stands in its address; a change of the address draws it again.

import { css, paintRgb } from "./colours.js";
import { canvas, digits, h, svg } from "./elements.js";
import { bugName, sentence, speak, t } from "./labels.js";
import { bigMap, gallery, kernelsInColour, readout, sheetOf, strongest } from "./maps.js";
import { firstSlice, numberPanel } from "./number.js";
import { arraysOf, counterpart, direction, format, indexAt, parse, related, same, shapeOf, size } from "./places.js";
import { strip } from "./strip.js";

const SETTINGS = ["run", "picture", "label", "mode", "step", "bug"];
const TWO_COLUMNS = 840; // CSS pixels: a wider bench has its maps on the left (as in style.css)
const LIT = ["x", "dy", "logit", "p", "p[label]", "dw"]; // terms whose array is shown beside, with the window lit
const EPS = [1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5];

let source, about, state, drawing = 0, playing = null;
const view = { number: {}, zoom: 1, eps: 1e-4, nudge: {}, history: {}, head: {} }; // what the address need not hold

export async function start(from) {
  source = from;
  state = read();
  speak(state.lang);
  about = await source.about();
  globalThis.explain = place => { // for the browser's console
    const found = parse(place);
    return source.explain(settingsOf(state), { ...found, index: found.index || [] });
  };
  addEventListener("hashchange", () => draw());
  addEventListener("keydown", shortcut);
  let pending;
  addEventListener("resize", () => {
    clearTimeout(pending);
    pending = setTimeout(draw, 150);
  });
  if (about.can.drop) acceptDrops();
  await draw();
}

// ---- the address ----------------------------------------------------------------------------------------------

function read() {
  const query = new URLSearchParams(location.hash.slice(1));
  const found = Object.fromEntries(SETTINGS.concat("beside", "lang").map(name => [name, query.get(name) || ""]));
  found.lang ||= (navigator.language || "").startsWith("zh") ? "zh" : "en";
  return { ...found, place: parse(query.get("at")) };
}

function address(changes) {
  const next = { ...state, ...changes };
  const query = [["at", next.place ? format(next.place) : ""], ...SETTINGS.map(name => [name, next[name]]),
    ["beside", next.beside], ["lang", next.lang]].filter(([, value]) => value !== "" && value !== null);
  return "#" + query.map(([name, value]) => `${name}=${encodeURIComponent(value).replace(/%5B/g, "[").replace(/%5D/g, "]")
    .replace(/%2C/g, ",")}`).join("&");
}

function go(changes) {
  location.hash = address(changes);
}

function settingsOf(state, pair) {
  const settings = Object.fromEntries(SETTINGS.map(name => [name, state[name]]));
  return pair ? { ...settings, pair: 1 } : settings;
}

// The settings of what is looked at beside: "picture:3" changes one of them.
function settingsBeside() {
  const [name, value] = state.beside.split(":");
  return { ...settingsOf(state, true), [name]: value, ...(name === "run" ? { label: "", step: "" } : {}) };
}

// ---- drawing --------------------------------------------------------------------------------------------------

async function draw() {
  const mine = ++drawing;
  state = read();
  speak(state.lang);
  if (state.place && direction(state.place.of) !== "forward" && state.mode !== "training" && about.can.modes) {
    state.mode = "training";
    history.replaceState(null, "", address({}));
  }
  try {
    const benches = [await bench(settingsOf(state, Boolean(state.beside)))];
    state.place ||= { layer: benches[0].layers[1].name, of: "y", index: null };
    const found = await resolved(benches[0], state.place);
    if (mine !== drawing) return;
    if (found !== state.place) {
      state.place = found;
      history.replaceState(null, "", address({}));
    }
    if (state.beside) benches.push(await bench(settingsBeside()));
    const drawn = [];
    for (const each of benches) drawn.push(await panels(each, benches.length > 1));
    const broken = state.bug ? await source.broken(benches[0].settings) : null;
    const key = JSON.stringify([{ ...state, place: null }, benches[0].label, about.pictures]);
    const head = view.head.key === key ? view.head.element : await header(benches[0]);
    if (mine !== drawing) return;
    view.head = { key, element: head }; // a thousand classes to choose from are not made for each number
    show(head, network(benches[0], broken), drawn, benches[0]);
  } catch (error) {
    if (mine !== drawing) return;
    const line = error instanceof TypeError && /fetch/i.test(error.message) ? t("failed") : error.message;
    document.querySelector("#main").replaceChildren(h("p", { className: "alarm", role: "alert" }, line),
      h("p", {}, h("a", { href: "#" }, t("network"))));
    document.body.dataset.ready = String(mine);
    console.info(error);
  }
}

async function bench(settings) {
  const network = await source.network(settings);
  const picture = { name: "picture", kind: "Picture", in: [], out: network.in_shape, params: {}, facts: {} };
  return { source, settings, ...network, layers: [picture, ...network.layers],
    href: place => address({ place, ...(direction(place.of) !== "forward" ? { mode: "training" } : {}) }) };
}

// An address without an index means the largest number of its array.
async function resolved(bench, place) {
  const layer = layerOf(bench, place.layer);
  if (!layer) throw new Error(`${place.layer}: ${t("absent")}`);
  if (place.index) return place;
  const { of } = place, shape = shapeOf(layer, of, null);
  if (!shape) throw new Error(`${format(place)}: ${t("absent")}`);
  if (!shape.length) return { ...place, index: [] };
  if (of === "probs") return { ...place, index: [0, bench.label] };
  if (["w", "dw", "update"].includes(of)) { // within the kernel or unit whose map, or whose gradient, is strongest
    const unit = strongest(of === "w" ? await sheetOf(bench, layer, "y") : await sheetOf(bench, layer, "db", [0])).at(of === "w" ? 1 : 0);
    return { ...place, index: strongest(await sheetOf(bench, layer, of, [unit, ...shape.slice(1)])) };
  }
  return { ...place, index: strongest(await sheetOf(bench, layer, of)) };
}

function layerOf(bench, name) {
  return bench.layers.find(layer => layer.name === name);
}

function show(head, layers, drawn, first) {
  const active = document.activeElement, key = active?.dataset?.key;
  const followed = Boolean(active?.closest?.(".number")) && document.body.dataset.place !== format(state.place);
  const left = document.querySelector(".strip ol")?.scrollLeft;
  document.querySelector("#skip").textContent = t("skip");
  document.title = `${format(state.place)} \u00b7 tinynet ${t("title")}`;
  const top = document.querySelector("#head");
  if (top.firstChild === head) top.lastChild.replaceWith(layers);
  else top.replaceChildren(head, layers);
  document.querySelector("#main").replaceChildren(h("div", { className: drawn.length > 1 ? "benches pair" : "benches" },
    drawn));
  document.querySelector("#foot").replaceChildren(...footer(first));
  if (key) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  if (followed) { // a link was followed: to the top of the number that it led to
    const heading = document.querySelector(".number h2");
    heading?.focus({ preventScroll: true });
    heading?.closest(".number").scrollIntoView({ block: "start" });
  }
  const list = document.querySelector(".strip ol"), current = list.querySelector("[aria-current]");
  if (left !== undefined) list.scrollLeft = left;
  if (current) {
    const low = current.offsetLeft - list.offsetLeft - 40, high = low + current.offsetWidth + 80 - list.clientWidth;
    if (list.scrollLeft > low || list.scrollLeft < high) list.scrollLeft = low - list.clientWidth / 3;
  }
  const value = document.querySelector(".number .value");
  document.querySelector("#live").textContent = value ? `${format(state.place)} = ${value.textContent}` : "";
  document.body.dataset.ready = String(drawing);
  document.body.dataset.place = format(state.place);
}

// One specimen: its tabs, its maps and its number.
async function panels(bench, pair) {
  const layer = layerOf(bench, state.place.layer);
  const caption = pair ? h("div", { className: "caption" }, captionOf(bench), await guesses(bench)) : null;
  const lost = line => h("article", { className: "bench" }, caption, h("p", { className: "alarm" }, line));
  if (!layer) return lost(t("absent"));
  let { place } = state;
  const inside = shapeOf(layer, place.of, place.index)?.every((size, axis) => place.index[axis] < size);
  if (pair && !inside) place = await resolved(bench, { ...place, index: null }); // maps of another size
  const explanation = await source.explain(bench.settings, place);
  const [room, rest] = roomFor(pair);
  bench.room = rest;
  const maps = await mapsPanel(bench, layer, place, explanation, room);
  explanation.related = related(bench.layers, place);
  const own = { slice: firstSlice(explanation), page: 0, array: Math.max(0, explanation.names?.length - 1), uses: {} };
  const holder = h("div", { className: "holder" });
  const again = looked => {
    const key = document.activeElement?.dataset?.key;
    view.number = { at: format(place), ...looked };
    holder.replaceChildren(numberPanel(bench, layer, place, explanation, looked, again), ...experiments(bench, place));
    if (key) holder.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  };
  again(view.number.at === format(place) && view.number.slice !== undefined ? view.number : own);
  return h("article", { className: "bench" }, caption, tabs(layer), h("div", { className: "columns" }, maps, holder));
}

function roomFor(pair) {
  const page = Math.min(document.documentElement.clientWidth, 1480) - 32;
  const wide = pair && page > 728 ? page / 2 - 12 : page;
  if (wide <= TWO_COLUMNS) return [Math.min(wide - 34, 560), wide - 34];
  const maps = Math.min(430, wide * 0.34);
  return [maps, wide - maps - 84];
}

function captionOf(bench) {
  const { run, picture, step, bug } = bench.settings;
  const name = about.pictures.find(each => String(each.id) === String(picture || 0))?.name;
  return [about.runs[run || 0].name, name, step === "" ? null : t("after", step), bug && bugName(bug)].filter(Boolean).join(" \u00b7 ");
}

function tabs(layer) {
  const now = direction(state.place.of), arrays = arraysOf(layer);
  const tab = toward => {
    const target = toward === now ? state.place : counterpart(layer, state.place, toward);
    return target ? h("a", { href: address({ place: target, ...(toward !== "forward" ? { mode: "training" } : {}) }),
      className: "tab", "data-key": `tab-${toward}`, "aria-current": toward === now ? "page" : null }, t(toward))
      : h("span", { className: "tab off" }, t(toward));
  };
  const chip = (of, index, name) => h("a", { className: "chip", "data-key": `array-${name}`,
    href: address({ place: { layer: layer.name, of, index } }),
    "aria-current": same({ layer: layer.name, of, index: null }, { ...state.place, index: null })
      && (of !== "update" || (name === "b") === (state.place.index.length === 1)) ? "true" : null }, name);
  const chips = now === "update" && layer.params.w ? [layer.behind ? "" : chip("update", null, "w"), chip("update", [0], "b")]
    : arrays[now].map(of => chip(of, null, of));
  const facts = Object.entries(layer.facts).map(([name, value]) => {
    if (name === "pad" && !value.some(Boolean) || name === "groups" && value === 1 || value === false) return "";
    return value === true ? name : `${name} ${Array.isArray(value) ? value.join("\u00d7") : digits(value)}`;
  }).filter(Boolean).join(", ");
  return h("div", { className: "tabs" },
    h("h2", { className: "layername" }, layer.name === "picture" ? t("picture") : layer.name, " ",
      h("span", { className: "muted" }, [layer.kind === "Picture" ? "" : layer.kind, facts].filter(Boolean).join(" \u00b7 "))),
    h("nav", { className: "segments", "aria-label": t("mode") }, ["forward", "backward", "update"].map(tab)),
    h("div", { className: "chips" }, chips));
}

// ---- maps -----------------------------------------------------------------------------------------------------

async function mapsPanel(bench, layer, place, explanation, width) {
  const { index, of } = place, own = await sheetOf(bench, layer, of, index);
  const sources = explanation.sources || {}, terms = LIT.filter(term => sources[term] && (term !== "dw" || of === "update"));
  const side = terms.length + Boolean(own), half = terms.length ? (width - 32 * (side - 1)) / side : Math.min(width, 300);
  const row = (await Promise.all(terms.map(term => lit(bench, place, explanation, term, half)))).filter(Boolean);
  if (!own) return h("section", { className: "maps", "aria-label": t("maps") }, flow(row));
  const [c, i, j] = own.at(index), choose = (c, i, j) => go({ place: { ...place, index: own.index(c, i, j) } });
  const unit = index.length === 4 || index.length === 2 && layer.params.w && of !== "y" && of !== "dx" ? index[0] : null;
  const parameter = ["w", "dw", "update"].includes(of) && index.length > 1;
  const mask = state.bug ? await source.brokenMask(bench.settings, layer.name, of, parameter ? unit : null) : null;
  const title = own.C > 1 ? t("thisMap", `${layer.name === "picture" ? t("picture") : layer.name}.${of}`, c) : `${layer.name}.${of}`;
  const colour = layer.kind === "Picture" && (await pixelsOf(bench));
  row.push(h("figure", {}, h("figcaption", {}, title),
    bigMap(own, c, { label: title, selected: [i, j], choose, key: "map", width: half, mask })));
  const children = [flow(row), readout(own, layer, of, index), scale(own)];
  if (own.C > 1 || parameter) children.push(...await tiles(bench, layer, place, own, c, i, j, width, mask, unit));
  if (colour) children.unshift(colourPicture(colour, width));
  return h("section", { className: "maps", "aria-label": t("maps") }, children);
}

function flow(figures) {
  return h("div", { className: "flow" }, figures.flatMap((figure, k) => k
    ? [h("span", { className: "arrow", "aria-hidden": "true" }, "\u2192"), figure] : [figure]));
}

async function tiles(bench, layer, place, own, c, i, j, width, mask, unit) {
  const { of } = place, zoomed = by => {
    view.zoom = Math.max(0.5, Math.min(4, view.zoom * by));
    draw();
  };
  const parameter = ["w", "dw", "update"].includes(of);
  const title = parameter ? t(layer.kind === "Conv2d" ? "slices" : "unitWeights", unit) : t("maps");
  const head = text => h("div", { className: "galleryhead" }, h("h3", {}, text),
    h("button", { type: "button", "aria-label": t("smaller"), "data-key": "smaller", onclick: () => zoomed(1 / 1.4) }, "\u2212"),
    h("button", { type: "button", "aria-label": t("larger"), "data-key": "larger", onclick: () => zoomed(1.4) }, "+"));
  const found = [];
  if (parameter) {
    const units = shapeOf(layer, of, place.index)[0];
    found.push(stepper(t(layer.kind === "Conv2d" ? "kernel" : "unit"), unit, units,
      unit => go({ place: { ...place, index: [unit, ...place.index.slice(1)] } })));
  }
  if (own.C > 1) {
    found.push(head(title), h("div", { className: "scroll" }, gallery(own, { label: title, current: c, key: "gallery",
      choose: c => go({ place: { ...place, index: own.index(c, i, j) } }), width, zoom: view.zoom, mask })));
  }
  const [, CG, H, W] = layer.params.w || [];
  if (parameter && CG === 3 && of !== "update") {
    const all = await source.numbers(bench.settings, layer.name, of);
    found.push(head(t("kernels")), h("div", { className: "scroll" }, gallery(own, { label: t("kernels"), current: unit,
      key: "kernels", choose: unit => go({ place: { ...place, index: [unit, ...place.index.slice(1)] } }), width,
      zoom: view.zoom, rgb: kernelsInColour(all, H, W) })));
  }
  return found;
}

function stepper(label, value, count, choose) {
  const input = h("input", { type: "number", min: 0, max: count - 1, value, id: "unit", "data-key": "unit",
    onchange: event => choose(Math.max(0, Math.min(count - 1, Math.round(Number(event.target.value) || 0)))) });
  return h("p", { className: "stepper" }, h("label", { htmlFor: "unit" }, label), input,
    h("span", { className: "muted" }, `0 \u2013 ${count - 1}`));
}

// The array that a term is taken from, with the window lit; null for a term that is computed here.
async function lit(bench, place, explanation, term, width) {
  const block = explanation.sources[term], layer = block && layerOf(bench, block.layer), { shape } = explanation;
  if (!layer || !size(shape)) return null;
  const slice = view.number.at === format(place) ? view.number.slice : firstSlice(explanation);
  const corner = end => indexAt(block.index, shape.map((count, axis) => shape.length === 3 && axis === 0 ? slice : end * (count - 1)));
  const sheet = await sheetOf(bench, layer, block.of, corner(0));
  if (!sheet) return null;
  const [low, high] = [0, 1].map(end => sheet.at(corner(end)));
  const c = low[0] === high[0] ? low[0] : place.index[1]; // of neighbours in other channels, the number's own
  const row = block.index.length < 3 && high[1] > low[1]; // a vector that is folded into rows
  const [top, bottom] = within(low[1], high[1], sheet.H), [left, right] = row ? [0, sheet.W - 1] : within(low[2], high[2], sheet.W);
  const colour = layer.kind === "Picture" && await pixelsOf(bench), name = colour ? t("picture") : `${layer.name}.${block.of}`;
  const frames = block.listed ? block.listed.map(index => sheet.at(index)).map(([, i, j]) => ({ top: i, left: j, height: 1, width: 1 }))
    : bottom >= top && right >= left ? [{ top, left, height: bottom - top + 1, width: right - left + 1 }] : [];
  const title = sheet.C > 1 && !colour ? t("thisMap", name, c) : name;
  const middle = row ? null : sheet.index(c, top + bottom >> 1, left + right >> 1);
  return h("figure", {}, h("figcaption", {}, h("a", { href: bench.href({ layer: block.layer, of: block.of, index: middle }) }, title)),
    bigMap(sheet, c, { label: title, width, frames, picture: colour && paintRgb(colour.data, sheet.H, sheet.W, level => level) }));
}

// From the smaller to the larger of two places, without the padding.
function within(a, b, size) {
  return [Math.max(0, Math.min(a, b)), Math.min(size - 1, Math.max(a, b))];
}

function scale(sheet) {
  const bar = canvas(120, 10, (context, width, height) => {
    const ramp = new Float32Array(120).map((_, i) => i / 59.5 - 1);
    ramp.forEach((level, i) => {
      context.fillStyle = css(level, 1, sheet.scheme);
      context.fillRect(i, 0, 1, height);
    });
  }, { "aria-hidden": "true" });
  return h("p", { className: "scale" }, h("span", {}, digits(-sheet.largest, 3)), bar, h("span", {}, digits(sheet.largest, 3)));
}

function pixelsOf(bench) {
  return source.pixels(bench.settings);
}

function colourPicture({ shape: [, H, W], data }, width) {
  const side = Math.min(width, 300);
  return h("figure", {}, canvas(side, Math.round(side * H / W), (context, wide, high) =>
    context.drawImage(paintRgb(data, H, W, level => level), 0, 0, wide, high), { role: "img", "aria-label": t("picture") }));
}

// ---- experiments ----------------------------------------------------------------------------------------------

function experiments(bench, place) {
  const found = [];
  if (about.can.nudge && ["dx", "dw", "db"].includes(place.of)) found.push(proof(bench, place));
  const steps = about.runs[bench.settings.run || 0].steps;
  if (steps.length > 1) found.push(throughTraining(bench, place, steps));
  return found;
}

function proof(bench, place) {
  const result = h("div", { "aria-live": "polite" });
  const key = `${format(place)} ${JSON.stringify(bench.settings)}`;
  const shown = answer => {
    const [low, middle, high] = answer.losses, difference = Math.abs(answer.slope - answer.gradient)
      / Math.max(Math.abs(answer.slope), Math.abs(answer.gradient), 1e-300);
    const row = (name, number, mark) => h("tr", { className: mark || "" }, h("th", { scope: "row" }, name), h("td", {}, digits(number, 9)));
    result.replaceChildren(h("table", { className: "lines" }, h("tbody", {}, row(t("lossAt", `\u2212${answer.eps}`), low),
      row(t("lossAt", "0"), middle), row(t("lossAt", `+${answer.eps}`), high), row(t("numeric"), answer.slope, "result"),
      row(t("analytic"), answer.gradient, "result"), h("tr", {}, h("th", { scope: "row" }, t("relative")),
        h("td", {}, answer.slope === answer.gradient ? "0" : digits(difference, 2))))));
  };
  const ask = async () => {
    try {
      view.nudge = { key, answer: await source.nudge(bench.settings, place, view.eps) };
      shown(view.nudge.answer);
    } catch (error) {
      result.textContent = error.message;
    }
  };
  const select = h("select", { id: "eps", "data-key": "eps", onchange: event => {
    view.eps = Number(event.target.value);
  } }, EPS.map(eps => h("option", { value: eps, selected: eps === view.eps }, String(eps))));
  if (view.nudge.key === key) shown(view.nudge.answer);
  return h("section", { className: "experiment" }, h("h3", {}, t("prove")), h("p", { className: "muted" }, t("proveHint")),
    h("p", {}, h("label", { htmlFor: "eps" }, "eps "), select, " ",
      h("button", { type: "button", className: "primary", "data-key": "prove", onclick: ask }, t("prove"))), result);
}

function throughTraining(bench, place, steps) {
  const chart = h("div", {}), key = `${format(place)} ${JSON.stringify(bench.settings)}`;
  const plot = values => chart.replaceChildren(lineChart(values));
  const ask = async () => {
    const values = [];
    view.history = { key, values };
    try {
      for (const step of steps) {
        values.push([step, await source.value({ ...bench.settings, step }, place)]);
        if (values.length > 1) plot(values);
      }
    } catch (error) {
      chart.textContent = error.message;
    }
  };
  if (view.history.key === key && view.history.values.length > 1) plot(view.history.values);
  return h("section", { className: "experiment" }, h("h3", {}, t("through")), h("p", { className: "muted" }, t("throughHint")),
    h("p", {}, h("button", { type: "button", className: "primary", "data-key": "through", onclick: ask }, t("through"))), chart);
}

function lineChart(values) {
  const W = 420, H = 160, left = 70, pad = 14, ys = values.map(([, y]) => y), xs = values.map(([x]) => x);
  const low = Math.min(...ys), high = Math.max(...ys), span = high - low || 1;
  const x = step => left + (step - xs[0]) / (xs.at(-1) - xs[0] || 1) * (W - left - pad);
  const y = value => H - 24 - (value - low) / span * (H - 24 - pad);
  const text = (content, at) => {
    const element = svg("text", at);
    element.textContent = content;
    return element;
  };
  return svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "curve chart", role: "img",
    "aria-label": values.map(([step, value]) => `${step}: ${digits(value)}`).join(", ") },
  svg("path", { class: "axis", d: `M${left} ${pad} V${H - 24} H${W - pad}` }),
  svg("polyline", { class: "stroke", points: values.map(([step, value]) => `${x(step)},${y(value)}`).join(" ") }),
  ...values.map(([step, value]) => svg("circle", { cx: x(step), cy: y(value), r: 3.5, class: "dot" })),
  text(digits(high, 4), { x: left - 6, y: y(high) + 4, "text-anchor": "end" }),
  text(digits(low, 4), { x: left - 6, y: y(low) + 4, "text-anchor": "end" }),
  text(String(xs[0]), { x: left, y: H - 6 }), text(String(xs.at(-1)), { x: W - pad, y: H - 6, "text-anchor": "end" }));
}

// ---- head and foot --------------------------------------------------------------------------------------------

async function header(bench) {
  const select = (name, label, options, value, changed) => h("label", { className: "setting" }, h("span", {}, label),
    h("select", { "data-key": `set-${name}`, onchange: event => (changed || (value => go({ [name]: value })))(event.target.value) },
      options.map(([key, text]) => h("option", { value: key, selected: String(key) === String(value) }, text))));
  const run = about.runs[state.run || 0], settings = [];
  if (about.runs.length > 1) {
    settings.push(select("run", t("run"), about.runs.map((each, i) => [i, each.name]), state.run || 0, run => go({ run, label: "", step: "" })));
  }
  if (about.pictures.length > 1 || about.can.drop) {
    settings.push(select("picture", t("picture"), [...about.pictures.map(each => [each.id, each.name]),
      ...(about.can.drop ? [["own", t("own")]] : [])], state.picture || 0, value =>
      value === "own" ? openPicture() : go({ picture: value, label: "" })));
  }
  if (about.can.modes) {
    settings.push(select("label", t("right"), run.classes.map((name, i) => [i, name]), bench.label));
    settings.push(select("mode", t("mode"), ["evaluation", "training"].map(mode => [mode, t(mode)]), state.mode || "evaluation", mode =>
      go({ mode, place: mode === "evaluation" && direction(state.place.of) !== "forward"
        ? counterpart(layerOf(bench, state.place.layer), state.place, "forward") : state.place })));
  }
  if (about.can.bugs.length) {
    settings.push(select("bug", t("bug"), [["", t("none")], ...about.can.bugs.map(bug => [bug, bugName(bug)])], state.bug,
      bug => go({ bug, mode: bug ? "training" : state.mode })));
  }
  if (about.can.beside) settings.push(select("beside", t("beside"), besides(), state.beside));
  if (run.steps.length > 1) settings.push(checkpoints(run.steps));
  const bar = h("div", { className: "bar" },
    h("h1", {}, h("a", { href: "#" }, "tinynet ", h("span", {}, t("title")))),
    h("span", { className: "origin muted" }, bench.origin), h("span", { className: "space" }),
    h("button", { type: "button", "data-key": "language", lang: state.lang === "zh" ? "en" : "zh-CN",
      onclick: () => go({ lang: state.lang === "zh" ? "en" : "zh" }) }, t("language")),
    h("button", { type: "button", "data-key": "help", onclick: help }, t("help")));
  return h("div", {}, bar, h("div", { className: "band" }, await guesses(bench),
    h("div", {}, h("div", { className: "settings" }, settings), h("p", { className: "intro" }, t("intro"), " ", bench.note))));
}

function network(bench, broken) {
  const href = layer => {
    const toward = direction(state.place.of), arrays = arraysOf(layer)[toward];
    const of = arrays.includes(state.place.of) ? state.place.of : arrays[0] || arraysOf(layer).forward[0];
    return address({ place: { layer: layer.name, of, index: null } });
  };
  return strip(bench.layers, state.place.layer, href, broken);
}

function besides() {
  const options = [["", t("none")]];
  about.pictures.forEach(each => String(each.id) !== String(state.picture || 0)
    && options.push([`picture:${each.id}`, `${t("picture")}: ${each.name}`]));
  about.runs.forEach((each, i) => String(i) !== String(state.run || 0) && options.push([`run:${i}`, `${t("run")}: ${each.name}`]));
  if (state.bug) options.push(["bug:", `${t("bug")}: ${t("none")}`]);
  return options;
}

function checkpoints(steps) {
  const all = [...steps, ""], at = Math.max(0, all.findIndex(step => String(step) === String(state.step)));
  const position = state.step === "" ? all.length - 1 : at;
  const name = i => all[i] === "" ? t("end") : String(all[i]);
  return h("label", { className: "setting slider" }, h("span", {}, `${t("checkpoint")}: ${name(position)}`),
    h("input", { type: "range", min: 0, max: all.length - 1, value: position, "data-key": "checkpoint", "aria-valuetext": name(position),
      onchange: event => go({ step: String(all[event.target.value]) }) }));
}

// The picture, and the five classes that the network finds most probable: links to their probabilities.
async function guesses(bench) {
  const [pixels, probs] = await Promise.all([pixelsOf(bench), source.numbers(bench.settings, "loss", "probs")]);
  const best = Array.from(probs.data.keys()).sort((a, b) => probs.data[b] - probs.data[a] || a - b).slice(0, 5);
  const classes = about.runs[bench.settings.run || 0].classes, [, H, W] = pixels.shape;
  const bars = best.map(k => h("li", {}, h("a", { href: address({ place: { layer: "loss", of: "probs", index: [0, k] } }),
    "data-key": `class-${k}`, className: k === bench.label ? "right" : "" },
  h("span", { className: "classname" }, classes[k]),
  h("span", { className: "meter", "aria-hidden": "true" }, h("span", { style: { width: `${100 * probs.data[k]}%` } })),
  h("span", { className: "percent" }, `${(100 * probs.data[k]).toFixed(1)}%`))));
  return h("div", { className: "guesses" },
    h("a", { href: address({ place: { layer: "picture", of: "y", index: null } }), "data-key": "thumbnail", "aria-label": t("picture") },
      canvas(104, Math.round(104 * H / W), (context, wide, high) =>
        context.drawImage(paintRgb(pixels.data, H, W, level => level), 0, 0, wide, high))),
    h("ol", { "aria-label": t("best") }, bars));
}

// The stops of a walk through the network: forward, then backward.
function stops(bench) {
  const layers = bench.layers;
  return [...layers.map(layer => ({ layer, of: layer.kind === "SoftmaxCrossEntropy" ? "probs" : "y" })),
    ...layers.slice(1).reverse().map(layer => ({ layer, of: "dx" }))];
}

let walk = [];

function footer(bench) {
  walk = stops(bench);
  const now = direction(state.place.of), position = walk.findIndex(stop => stop.layer.name === state.place.layer
    && (stop.of === "dx") === (now === "backward" || now === "update"));
  const { layer, of } = walk[position] || walk[0];
  walk.position = position;
  const move = (by, key, text) => h("button", { type: "button", "data-key": key, disabled: !walk[position + by],
    onclick: () => stepBy(by) }, text);
  return [h("div", { className: "walk" }, move(-1, "walk-back", `\u2039 ${t("previous")}`),
    h("button", { type: "button", "data-key": "walk-play", "aria-pressed": String(Boolean(playing)), onclick: play }, playing ? t("pause") : t("play")),
    move(1, "walk-on", `${t("next")} \u203a`),
    h("p", {}, h("strong", {}, `${layer.name === "picture" ? t("picture") : layer.name} ${t(of === "dx" ? "backward" : "forward")} `),
      h("span", { className: "muted" }, t("stepOf", position + 1, walk.length)), " ",
      h("span", {}, sentence(layer.kind, of === "dx"))))];
}

function stepBy(by) {
  const stop = walk[walk.position + by];
  if (!stop) return false;
  go({ place: { layer: stop.layer.name, of: stop.of, index: null }, ...(stop.of === "dx" ? { mode: "training" } : {}) });
  return true;
}

function play() {
  if (playing) {
    clearInterval(playing);
    playing = null;
  } else {
    playing = setInterval(() => stepBy(1) || play(), 1800);
    stepBy(1);
  }
  draw();
}

// ---- keys, help, own pictures ---------------------------------------------------------------------------------

function shortcut(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea, dialog *")) return;
  const tab = { f: "forward", b: "backward", u: "update" }[event.key];
  if (event.key === "n") stepBy(1);
  else if (event.key === "p") stepBy(-1);
  else if (event.key === "?") help();
  else if (tab) document.querySelector(`[data-key="tab-${tab}"]`)?.click();
  else return;
  event.preventDefault();
}

function help() {
  const dialog = document.querySelector("#help");
  const key = (keys, text) => h("tr", {}, h("th", { scope: "row" }, keys.map(key => h("kbd", {}, key))), h("td", {}, text));
  dialog.setAttribute("aria-label", t("help"));
  dialog.replaceChildren(h("h2", {}, t("help")), h("p", {}, t("helpText")), h("table", {}, h("tbody", {},
    key(["n"], t("keyN")), key(["p"], t("keyP")), key(["f", "b", "u"], t("keyTabs")),
    key(["\u2190", "\u2191", "\u2192", "\u2193"], t("keyArrows")), key(["Page Up", "Page Down"], t("keyPage")), key(["?"], t("keyHelp")))),
  about.can.drop ? h("p", { className: "muted" }, t("drop")) : "",
  h("button", { type: "button", onclick: () => dialog.close() }, t("close")));
  dialog.showModal();
}

function openPicture() {
  const input = h("input", { type: "file", accept: "image/*", onchange: () => input.files[0] && take(input.files[0]) });
  input.click();
  view.head = {};
  draw(); // the list shows again what is looked at
}

function acceptDrops() {
  addEventListener("dragover", event => event.preventDefault());
  addEventListener("drop", event => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}

export async function take(file) {
  try {
    const id = await source.drop(file);
    about.pictures.push({ id, name: file.name });
    go({ picture: String(id), label: "" });
  } catch (error) {
    document.querySelector("#live").textContent = error.message;
    document.querySelector("#main").prepend(h("p", { className: "alarm", role: "alert" }, `${file.name}: ${error.message}`));
  }
}
