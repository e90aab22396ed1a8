// Follows targets in this browser: the exported model runs in WebAssembly, in a worker. Nothing is sent anywhere.

import { FORMATS, packBoxes } from "./boxes.js";
import { openFrames } from "./frames.js";

const KEPT = 4;

export class WasmEngine {
  choices = { upload: true, camera: "device" };
  formats = FORMATS;
  #worker;
  #waiting = new Map();
  #ids = 0;
  #frames = null;
  #kept = new Map();

  constructor(about) {
    this.model = about.model;
    this.labels = about.labels;
    this.#worker = new Worker("worker.js", { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      const { done, failed } = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error) failed(new Error(data.error));
      else done(data);
    };
    this.#worker.onerror = ({ message }) => {
      for (const { failed } of this.#waiting.values()) failed(new Error(`The tracker stopped: ${message}`));
      this.#waiting.clear();
    };
    this.ready = this.#ask({ do: "load", about });
    this.ready.then(({ threads }) => (this.model = `${about.model}, ${threads} thread${threads > 1 ? "s" : ""}`));
  }

  /** As ServerEngine's; the sources are this device's. */
  async open(source, progress) {
    progress?.("Loading the model …");
    await this.ready;
    const frames = await openFrames(source); // where that fails, the source before stays open
    this.#close();
    await this.#ask({ do: "open" });
    this.#frames = frames;
    return { ...this.#frames.about };
  }

  async show(number) {
    const image = await this.#frame(number);
    return image && { image: await createImageBitmap(image) };
  }

  async step(number, { given, kept }) {
    const before = given.length ? await this.#frame(number) : null;
    const after = await this.#frame(number + 1);
    if (!after) return null;
    const { found, seconds } = await this.#ask({ do: "step", number, given, kept, before, after });
    return { image: await createImageBitmap(after), found, seconds };
  }

  async pack(kind, rows, clip) {
    return packBoxes(kind, rows, clip);
  }

  #close() {
    this.#frames?.close();
    this.#frames = null;
    for (const image of this.#kept.values()) image.close();
    this.#kept.clear();
  }

  async #frame(number) {
    if (!this.#kept.has(number)) {
      const image = await this.#frames.at(number);
      if (!image) return null;
      this.#kept.set(number, image);
      const [oldest] = this.#kept.keys();
      if (this.#kept.size > KEPT) {
        this.#kept.get(oldest).close();
        this.#kept.delete(oldest);
      }
    }
    return this.#kept.get(number);
  }

  #ask(message) {
    const id = ++this.#ids;
    return new Promise((done, failed) => {
      this.#waiting.set(id, { done, failed });
      this.#worker.postMessage({ id, ...message });
    });
  }
}

/** Let the page use several threads; false if it is being loaded again for that. */
export async function isolate() {
  if (window.crossOriginIsolated || !window.isSecureContext || !navigator.serviceWorker) return true;
  if (sessionStorage.getItem("isolate")) return true; // it did not help: one thread
  sessionStorage.setItem("isolate", "tried");
  try {
    await navigator.serviceWorker.register("isolate.js");
    await navigator.serviceWorker.ready;
  } catch {
    return true;
  }
  location.reload();
  return false;
}
