// Where the numbers come from: the server, whose every number is Python's.

const TYPED = { float32: Float32Array, float64: Float64Array, uint8: Uint8Array };
const KEPT = 48; // answers

export class Served {
  constructor() {
    this.answers = new Map();
  }

  about() {
    return this.json("about", {});
  }

  network(settings) {
    return this.json("network", settings);
  }

  pixels(settings) {
    return this.binary("pixels", settings).then(({ arrays }) => arrays[0]);
  }

  async numbers(settings, layer, of, part = null) {
    const { message, arrays } = await this.binary("numbers", { ...settings, layer, of, part });
    return { ...arrays[0], largest: message.largest };
  }

  async explain(settings, place) {
    const { message, arrays } = await this.binary("explain", { ...settings, ...asked(place) });
    return unpacked(message, arrays.map(array => array.data));
  }

  value(settings, place) {
    return this.json("value", { ...settings, ...asked(place) }).then(({ value }) => value);
  }

  nudge(settings, place, eps) {
    return this.json("nudge", { ...settings, ...asked(place), eps });
  }

  broken(settings) {
    return this.json("broken", settings).then(({ broken }) => broken);
  }

  async brokenMask(settings, layer, of, part = null) {
    const { arrays } = await this.binary("broken", { ...settings, layer, of, part });
    return arrays.length ? arrays[0].data : null;
  }

  async drop(file) {
    const response = await fetch(`picture?${new URLSearchParams({ name: file.name })}`, { method: "POST", body: file });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer.id;
  }

  json(name, query) {
    return this.fetch(name, query, response => response.json());
  }

  binary(name, query) {
    return this.fetch(name, query, async response => decoded(await response.arrayBuffer()));
  }

  // An answer that was there before is not asked for again; the last ones are kept.
  fetch(name, query, read) {
    const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
    const url = `${name}?${new URLSearchParams(given)}`;
    if (!this.answers.has(url)) {
      const answer = fetch(url).then(async response => {
        if (response.ok) return read(response);
        throw new Error((await response.json()).error);
      });
      answer.catch(() => this.answers.delete(url));
      this.answers.set(url, answer);
      if (this.answers.size > KEPT) this.answers.delete(this.answers.keys().next().value);
    }
    return this.answers.get(url);
  }
}

function asked({ layer, of, index }) {
  return { layer, of, index: index.join(",") };
}

// The length of a JSON text, the text, and arrays that begin at multiples of eight bytes.
export function decoded(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const message = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let offset = 4 + length;
  const arrays = message.arrays.map(([kind, shape]) => {
    offset += (8 - offset % 8) % 8;
    const count = shape.reduce((product, size) => product * size, 1);
    const data = new TYPED[kind](buffer, offset, count);
    offset += data.byteLength;
    return { shape, data };
  });
  return { message, arrays };
}

// An explanation with its arrays at their names.
export function unpacked(message, arrays) {
  const rest = [...arrays];
  if (message.kind !== "explained") return message;
  return { ...message,
    names: message.terms,
    terms: Object.fromEntries(message.terms.map(name => [name, rest.shift()])),
    inside: message.inside ? rest.shift() : null,
    picked: message.picked ? rest.shift() : null,
    curve: message.curve ? [rest.shift(), rest.shift()] : null };
}
