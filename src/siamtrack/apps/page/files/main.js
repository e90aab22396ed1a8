// Puts the page together: sources, playing, keys, targets, downloads and boxes that are loaded again.

import { readBoxes, rounded } from "./boxes.js";
import { Run } from "./run.js";
import { Stage } from "./stage.js";
import { TargetList } from "./targets.js";
import { Timeline } from "./timeline.js";
import { hint, losses, missing, summary } from "./words.js";

const $ = (id) => document.getElementById(id);
const FORMATS = {
  csv: "CSV",
  json: "JSON",
  jsonl: "JSON Lines",
  txt: "Text, x,y,w,h",
  mot: "MOTChallenge",
  coco: "COCO",
  yolo: "YOLO",
  cvat: "CVAT for video",
  labelstudio: "Label Studio",
};
const ENGINES = {
  server: async (about) => new (await import("./engine_server.js")).ServerEngine(about),
  wasm: async (about) => {
    const { isolate, WasmEngine } = await import("./engine_wasm.js");
    return (await isolate()) && new WasmEngine(about);
  },
};

let engine;
let source = null; // {name, width, height, fps, count, live, images}
let run = new Run();
let frame = 0; // the one that is shown
let last = 0; // the largest that was seen
let heading = null; // the one that the user is going to
let selected = null;
let label = ""; // the class of the next new target
let saved = { changes: 0, note: "" }; // the run's changes when it was downloaded last, and what was said then
let placed = { box: null, tool: "any" }; // what the stage is busy with
let playing = false;
let goal = null; // the frame up to which targets that were left behind are being followed
let loop = 0; // the number of times that playing began: of several loops the last one goes on
let held = false; // a box is being drawn on the frame that is shown
let resume = false; // whether it was playing when that began
let work = Promise.resolve(); // what the engine does, one thing after the other
let drawnTimeline = 0;
let pace = { from: 0, frames: 0, tracker: 0 };

const stage = new Stage($("stage"), {
  begin() {
    if (!held) resume = playing;
    held = true;
    playing = false;
    refresh();
  },
  cancelled() {
    held = false;
    if (resume) play();
  },
  async drawn(box, number) {
    box = box.map((value) => rounded(value)); // as it is downloaded: begun again with that, the run is the same
    const [itsRun, itsFrame] = [run, frame]; // those of begin(): nothing goes on while a box is drawn
    await work; // a step that was under way when the box was begun
    if (run !== itsRun) return; // another source was opened
    const added = !run.target(number); // none was meant, or it was removed meanwhile
    try {
      if (added) selected = run.add(itsFrame, box, label);
      else run.correct(number, itsFrame, box);
    } finally {
      held = stage.busy; // with the next box
    }
    resume ||= added;
    say(added ? `Target ${selected} added in frame ${itsFrame}.` : `Target ${number} corrected in frame ${itsFrame}.`);
    refresh();
    if (resume) play();
  },
  selected(number) {
    selected = number;
    refresh();
  },
  placing(box, tool) {
    placed = { box, tool };
    showHint();
    $("new").setAttribute("aria-pressed", String(tool === "new"));
    if (box) say($("hint").textContent);
  },
});
const list = new TargetList($("targets"), $("classes"), {
  select(number) {
    selected = number;
    refresh();
  },
  rename(number, text) {
    if (!text.trim() || text === run.target(number).label) return;
    change(() => run.rename(number, text, frame)).then(() => (label = run.target(number)?.label ?? label));
  },
  redraw,
  end(number, last) {
    change(() => run.end(number, last));
    say(`Target ${number} ends in frame ${last}.`);
  },
  goOn(number, last) {
    change(() => run.goOn(number, last));
    say(`Target ${number} goes on after frame ${last}.`);
  },
  async follow(number, from) {
    if (playing) await pause();
    if (run.target(number).ends.has(from)) await change(() => run.goOn(number, from));
    play({ from, stay: true });
  },
  remove: (number) => change(() => run.remove(number, frame)),
});
const timeline = new Timeline($("timeline"), (number) => seek(number));

/** Do one thing of the engine's after all others; errors are shown, and playing stops. */
function queued(task) {
  const done = work.then(task).catch((error) => {
    playing = false;
    complain(error.message);
    refresh();
    return null;
  });
  work = done;
  return done;
}

async function open(choice) {
  const question = `Boxes of ${source?.name} changed after the last download. Open another source without them?`;
  if (unsaved() && !confirm(question)) return;
  playing = false;
  $("opening").textContent = "Opening …";
  complain("");
  const opened = await queued(async () => {
    const about = await engine.open(choice, (text) => ($("opening").textContent = text));
    run = new Run();
    saved = { changes: 0, note: "" };
    source = about;
    selected = null;
    frame = last = 0;
    held = resume = false;
    heading = null;
    stage.resize(about.width, about.height);
    const first = await engine.show(0);
    stage.show(first?.image ?? null, [], null);
    return about;
  });
  $("opening").textContent = "";
  if (!opened) return;
  $("sources").close();
  $("empty").hidden = true;
  $("stage").focus({ preventScroll: true });
  say(`${opened.name} is open.`);
  refresh();
  if (opened.live) play();
}

/** Go one frame on; returns whether there was one. */
async function advance() {
  const due = run.due(frame);
  const idle = due.given.length + due.kept.length === 0;
  const reply = await (idle ? engine.show(frame + 1) : engine.step(frame, due));
  if (!reply) {
    source.count = frame + 1;
    return false;
  }
  if (reply.found) {
    run.record(frame + 1, reply.found);
    pace.tracker += reply.seconds;
  }
  if (held) {
    reply.image?.close(); // the frame on which a box is drawn stays; this one comes again
    return true;
  }
  frame += 1;
  for (const told of losses(run, frame)) say(told);
  present(reply.image);
  return true;
}

/**
 * Play on from the frame that is shown. With `from`, an earlier frame, targets are first followed from there up to the
 * frame that is shown; `stay` ends it there.
 */
async function play({ from = null, stay = false } = {}) {
  if (playing || !source || held) return;
  playing = true;
  const own = ++loop;
  const goesOn = () => playing && own === loop;
  goal = from === null ? null : frame;
  refresh();
  if (from !== null) await queued(() => goesOn() && show(from));
  pace = { from: performance.now(), frames: 0, tracker: 0 };
  let due = performance.now();
  while (goesOn()) {
    if (goal !== null && frame >= goal) {
      say(`Followed up to frame ${goal}.`);
      goal = null;
      due = performance.now();
      playing = !stay;
      continue;
    }
    const more = await queued(() => (goesOn() ? advance() : true));
    if (!goesOn()) break;
    if (!more) {
      if (!source.live) say("The end.");
      playing = false;
    }
    pace.frames += 1;
    showSpeed();
    const rate = Number($("pace").value);
    if (rate > 0 && !source.live && playing && goal === null) {
      due = Math.max(due + 1000 / (source.fps * rate), performance.now() - 100);
      await new Promise((done) => setTimeout(done, due - performance.now()));
    }
  }
  if (own === loop) goal = null;
  refresh();
}

/** Play, and follow first what was left behind; of a live source those frames are gone. */
function start() {
  const behind = source.live ? [] : run.behind(frame);
  return play(behind.length ? { from: Math.min(...behind.map((some) => some.last)) } : {});
}

async function pause() {
  playing = false;
  await work; // the step that is under way
  refresh();
  say(summary(run, frame));
}

/** Show a frame; a live source goes no further back than its server remembers. */
function seek(number) {
  if (!source || held) return;
  playing = false;
  const wanted = within(number);
  heading = wanted;
  return queued(async () => {
    if (heading !== wanted) return; // the user is further already
    await show(wanted);
    if (heading === wanted) heading = null;
  }).then(() => {
    refresh();
    if (run.behind(frame).length) say($("hint").textContent);
  });
}

async function show(number) {
  const reply = held ? null : await engine.show(number);
  if (held) reply?.image?.close(); // the frame on which a box is drawn stays
  if (held || !reply) return;
  frame = number;
  present(reply.image);
}

/** Go to the frame that was typed in, or the nearest that there is. */
async function seekTyped() {
  const field = $("number");
  if (source && !Number.isNaN(field.valueAsNumber)) {
    field.value = within(field.valueAsNumber);
    await seek(field.valueAsNumber);
  }
  field.value = frame;
}

const back = () => seek((heading ?? frame) - 1);

/** One frame on, followed if there is something to follow. */
async function forward() {
  if (!source || held) return;
  playing = false;
  await queued(advance);
  refresh();
  say(summary(run, frame));
}

function undo() {
  if (!run.canUndo || held) return;
  const back = run.undo();
  if (!run.target(selected)) selected = null;
  say("Undone.");
  refresh();
  seek(back);
}

const known = () => source?.count ?? last + 1;
const within = (number) => Math.min(Math.max(Math.round(number) || 0, 0), known() - 1);

function present(image) {
  last = Math.max(last, frame);
  stage.show(image, marks(), selected);
  refresh(!playing);
}

function marks() {
  return run.targets
    .map(({ number, rows, ends }) => ({ number, row: rows.get(frame), ends: ends.has(frame) }))
    .filter(({ row }) => row);
}

/** Bring everything but the picture up to date. */
function refresh(all = true) {
  if (!source) return;
  const count = known();
  for (const id of ["back", "play", "forward", "number", "seek", "new"]) $(id).disabled = false;
  $("source").textContent = $("source").title = `${source.name} · ${source.width}×${source.height} · ${engine.model}`;
  if (document.activeElement !== $("number")) $("number").value = frame;
  $("number").max = count - 1;
  $("count").textContent = source.count ? `of ${source.count}` : "";
  $("seek").max = Math.max(count - 1, 1);
  $("seek").value = frame;
  $("play").toggleAttribute("data-playing", playing);
  $("play-word").textContent = playing ? "Pause" : "Play";
  $("undo").disabled = !run.canUndo;
  $("download").disabled = run.targets.length === 0;
  $("load").disabled = source.live;
  $("saved").textContent = unsaved() ? "" : saved.note;
  showHint();
  $("none").hidden = run.targets.length > 0;
  if (all) stage.show(null, marks(), selected);
  list.offer(run.targets.map((target) => target.label));
  list.show(run, frame, selected);
  if (all || performance.now() - drawnTimeline > 200) {
    timeline.show(run, frame, Math.max(count, 2));
    drawnTimeline = performance.now();
  }
}

async function change(act) {
  if (stage.busy) stage.cancel(); // the box that is placed may be one of this target's
  await work;
  act();
  if (!run.target(selected)) selected = null;
  refresh();
}

function redraw(number) {
  if (!run.target(number)) return;
  selected = number;
  if (playing) pause();
  stage.use("redraw");
  refresh();
}

function showHint() {
  const text = hint(run, { frame, selected, placed, goal, playing, live: source?.live });
  if ($("hint").textContent !== text) $("hint").textContent = text;
}

function showSpeed() {
  const seconds = (performance.now() - pace.from) / 1000;
  if (seconds < 0.4) return;
  const tracker = pace.tracker ? `, ${((1000 * pace.tracker) / pace.frames).toFixed(0)} ms in the tracker` : "";
  $("speed").textContent = `${(pace.frames / seconds).toFixed(1)} frames a second${tracker}`;
  if (seconds > 2) pace = { from: performance.now(), frames: 0, tracker: 0 };
}

function say(text) {
  $("said").textContent = text;
}

function complain(message) {
  const error = $("error");
  error.textContent = message;
  error.hidden = !message;
  ($("sources").open ? $("sources").firstElementChild : document.body).append(error);
}

const unsaved = () => run.targets.length > 0 && run.changes !== saved.changes;

async function download() {
  const [itsRun, kind] = [run, $("format").value];
  const made = await queued(async () => {
    const { changes } = run; // nothing is followed while a file is made
    const file = await engine.pack(kind, [...run.rows()], { ...source, labels: run.labels });
    return { ...file, changes, note: `${file.name} is downloaded.${missing(run, known())}` };
  });
  if (!made) return;
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(made.blob), download: made.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  if (run === itsRun) saved = made;
  refresh();
}

/** Take the boxes of a file in place of those that are there; Undo brings these back. */
async function load(file) {
  if (!file || !source) return;
  if (stage.busy) stage.cancel();
  playing = false;
  const end = await queued(async () => {
    const rows = await readBoxes(file);
    const most = rows.reduce((found, row) => Math.max(found, row.frame), 0);
    if (source.count && most >= source.count) {
      const told = `${file.name} has a box in frame ${most}, and ${source.name} ends with frame ${source.count - 1}`;
      throw new Error(`${told}: choose the file of this source.`);
    }
    run.load(rows, frame);
    return most;
  });
  if (end === null) return;
  selected = null;
  last = Math.max(last, end);
  const many = run.targets.length > 1 ? "s" : "";
  saved = { changes: run.changes, note: `Loaded from ${file.name}: ${run.targets.length} target${many}.` };
  say(saved.note);
  await seek(end);
}

const KEYS = {
  " ": () => (playing ? pause() : start()),
  ArrowLeft: back,
  ArrowRight: forward,
  n: () => {
    if (playing) pause();
    stage.use("new");
  },
  r: () => redraw(selected ?? run.targets[0]?.number),
  e: () => run.target(selected) && list.end(selected),
  u: undo,
};

document.addEventListener("keydown", (event) => {
  const within = event.target instanceof HTMLElement ? event.target : document.body;
  if (event.altKey || $("sources").open || within.matches("input, select, textarea")) return;
  if (within.matches("button, summary") && [" ", "Enter"].includes(event.key)) return;
  if (source && stage.key(event)) {
    event.preventDefault();
    return;
  }
  if (event.ctrlKey || event.metaKey || stage.busy) return;
  const number = Number(event.key);
  if (number >= 1 && run.target(number)) {
    selected = number;
    refresh();
  } else if (KEYS[event.key] && source) {
    event.preventDefault();
    if (!event.repeat || event.key.startsWith("Arrow")) KEYS[event.key]();
  }
});

function wire() {
  const choose = () => {
    complain("");
    $("sources").showModal();
  };
  $("open").onclick = $("open-first").onclick = choose;
  $("play").onclick = () => (playing ? pause() : start());
  $("back").onclick = back;
  $("forward").onclick = forward;
  $("number").onchange = seekTyped;
  $("seek").oninput = () => seek($("seek").valueAsNumber);
  $("new").onclick = KEYS.n;
  $("undo").onclick = undo;
  $("download").onclick = download;
  $("load").onchange = () => {
    load($("load").files[0]);
    $("load").value = ""; // so that the same file can be chosen again
  };
  $("error").onclick = () => complain("");
  for (const kind of engine.formats) $("format").append(new Option(FORMATS[kind] ?? kind, kind));

  const { given, files, camera, upload, stream } = engine.choices;
  for (const [name, offered] of Object.entries({ given, upload, camera, stream, files: files?.length })) {
    $(`choice-${name}`).hidden = !offered;
  }
  if (camera === "device") {
    $("camera").hidden = true;
    $("camera-label").textContent = "The camera of this device";
  }
  $("given").textContent = `Open ${given}`;
  for (const name of files ?? []) $("file").append(new Option(name));
  $("given").onclick = () => open({ kind: "given" });
  $("upload").onchange = () => {
    const order = new Intl.Collator("en", { numeric: true });
    const chosen = [...$("upload").files].sort((a, b) => order.compare(a.name, b.name));
    $("upload").value = "";
    if (chosen.length) open({ kind: "upload", files: chosen });
  };
  $("open-file").onclick = () => open({ kind: "file", name: $("file").value });
  $("open-camera").onclick = () => open({ kind: "camera", name: $("camera").value });
  $("open-stream").onclick = () => open({ kind: "stream", name: $("stream").value });
  if (given) open({ kind: "given" });
}

async function begin() {
  const about = await (await fetch("page.json")).json();
  engine = await ENGINES[about.engine](about);
  if (!engine) return;
  [label] = engine.labels;
  list.offer(engine.labels);
  wire();
  addEventListener("beforeunload", (event) => unsaved() && event.preventDefault());
  document.documentElement.dataset.ready = about.engine;
}

begin();
