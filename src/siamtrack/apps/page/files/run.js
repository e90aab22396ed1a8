// The targets of one run: their boxes by frame, what has to be followed next, and undo. Knows nothing of the screen.

const MOST_UNDO = 50;
const NOT_IN_TEXT = /[\p{Cc}\p{Cs}\ufffe\uffff]/gu; // what files of text have no place for

/**
 * A row is what is known of a target in one frame:
 * {box: [x, y, w, h], score, presence, status, key, given}. `key` names the stretch that begins with a given box;
 * a corrected box begins a stretch with a new key, so that an engine keeps the states of the old one for undo.
 */
export class Run {
  targets = []; // {number, label, rows: rows by frame, ends: the frames that it was ended in}
  changes = 0; // counts them: the boxes are others than before where this is
  #keys = 0;
  #numbers = 0;
  #begun = new Set();
  #before = [];

  /** Add a target of a class with its box in a frame; returns its number, counted from 1. */
  add(frame, box, label) {
    this.#remember(frame);
    const target = { number: ++this.#numbers, label, rows: new Map(), ends: new Set() };
    this.targets.push(target);
    this.#give(target, frame, box);
    return target.number;
  }

  /** Give a target's box in a frame: what was found after it is dropped, and the target goes on from here. */
  correct(number, frame, box) {
    this.#remember(frame);
    const target = this.target(number);
    dropAfter(target, frame);
    this.#give(target, frame, box);
  }

  /** Let a target go: `frame` is the last one that it is in. */
  end(number, frame) {
    this.#remember(frame);
    const target = this.target(number);
    dropAfter(target, frame);
    target.ends.add(frame);
  }

  /** Take it back that a target was ended in a frame. */
  goOn(number, frame) {
    this.#remember(frame);
    this.target(number).ends.delete(frame);
  }

  /** Change the class of a target. */
  rename(number, label, frame) {
    this.#remember(frame);
    this.target(number).label = plain(label);
  }

  remove(number, frame) {
    this.#remember(frame);
    this.targets = this.targets.filter((target) => target.number !== number);
  }

  /**
   * Take the rows of a file, [{frame, target, label, box, score, presence, status}], in place of all targets.
   *
   * How the targets looked is not known to an engine: wherever one is followed on it begins anew, so each row has a key
   * of its own. A target that has no box in the last frame of the file, or is lost there, ends with its last row.
   */
  load(rows, frame) {
    this.#remember(frame);
    const last = rows.reduce((most, row) => Math.max(most, row.frame), 0);
    const found = new Map();
    for (const { target: number, label, frame: at, ...row } of rows) {
      if (!found.has(number)) found.set(number, { number, label: plain(label), rows: new Map(), ends: new Set() });
      found.get(number).rows.set(at, { ...row, key: ++this.#keys, given: row.score === 1 && row.presence === 1 });
    }
    for (const { rows: own, ends } of found.values()) {
      for (const [at, { status }] of own) if (!own.has(at + 1) && (at < last || status === "lost")) ends.add(at);
    }
    this.targets = [...found.values()].sort((a, b) => a.number - b.number);
    this.#numbers = Math.max(this.#numbers, ...found.keys());
  }

  /** Take the last change back; returns the frame that it was made in, or null if there is none. */
  undo() {
    const before = this.#before.pop();
    if (!before) return null;
    for (const target of before.targets) {
      // What the change left alone has been followed further since, and keeps that.
      for (const [frame, row] of this.target(target.number)?.rows ?? []) {
        const goesOn = !row.given && !target.ends.has(frame - 1) && target.rows.get(frame - 1)?.key === row.key;
        if (goesOn && !target.rows.has(frame)) target.rows.set(frame, row);
      }
    }
    this.targets = before.targets;
    this.changes += 1;
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

  /** Why a target has no box in a frame, and the frame that this is about: ["begins" | "ended" | "behind", frame]. */
  absence(number, frame) {
    const { rows, ends } = this.target(number);
    let before = -1;
    let first = Infinity;
    for (const known of rows.keys()) {
      if (known < frame) before = Math.max(before, known);
      first = Math.min(first, known);
    }
    if (before < 0) return ["begins", first];
    return [ends.has(before) ? "ended" : "behind", before];
  }

  /** The targets that were neither followed to a frame nor ended before it: [{number, last}]. */
  behind(frame) {
    const missing = this.targets.filter(({ rows }) => !rows.has(frame));
    const told = missing.map(({ number }) => [number, ...this.absence(number, frame)]);
    return told.filter(([, why]) => why === "behind").map(([number, , last]) => ({ number, last }));
  }

  /** The frames without a box after which or between which a target was not ended: [{number, after, before}]. */
  gaps(count) {
    return this.targets.flatMap(({ number, rows, ends }) => {
      const known = [...rows.keys()].sort((a, b) => a - b);
      const next = [...known.slice(1), count];
      return known
        .map((after, at) => ({ number, after, before: next[at] }))
        .filter(({ after, before }) => after + 1 < before && !ends.has(after));
    });
  }

  /** What an engine has to follow from a frame into the next: {given: [[key, box]], kept: [key]}. */
  due(frame) {
    const given = [];
    const kept = [];
    for (const target of this.targets) {
      const row = target.rows.get(frame);
      if (!row || target.ends.has(frame) || target.rows.has(frame + 1)) continue;
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
      if (!target || target.ends.has(frame - 1) || target.rows.has(frame)) continue;
      this.changes += 1;
      target.rows.set(frame, { box: [x, y, w, h], score, presence, status, key, given: false });
    }
  }

  /** The classes as the downloads have them: of targets 1, 2, ... in turn; a removed one has that of the first left. */
  get labels() {
    const most = Math.max(...this.targets.map(({ number }) => number));
    return Array.from({ length: most }, (_, at) => (this.target(at + 1) ?? this.targets[0]).label);
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
    this.changes += 1;
    const copied = ({ rows, ends, ...target }) => ({ ...target, rows: new Map(rows), ends: new Set(ends) });
    const targets = this.targets.map(copied);
    this.#before.push({ targets: this.targets, frame });
    this.targets = targets;
    if (this.#before.length > MOST_UNDO) this.#before.shift();
  }
}

const plain = (label) => label.replace(NOT_IN_TEXT, "").trim() || "object";

/** Drop what is known of a target after a frame, and that it was ended there or later. */
function dropAfter({ rows, ends }, frame) {
  for (const known of [...rows.keys()]) if (known > frame) rows.delete(known);
  for (const known of [...ends]) if (known >= frame) ends.delete(known);
}
