// Runs the exported model and keeps the states of all targets at every frame that they were followed to.

import * as ort from "./ort/ort.wasm.min.mjs";

const MOST_THREADS = 4;
const KEPT_STEPS = 5000;

let session;
let names; // of the state's tensors
let empty; // those tensors with no rows, which begin a target
let pieces = new Map(); // by frame: [{keys, state: {name: tensor}}]
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });

const TASKS = {
  async load({ about }) {
    const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = new URL("ort/", import.meta.url).href;
    session = await ort.InferenceSession.create(new URL(about.file, import.meta.url).href, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
    });
    names = Object.keys(about.state);
    empty = Object.fromEntries(names.map((name) => [name, none(about.state[name])]));
    return { threads };
  },

  open() {
    pieces = new Map();
    return {};
  },

  async step({ number, given, kept, before, after }) {
    const began = performance.now();
    const parts = find(number, kept);
    if (given.length) {
      const boxes = new ort.Tensor("float32", given.flatMap(([, box]) => box), [given.length, 4]);
      const { state } = await call(before, boxes, empty);
      parts.push({ keys: given.map(([key]) => key), state });
      put(number, parts.at(-1));
    }
    const keys = parts.flatMap((part) => part.keys);
    const joined = parts.length === 1 ? parts[0].state : join(parts.map((part) => part.state));
    const none = new ort.Tensor("float32", [], [0, 4]);
    const { tracked, scores, presence, state } = await call(after, none, joined);
    put(number + 1, { keys, state });
    const found = keys.map((key, at) => {
      const status = presence[at] < 1 / 3 ? "lost" : presence[at] < 2 / 3 ? "uncertain" : "tracking";
      return [key, ...tracked.subarray(4 * at, 4 * at + 4), scores[at], presence[at], status];
    });
    return { found, seconds: (performance.now() - began) / 1000 };
  },
};

async function call(image, boxes, state) {
  const feeds = { frame: pixels(image), boxes };
  for (const name of names) feeds[`state.${name}`] = state[name];
  const out = await session.run(feeds);
  // What a step hands on unchanged, as templates, is kept once for all frames.
  const next = names.map((name) => [name, same(out[`next.${name}`], state[name]) ? state[name] : out[`next.${name}`]]);
  const { tracked, scores, presence } = out;
  return { tracked: tracked.data, scores: scores.data, presence: presence.data, state: Object.fromEntries(next) };
}

function pixels(image) {
  const { width, height } = image;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.drawImage(image, 0, 0);
  image.close();
  const { data } = context.getImageData(0, 0, width, height);
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    rgb[to++] = data[from];
    rgb[to++] = data[from + 1];
    rgb[to++] = data[from + 2];
  }
  return new ort.Tensor("uint8", rgb, [height, width, 3]);
}

function none({ type, shape }) {
  return new ort.Tensor(type, [], [0, ...shape.slice(1)]);
}

function same(a, b) {
  return a.data.length === b.data.length && a.data.every((value, at) => value === b.data[at]);
}

/** The states of `keys` at a frame, in as few parts as they were followed in. */
function find(number, keys) {
  const wanted = new Set(keys);
  const found = [];
  for (const piece of [...(pieces.get(number) ?? [])].reverse()) {
    const rows = piece.keys.flatMap((key, row) => (wanted.has(key) ? [row] : []));
    if (!rows.length) continue;
    found.push(rows.length === piece.keys.length ? piece : chosen(piece, rows));
    for (const key of piece.keys) wanted.delete(key);
  }
  if (wanted.size) throw new Error(`How a target looked at frame ${number} is not kept any more: draw its box again there.`);
  return found.sort((a, b) => a.keys[0] - b.keys[0]);
}

function chosen({ keys, state }, rows) {
  const pick = ({ type, data, dims }) => {
    const size = data.length / dims[0];
    const part = new data.constructor(rows.length * size);
    rows.forEach((row, at) => part.set(data.subarray(row * size, (row + 1) * size), at * size));
    return new ort.Tensor(type, part, [rows.length, ...dims.slice(1)]);
  };
  const picked = names.map((name) => [name, pick(state[name])]);
  return { keys: rows.map((row) => keys[row]), state: Object.fromEntries(picked) };
}

function join(states) {
  const glue = (parts) => {
    const all = new parts[0].data.constructor(parts.reduce((sum, part) => sum + part.data.length, 0));
    let at = 0;
    for (const { data } of parts) {
      all.set(data, at);
      at += data.length;
    }
    const count = parts.reduce((sum, part) => sum + part.dims[0], 0);
    return new ort.Tensor(parts[0].type, all, [count, ...parts[0].dims.slice(1)]);
  };
  return Object.fromEntries(names.map((name) => [name, glue(states.map((state) => state[name]))]));
}

function put(number, piece) {
  const known = pieces.get(number) ?? [];
  pieces.delete(number); // to the end: the newest
  pieces.set(number, [...known, piece]);
  if (pieces.size > KEPT_STEPS) pieces.delete(pieces.keys().next().value);
}

let work = Promise.resolve();
self.onmessage = ({ data }) => {
  work = work
    .then(() => TASKS[data.do](data))
    .then((reply) => self.postMessage({ id: data.id, ...reply }))
    .catch((error) => self.postMessage({ id: data.id, error: error.message ?? String(error) }));
};
