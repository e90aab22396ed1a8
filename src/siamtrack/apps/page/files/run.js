// The targets of one run: their boxes by frame, what has to be followed next, and undo. Knows nothing of the screen.

const MOST_UNDO = 50;

/**
 * A row is what is known of a target in one frame:
 * {box: [x, y, w, h], score, presence, status, key, given}. `key` names the stretch that begins with a given box;
 * a corrected box begins a stretch with a new key, so that an engine keeps the states of the old one for undo.
 */
export class Run {
  targets = [];
  #keys = 0;
  #numbers = 0;
  #begun = new Set();
  #before = [];

  /** Add a target with its box in a frame; returns its number, counted from 1. */
  add(frame, box) {
    this.#remember(frame);
    const target = { number: ++this.#numbers, rows: new Map(), end: null };
    this.targets.push(target);
    this.#give(target, frame, box);
    return target.number;
  }

  /** Give a target's box in a frame: what was found after it is dropped, and the target goes on from here. */
  correct(number, frame, box) {
    this.#remember(frame);
    const target = this.target(number);
    dropAfter(target, frame);
    target.end = null;
    this.#give(target, frame, box);
  }

  /** Let a target go: `frame` is the last one that it is in. */
  end(number, frame) {
    this.#remember(frame);
    const target = this.target(number);
    dropAfter(target, frame);
    target.end = frame;
  }

  remove(number, frame) {
    this.#remember(frame);
    this.targets = this.targets.filter((target) => target.number !== number);
  }

  /** Take the last change back; returns the frame that it was made in, or null if there is none. */
  undo() {
    const before = this.#before.pop();
    if (!before) return null;
    for (const target of before.targets) {
      // What the change left alone has been followed further since, and keeps that.
      for (const [frame, row] of this.target(target.number)?.rows ?? []) {
        const goesOn = !row.given && target.end !== frame - 1 && target.rows.get(frame - 1)?.key === row.key;
        if (goesOn && !target.rows.has(frame)) target.rows.set(frame, row);
      }
    }
    this.targets = before.targets;
    return before.frame;
  }

  get canUndo() {
    return this.#before.length > 0;
  }

  target(number) {
    return this.targets.find((target) => target.number === number);
  }

  row(number, frame) {
    return this.target(number)?.rows.get(frame);
  }

  /** What an engine has to follow from a frame into the next: {given: [[key, box]], kept: [key]}. */
  due(frame) {
    const given = [];
    const kept = [];
    for (const target of this.targets) {
      const row = target.rows.get(frame);
      if (!row || target.end === frame || target.rows.has(frame + 1)) continue;
      if (this.#begun.has(row.key)) kept.push(row.key);
      else given.push([row.key, row.box]);
    }
    return { given, kept };
  }

  /** Take in what an engine found in a frame: [[key, x, y, w, h, score, presence, status]]. */
  record(frame, found) {
    for (const [key, x, y, w, h, score, presence, status] of found) {
      this.#begun.add(key);
      // A target that was corrected, ended or removed meanwhile has no such row before this one.
      const target = this.targets.find(({ rows }) => rows.get(frame - 1)?.key === key);
      if (!target || target.end === frame - 1 || target.rows.has(frame)) continue;
      target.rows.set(frame, { box: [x, y, w, h], score, presence, status, key, given: false });
    }
  }

  /** Every row as the downloads have it, by frame and then by target. */
  *rows() {
    const frames = new Set(this.targets.flatMap(({ rows }) => [...rows.keys()]));
    for (const frame of [...frames].sort((a, b) => a - b)) {
      for (const { number, rows } of this.targets) {
        const row = rows.get(frame);
        if (row) yield { frame, target: number, ...row };
      }
    }
  }

  #give(target, frame, box) {
    const row = { box, score: 1, presence: 1, status: "tracking", key: ++this.#keys, given: true };
    target.rows.set(frame, row);
  }

  #remember(frame) {
    const targets = this.targets.map((target) => ({ ...target, rows: new Map(target.rows) }));
    this.#before.push({ targets: this.targets, frame });
    this.targets = targets;
    if (this.#before.length > MOST_UNDO) this.#before.shift();
  }
}

function dropAfter(target, frame) {
  for (const known of [...target.rows.keys()]) if (known > frame) target.rows.delete(known);
}
