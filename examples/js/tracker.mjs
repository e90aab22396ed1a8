// An exported tracker in JavaScript: the same class in a browser (onnxruntime-web) and in Node (onnxruntime-node).
//
//     import * as ort from "onnxruntime-web";
//     const tracker = await Tracker.open(ort, "siamcar_pico.onnx");
//     await tracker.init({ data, width, height }, [[132, 170, 100, 72]]);
//     const [{ box, presence, status }] = await tracker.update({ data, width, height });
//
// `data` is a Uint8Array of width * height * 3 bytes, RGB. From a canvas, whose pixels are RGBA: `withoutAlpha`.

export class Tracker {
  constructor(ort, session) {
    this.ort = ort;
    this.session = session;
    const inputs = session.inputMetadata;
    if (!inputs.some((input) => input.name === "boxes")) throw new Error("this file is no tracker that siamtrack exported");
    this.nothing = {}; // a state without targets, to begin with
    for (const { name, type, shape } of inputs) {
      if (name.startsWith("state.")) this.nothing[name] = new ort.Tensor(type, [], [0, ...shape.slice(1)]);
    }
    this.size = null;
  }

  // `model` is a path, a URL or an ArrayBuffer; options as ONNX Runtime has them.
  static async open(ort, model, options = {}) {
    return new Tracker(ort, await ort.InferenceSession.create(model, options));
  }

  // Begins with the targets of a frame, boxes [x, y, w, h] in its pixels.
  async init(frame, boxes) {
    for (const box of boxes) {
      if (box.length !== 4 || !box.every(Number.isFinite) || box[2] <= 0 || box[3] <= 0) {
        throw new Error(`expected a box [x, y, w, h] with sides above 0; got [${box}]`);
      }
      const [x, y, w, h] = box;
      if (x >= frame.width || y >= frame.height || x + w <= 0 || y + h <= 0) {
        throw new Error(`expected a box in the frame of ${frame.width}x${frame.height} pixels; got [${box}]`);
      }
    }
    this.size = `${frame.width}x${frame.height}`;
    this.state = this.nothing;
    return this.run(frame, boxes);
  }

  // Follows the targets into the next frame.
  async update(frame) {
    if (`${frame.width}x${frame.height}` !== this.size) {
      throw new Error(`expected a frame of ${this.size} pixels, as the first; got ${frame.width}x${frame.height}`);
    }
    return this.run(frame, []);
  }

  async run({ data, width, height }, boxes) {
    const found = await this.session.run({
      frame: new this.ort.Tensor("uint8", data, [height, width, 3]),
      boxes: new this.ort.Tensor("float32", boxes.flat(), [boxes.length, 4]),
      ...this.state,
    });
    this.state = {};
    for (const [name, value] of Object.entries(found)) {
      if (name.startsWith("next.")) this.state[`state.${name.slice(5)}`] = value;
    }
    return Array.from(found.scores.data, (score, n) => {
      const presence = found.presence.data[n];
      const status = presence < 1 / 3 ? "lost" : presence < 2 / 3 ? "uncertain" : "tracking";
      return { box: [...found.tracked.data.slice(4 * n, 4 * n + 4)], score, presence, status };
    });
  }
}

// RGBA pixels, as of `context.getImageData(..).data`, as RGB.
export function withoutAlpha(pixels) {
  const rgb = new Uint8Array((pixels.length / 4) * 3);
  for (let from = 0, to = 0; from < pixels.length; from += 4) {
    rgb[to++] = pixels[from];
    rgb[to++] = pixels[from + 1];
    rgb[to++] = pixels[from + 2];
  }
  return rgb;
}
