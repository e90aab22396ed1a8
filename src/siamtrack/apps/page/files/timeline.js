// A row for each target: where it is known, its presence as a line, where it is lost, was given and was ended.

import { colourOf } from "./colours.js";

const ROW = 30;

export class Timeline {
  #canvas;
  #context;
  #run = null;
  #frame = 0;
  #count = 1;

  /** `seek(frame)` is called where the user points. */
  constructor(canvas, seek) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    const point = (event) => {
      const bounds = canvas.getBoundingClientRect();
      const part = (event.clientX - bounds.left) / bounds.width;
      seek(Math.min(Math.max(Math.floor(part * this.#count), 0), this.#count - 1));
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      point(event);
    });
    canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && point(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(run, frame, count) {
    this.#run = run;
    this.#frame = frame;
    this.#count = Math.max(count, 1);
    this.draw();
  }

  draw() {
    if (!this.#run) return;
    const canvas = this.#canvas;
    const rows = Math.max(this.#run.targets.length, 1);
    canvas.style.height = `${rows * ROW}px`;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, rows * ROW];
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.round(height * ratio);
    const context = this.#context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(canvas);
    const [line, ink, lost] = ["--line", "--ink", "--lost"].map((name) => style.getPropertyValue(name));
    const at = (frame) => (frame / this.#count) * width;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    this.#run.targets.forEach((target, index) => {
      const top = index * ROW;
      context.strokeStyle = line;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(0, top + ROW - 0.5);
      context.lineTo(width, top + ROW - 0.5);
      context.stroke();
      this.#drawTarget(target, top + 4, ROW - 8, at, lost);
      context.fillStyle = ink;
      context.fillText(target.number, width - 4, top + 13);
    });
    context.fillStyle = ink;
    context.fillRect(Math.min(at(this.#frame + 0.5), width - 1) - 1, 0, 2, height);
  }

  #drawTarget(target, top, high, at, lost) {
    const context = this.#context;
    const colour = colourOf(target.number);
    const wide = Math.max(at(1), 1);
    const step = Math.max(1, Math.floor(1 / at(1))); // one frame for each pixel at most
    context.lineWidth = 1.5;
    context.strokeStyle = colour;
    context.beginPath();
    let before = null;
    for (const frame of [...target.rows.keys()].sort((a, b) => a - b)) {
      const row = target.rows.get(frame);
      const x = at(frame);
      if (frame % step === 0 || row.status === "lost") {
        context.globalAlpha = row.status === "lost" ? 0.55 : 0.22;
        context.fillStyle = row.status === "lost" ? lost : colour;
        context.fillRect(x, top, wide * step, high);
      }
      const y = top + high * (1 - row.presence);
      if (before === frame - 1) context.lineTo(x + wide / 2, y);
      else context.moveTo(x + wide / 2, y);
      before = frame;
    }
    context.globalAlpha = 1;
    context.stroke();
    context.fillStyle = colour;
    for (const frame of target.ends) context.fillRect(Math.max(at(frame) + wide - 3, 0), top - 2, 3, high + 4);
    for (const [frame, row] of target.rows) {
      if (!row.given) continue;
      const x = Math.max(at(frame) + wide / 2, 5);
      context.beginPath();
      context.moveTo(x, top - 2);
      context.lineTo(x + 5, top + 4);
      context.lineTo(x, top + 10);
      context.lineTo(x - 5, top + 4);
      context.fill();
    }
  }
}
