// Puts the page together: sources, playing, keys, the list of targets and downloads.

import { colourOf } from "./colours.js";
import { Run } from "./run.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";

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
let playing = false;
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
    const [itsRun, itsFrame] = [run, frame]; // those of begin(): nothing goes on while a box is drawn
    await work; // a step that was under way when the box was begun
    if (run !== itsRun) return; // another source was opened
    const added = !run.target(number); // none was meant, or it was removed meanwhile
    try {
      if (added) selected = run.add(itsFrame, box);
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
    const hints = {
      any: "Drag a box around what you want to follow; drag a box that is there to correct it.",
      new: "New target: drag its box, or press Enter to place one with the keys.",
      redraw: `Redraw target ${selected}: drag its box, or press Enter to place it with the keys.`,
    };
    $("hint").textContent = box
      ? `Box ${box.map(Math.round).join(", ")}. Arrows move it, Shift and arrows resize it; Enter takes it, Esc lets it be.`
      : hints[tool];
    $("new").setAttribute("aria-pressed", String(tool === "new"));
    if (box) say($("hint").textContent);
  },
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
  playing = false;
  $("opening").textContent = "Opening …";
  complain("");
  const opened = await queued(async () => {
    const about = await engine.open(choice, (text) => ($("opening").textContent = text));
    run = new Run();
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
  $("hint").textContent = "Drag a box around what you want to follow.";
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
  tellLosses();
  present(reply.image);
  return true;
}

async function play() {
  if (playing || !source || held) return;
  playing = true;
  const own = ++loop;
  const goesOn = () => playing && own === loop;
  pace = { from: performance.now(), frames: 0, tracker: 0 };
  refresh();
  let due = performance.now();
  while (goesOn()) {
    const more = await queued(() => (goesOn() ? advance() : true));
    if (!goesOn()) break;
    if (!more) {
      if (!source.live) say("The end.");
      playing = false;
    }
    pace.frames += 1;
    showSpeed();
    const rate = Number($("pace").value);
    if (rate > 0 && !source.live && playing) {
      due = Math.max(due + 1000 / (source.fps * rate), performance.now() - 100);
      await new Promise((done) => setTimeout(done, due - performance.now()));
    }
  }
  refresh();
}

async function pause() {
  playing = false;
  await work; // the step that is under way
  refresh();
  say(summary());
}

/** Show a frame; a live source goes no further back than its server remembers. */
function seek(number) {
  if (!source || held) return;
  playing = false;
  const wanted = Math.min(Math.max(Math.round(number) || 0, 0), known() - 1);
  heading = wanted;
  return queued(async () => {
    if (heading !== wanted) return; // the user is further already
    const reply = held ? null : await engine.show(wanted);
    if (heading === wanted) heading = null;
    if (held) reply?.image?.close(); // the frame on which a box is drawn stays
    if (held || !reply) return;
    frame = wanted;
    present(reply.image);
  }).then(() => refresh());
}

const back = () => seek((heading ?? frame) - 1);

/** One frame on, followed if there is something to follow. */
async function forward() {
  if (!source || held) return;
  playing = false;
  await queued(advance);
  refresh();
  say(summary());
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

function present(image) {
  last = Math.max(last, frame);
  stage.show(image, marks(), selected);
  refresh(!playing);
}

function marks() {
  return run.targets
    .map(({ number, rows }) => ({ number, row: rows.get(frame) }))
    .filter(({ row }) => row);
}

/** Bring everything but the picture up to date. */
function refresh(all = true) {
  if (!source) return;
  const count = known();
  $("source").textContent = $("source").title = `${source.name} · ${source.width}×${source.height} · ${engine.model}`;
  if (document.activeElement !== $("number")) $("number").value = frame;
  $("count").textContent = source.count ? `of ${source.count}` : "";
  $("seek").max = Math.max(count - 1, 1);
  $("seek").value = frame;
  $("play").toggleAttribute("data-playing", playing);
  $("play-word").textContent = playing ? "Pause" : "Play";
  $("undo").disabled = !run.canUndo;
  $("download").disabled = run.targets.length === 0;
  $("none").hidden = run.targets.length > 0;
  if (all) stage.show(null, marks(), selected);
  listTargets();
  if (all || performance.now() - drawnTimeline > 200) {
    timeline.show(run, frame, Math.max(count, 2));
    drawnTimeline = performance.now();
  }
}

function listTargets() {
  const list = $("targets");
  for (const item of [...list.children]) if (!run.target(Number(item.dataset.number))) item.remove();
  for (const target of run.targets) {
    const item = list.querySelector(`[data-number="${target.number}"]`) ?? addItem(target.number);
    const row = target.rows.get(frame);
    const status = row ? (row.given ? "given" : row.status === "lost" ? "LOST" : row.status) : "not here";
    if (target.number === selected && !item.classList.contains("selected")) list.scrollTop = item.offsetTop;
    item.classList.toggle("selected", target.number === selected);
    item.classList.toggle("lost", row?.status === "lost");
    item.querySelector(".name").setAttribute("aria-pressed", String(target.number === selected));
    item.querySelector(".status").textContent = row && !row.given ? `${status} · ${row.presence.toFixed(2)}` : status;
    item.querySelector("meter").value = row?.presence ?? 0;
    item.querySelector(".end").disabled = !row;
  }
}

function addItem(number) {
  const item = document.createElement("li");
  item.className = "target";
  item.dataset.number = number;
  item.style.setProperty("--colour", colourOf(number));
  const name = button("name", () => ((selected = number), refresh()));
  name.append(`Target ${number}`, Object.assign(document.createElement("span"), { className: "status" }));
  const meter = Object.assign(document.createElement("meter"), { min: 0, max: 1, low: 1 / 3, high: 2 / 3, optimum: 1 });
  meter.setAttribute("aria-label", `Presence of target ${number}`);
  const actions = document.createElement("div");
  actions.className = "do";
  const todo = [
    ["redraw", "Redraw", "Redraw in this frame (r)", () => redraw(number)],
    ["end", "End here", "This frame is its last one (e)", () => change(() => run.end(number, frame))],
    ["remove", "Remove", "Remove it from all frames", () => change(() => run.remove(number, frame))],
  ];
  for (const [kind, word, title, act] of todo) {
    const made = button(kind, act);
    made.textContent = word;
    made.title = title;
    made.setAttribute("aria-label", `${word}: target ${number}`);
    actions.append(made);
  }
  item.append(name, meter, actions);
  $("targets").append(item);
  return item;
}

function button(kind, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: kind });
  made.addEventListener("click", act);
  return made;
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

function tellLosses() {
  for (const { number, rows } of run.targets) {
    const [before, now] = [rows.get(frame - 1), rows.get(frame)];
    if (!before || !now || before.status === now.status) continue;
    if (now.status === "lost") say(`Target ${number} is lost in frame ${frame}.`);
    else if (before.status === "lost") say(`Target ${number} is found again in frame ${frame}.`);
  }
}

function summary() {
  const found = marks().map(({ number, row }) => `target ${number} ${row.given ? "given" : row.status}`);
  return [`Frame ${frame}`, ...found].join(", ");
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

async function download() {
  const kind = $("format").value;
  const made = await queued(() => engine.pack(kind, [...run.rows()], source));
  if (!made) return;
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(made.blob), download: made.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const KEYS = {
  " ": () => (playing ? pause() : play()),
  ArrowLeft: back,
  ArrowRight: forward,
  n: () => {
    if (playing) pause();
    stage.use("new");
  },
  r: () => redraw(selected ?? run.targets[0]?.number),
  e: () => run.row(selected, frame) && change(() => run.end(selected, frame)),
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
  $("play").onclick = () => (playing ? pause() : source && play());
  $("back").onclick = back;
  $("forward").onclick = forward;
  $("number").onchange = () => seek($("number").valueAsNumber);
  $("seek").oninput = () => seek($("seek").valueAsNumber);
  $("new").onclick = KEYS.n;
  $("undo").onclick = undo;
  $("download").onclick = download;
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
  wire();
  document.documentElement.dataset.ready = about.engine;
}

begin();
