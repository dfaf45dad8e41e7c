// The fixed colours of tinynet.figures: white is 0, blue negative, red positive; weights in purple and orange.

const STOPS = {
  activations: ["053061", "2065ab", "4393c3", "90c4dd", "d1e5f0", "f7f6f6", "fddbc7", "f3a481", "d6604d", "b1182b",
    "67001f"],
  weights: ["2d004b", "532687", "8073ac", "b1aad1", "d8daeb", "f7f7f6", "fee0b6", "fcb761", "e08214", "b25706",
    "7f3b08"],
};
export const WINDOW = "#00a651";
export const BROKEN = "#d4007f";

const TABLES = Object.fromEntries(Object.entries(STOPS).map(([name, stops]) => [name, table(stops)]));
const PIXELS = Object.fromEntries(Object.entries(TABLES).map(([name, entries]) => [name, opaque(entries)]));

function table(stops) {
  const colours = stops.map(stop => [0, 2, 4].map(i => parseInt(stop.slice(i, i + 2), 16)));
  const entries = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const at = i / 255 * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(at));
    for (let c = 0; c < 3; c++) {
      entries[3 * i + c] = Math.round(colours[low][c] + (at - low) * (colours[low + 1][c] - colours[low][c]));
    }
  }
  return entries;
}

// The colours of a table as pixels of a canvas, whichever byte comes first on this machine.
function opaque(entries) {
  const bytes = new Uint8Array(256 * 4).fill(255);
  for (let i = 0; i < 256; i++) bytes.set(entries.subarray(3 * i, 3 * i + 3), 4 * i);
  return new Uint32Array(bytes.buffer);
}

export function scheme(of) {
  return of === "w" || of === "b" || of === "update" ? "weights" : "activations";
}

// The red, green and blue of a number, where +-top are the ends of the scale.
export function colour(number, top, name) {
  const level = Math.round(127.5 + 127.5 * Math.max(-1, Math.min(1, number / (top || 1))));
  return TABLES[name].subarray(3 * level, 3 * level + 3);
}

export function css(number, top, name) {
  return `rgb(${colour(number, top, name).join(" ")})`;
}

// Black or white, whichever is read more easily on the colour of a number.
export function ink(number, top, name) {
  const [r, g, b] = Array.from(colour(number, top, name), level => (level / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000" : "#fff";
}

// A picture (H, W) of numbers as a canvas of one pixel a number. All maps (C, H, W) are one of height C * H.
export function paint(data, H, W, top, name) {
  return painted(H, W, pixels => {
    for (let i = 0; i < H * W; i++) {
      pixels[i] = PIXELS[name][Math.round(127.5 + 127.5 * Math.max(-1, Math.min(1, data[i] / (top || 1))))];
    }
  });
}

// Pictures (N, 3, H, W) in red, green and blue as a canvas of height N * H; scaled(number, n) gives 0 to 255.
export function paintRgb(data, H, W, scaled) {
  const N = data.length / (3 * H * W);
  return painted(N * H, W, pixels => {
    const bytes = new Uint8ClampedArray(pixels.buffer).fill(255);
    for (let n = 0, k = 0; n < N; n++) for (let c = 0; c < 3; c++) for (let i = 0; i < H * W; i++, k++) {
      bytes[4 * (n * H * W + i) + c] = scaled(data[k], n);
    }
  });
}

// A canvas whose pixels fill() writes, each a number of 32 bits.
function painted(H, W, fill) {
  const canvas = document.createElement("canvas");
  canvas.width = W;
  canvas.height = H;
  const image = new ImageData(W, H);
  fill(new Uint32Array(image.data.buffer));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
