// Making elements, and writing numbers.

export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name in element && !name.startsWith("aria") && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Six digits, as explain() writes them; and few, for a cell.
export function digits(number, count = 6) {
  if (typeof number === "string") return number;
  if (number === 0) return "0";
  const size = Math.abs(number);
  const text = size >= 1e-4 && size < 10 ** Math.max(count, 5) ? String(Number(number.toPrecision(count)))
    : number.toExponential(Math.max(0, count - 1)).replace(/\.?0+e/, "e");
  return text.replace("-", "\u2212").replace("e\u2212", "e-").replace("e-", "e\u2212").replace("e+", "e");
}

export function count(number) {
  return number.toLocaleString("en");
}

// A canvas that draws sharply on any screen: draw(context, width, height) in CSS pixels.
export function canvas(width, height, draw, properties) {
  const element = h("canvas", properties);
  const ratio = window.devicePixelRatio || 1;
  element.width = Math.round(width * ratio);
  element.height = Math.round(height * ratio);
  element.style.width = `${width}px`;
  element.style.height = `${height}px`;
  const context = element.getContext("2d");
  context.scale(ratio, ratio);
  context.imageSmoothingEnabled = false;
  draw(context, width, height);
  return element;
}
