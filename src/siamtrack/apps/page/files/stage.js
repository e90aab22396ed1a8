// The picture and the boxes on it: drawing them, and drawing new ones by mouse, touch and keys.

import { colourOf } from "./colours.js";

const SMALLEST = 3; // pixels of the frame
const HANDLES = [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5]];
const CURSORS = ["nwse", "ns", "nesw", "ew", "nwse", "ns", "nesw", "ew"];

export class Stage {
  #canvas;
  #context;
  #size = [16, 9];
  #image = null;
  #marks = [];
  #selected = null;
  #tool = "any"; // "any": correct what is grabbed, else a new target; "new"; "redraw"
  #drag = null;
  #typed = null; // a box that is placed with the keys
  #on;

  /** `on` has begin(), drawn(box, number or null), cancelled(), selected(number), placing(box or null, tool). */
  constructor(canvas, on) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#on = on;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("lostpointercapture", (event) => this.#up(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  get tool() {
    return this.#tool;
  }

  get busy() {
    return this.#drag !== null || this.#typed !== null;
  }

  /** Take a source's size; the picture is empty until the first frame. */
  resize(width, height) {
    this.#size = [width, height];
    this.#image?.close();
    this.#image = null;
    this.#marks = [];
    this.#canvas.style.setProperty("--ratio", `${width} / ${height}`);
    this.cancel();
  }

  /** Show a frame (an ImageBitmap, or null to keep the one shown) and marks [{number, row, ends}]. */
  show(image, marks, selected) {
    if (image) {
      this.#image?.close();
      this.#image = image;
    }
    this.#marks = marks;
    this.#selected = selected;
    this.draw();
  }

  /** Choose what the next box is: a new target ("new"), the selected one ("redraw"), or either ("any"). */
  use(tool) {
    this.#tool = tool;
    this.#canvas.style.cursor = "crosshair";
    this.#on.placing(null, tool);
  }

  cancel() {
    const busy = this.busy;
    this.#drag = this.#typed = null;
    this.use("any");
    if (busy) this.#on.cancelled();
    this.draw();
  }

  /** Keys of the stage: Enter begins and ends a box that is placed with arrows; returns whether the key was used. */
  key(event) {
    if (event.key === "Escape" && (this.busy || this.#tool !== "any")) {
      this.cancel();
      return true;
    }
    if (event.key === "Enter" && !this.#typed && (this.#tool !== "any" || event.target === this.#canvas)) {
      if (this.#image) this.#place();
      return true;
    }
    if (!this.#typed) return false;
    if (event.key === "Enter") {
      const { box, number } = this.#typed;
      this.#typed = null;
      this.#finish(box, number);
      return true;
    }
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!direction) return false;
    const pace = event.ctrlKey || event.metaKey ? 1 : Math.max(1, Math.round(Math.max(...this.#size) / 100));
    const [dx, dy] = direction.map((part) => part * pace);
    const [x, y, w, h] = this.#typed.box;
    this.#typed.box = this.#inside(event.shiftKey ? [x, y, w + dx, h + dy] : [x + dx, y + dy, w, h], !event.shiftKey);
    this.#on.placing(this.#typed.box, this.#tool);
    this.draw();
    return true;
  }

  draw() {
    const canvas = this.#canvas;
    const ratio = devicePixelRatio || 1;
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = getComputedStyle(canvas).backgroundColor;
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    if (this.#image) context.drawImage(this.#image, 0, 0, width, height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const edited = this.#drag ?? this.#typed;
    for (const { number, row, ends } of this.#marks) {
      if (edited?.number === number) continue;
      this.#drawBox(row.box, colourOf(number), label(number, row, ends), row.status !== "tracking", number === this.#selected);
    }
    if (edited?.box) this.#drawBox(edited.box, edited.number ? colourOf(edited.number) : "#ffffff", "", false, true);
  }

  #drawBox(box, colour, text, dashed, grips) {
    const context = this.#context;
    const [x, y, w, h] = box.map((value, at) => value * this.#scale()[at % 2]);
    context.lineJoin = "round";
    for (const [style, line] of [["rgb(0 0 0 / .65)", 4], [colour, 2]]) {
      context.strokeStyle = style;
      context.lineWidth = line;
      context.setLineDash(dashed ? [7, 5] : []);
      context.strokeRect(x, y, w, h);
    }
    context.setLineDash([]);
    if (grips && w > 24 && h > 24) {
      for (const [u, v] of HANDLES) {
        context.fillStyle = "rgb(0 0 0 / .65)";
        context.fillRect(x + u * w - 4, y + v * h - 4, 8, 8);
        context.fillStyle = colour;
        context.fillRect(x + u * w - 3, y + v * h - 3, 6, 6);
      }
    }
    if (!text) return;
    context.font = "600 13px system-ui, sans-serif";
    const long = context.measureText(text).width + 10;
    const left = Math.min(Math.max(0, x - 1), Math.max(0, this.#canvas.clientWidth - long));
    const top = y > 22 ? y - 21 : Math.min(y + h + 2, this.#canvas.clientHeight - 20);
    context.fillStyle = colour;
    context.fillRect(left, top, long, 19);
    context.fillStyle = "#101010";
    context.textBaseline = "middle";
    context.fillText(text, left + 5, top + 10);
  }

  #scale() {
    return [this.#canvas.clientWidth / this.#size[0], this.#canvas.clientHeight / this.#size[1]];
  }

  #point(event) {
    const bounds = this.#canvas.getBoundingClientRect();
    const clamped = (value, most) => Math.min(Math.max(value, 0), most);
    return [
      clamped(((event.clientX - bounds.left) / bounds.width) * this.#size[0], this.#size[0]),
      clamped(((event.clientY - bounds.top) / bounds.height) * this.#size[1], this.#size[1]),
    ];
  }

  /** What lies under a point: {number, box, grip}, `grip` one of HANDLES or null for the inside; or null. */
  #under([px, py], touch) {
    const [sx, sy] = this.#scale();
    const reach = touch ? 22 : 9;
    const marks = [...this.#marks].sort((a, b) => (b.number === this.#selected) - (a.number === this.#selected));
    for (const { number, row } of marks) {
      const [x, y, w, h] = row.box;
      const small = Math.min(w * sx, h * sy) < 3 * reach; // so that a small box can still be moved
      const grip = HANDLES.findIndex(
        ([u, v]) => Math.hypot((x + u * w - px) * sx, (y + v * h - py) * sy) < (small ? reach / 2 : reach),
      );
      if (grip >= 0) return { number, box: row.box, grip };
      if (px >= x && px <= x + w && py >= y && py <= y + h) return { number, box: row.box, grip: -1 };
    }
    return null;
  }

  #down(event) {
    if (!this.#image || this.#drag || event.button !== 0) return;
    event.preventDefault();
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    const point = this.#point(event);
    const under = this.#tool === "any" ? this.#under(point, event.pointerType === "touch") : null;
    const number = under?.number ?? (this.#tool === "redraw" ? this.#selected : null);
    this.#typed = null;
    this.#drag = { pointer: event.pointerId, from: point, under, number, box: under?.box ?? null, moved: false };
    this.#on.begin();
    if (under) this.#on.selected(under.number);
  }

  #move(event) {
    const point = this.#point(event);
    const drag = this.#drag;
    if (!drag) {
      const under = this.#tool === "any" ? this.#under(point, false) : null;
      this.#canvas.style.cursor = under ? (under.grip < 0 ? "move" : `${CURSORS[under.grip]}-resize`) : "crosshair";
      return;
    }
    if (event.pointerId !== drag.pointer) return;
    const [sx, sy] = this.#scale();
    const [dx, dy] = [point[0] - drag.from[0], point[1] - drag.from[1]];
    drag.moved ||= Math.hypot(dx * sx, dy * sy) > 3;
    if (!drag.moved) return;
    if (!drag.under) drag.box = spanned(drag.from, point);
    else if (drag.under.grip < 0) {
      const [x, y, w, h] = drag.under.box;
      drag.box = this.#inside([x + dx, y + dy, w, h], true);
    } else {
      const [u, v] = HANDLES[drag.under.grip];
      const [x, y, w, h] = drag.under.box;
      const low = [x + (u === 0 ? dx : 0), y + (v === 0 ? dy : 0)];
      const high = [x + w + (u === 1 ? dx : 0), y + h + (v === 1 ? dy : 0)];
      drag.box = spanned(low, high);
    }
    this.draw();
  }

  #up(event) {
    const drag = this.#drag;
    if (!drag || event.pointerId !== drag.pointer) return;
    this.#drag = null;
    if (!drag.moved || drag.box[2] < SMALLEST || drag.box[3] < SMALLEST) {
      this.#on.cancelled();
      this.draw();
    } else this.#finish(drag.box, drag.number);
  }

  #place() {
    const number = this.#tool === "redraw" ? this.#selected : null;
    const known = this.#marks.find((mark) => mark.number === number)?.row.box;
    const [width, height] = this.#size;
    const box = (known ?? [width * 0.375, height * 0.375, width / 4, height / 4]).map(Math.round);
    this.#on.begin();
    this.#typed = { box, number };
    this.#on.placing(box, this.#tool);
    this.draw();
  }

  #finish(box, number) {
    this.use("any");
    this.#on.drawn(box, number);
  }

  /** A box within the frame: moved into it, or else cut. */
  #inside([x, y, w, h], move) {
    const [width, height] = this.#size;
    const wide = Math.min(Math.max(w, SMALLEST), move ? width : width - x);
    const high = Math.min(Math.max(h, SMALLEST), move ? height : height - y);
    return [Math.min(Math.max(x, 0), width - wide), Math.min(Math.max(y, 0), height - high), wide, high];
  }
}

function spanned([ax, ay], [bx, by]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.abs(bx - ax), Math.abs(by - ay)];
}

function label(number, row, ends) {
  if (ends) return `${number} ends here`;
  if (row.status === "lost") return `${number} LOST`;
  return row.given ? `${number}` : `${number}  ${row.presence.toFixed(2)}`;
}
