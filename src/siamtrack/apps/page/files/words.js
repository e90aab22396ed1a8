// What the page says of a run: hints, what is read out, and what a download lacks.

const PLACING = "Arrows move it, Shift and arrows resize it; Enter takes it, Esc lets it be.";
const USUAL = "Drag a box around what you want to follow; drag a box that is there to correct it.";

/** Up to four of them, and how many more there are. */
function listed(texts) {
  const more = texts.length > 4 ? [`${texts.length - 4} more`] : [];
  return [...texts.slice(0, 4), ...more].join(", ");
}

/** What can be done now. `placed` is {box, tool} of the stage, `goal` the frame that is followed up to, or null. */
export function hint(run, { frame, selected, placed, goal, playing, live }) {
  if (placed.box) return `Box ${placed.box.map(Math.round).join(", ")}. ${PLACING}`;
  if (placed.tool === "new") return "New target: drag its box, or press Enter to place one with the keys.";
  if (placed.tool === "redraw") {
    return `Redraw target ${selected}: drag its box, or press Enter to place it with the keys.`;
  }
  if (goal !== null) return `Following up to frame ${goal} …`;
  const behind = run.behind(frame).map(({ number, last }) => `target ${number} (to frame ${last})`);
  if (!behind.length) return USUAL;
  const play = playing ? "Pause and play again" : "Play";
  const todo = live ? "Redraw it here, or end it there." : `${play} to follow it from there; or redraw it here, or end it there.`;
  return `Not followed up to here: ${listed(behind)}. ${todo}`;
}

/** Targets that are lost, or found again, since the frame before; each as a sentence. */
export function losses(run, frame) {
  return run.targets.flatMap(({ number, rows }) => {
    const [before, now] = [rows.get(frame - 1), rows.get(frame)];
    if (!before || !now || before.status === now.status) return [];
    if (now.status === "lost") return [`Target ${number} is lost in frame ${frame}.`];
    return before.status === "lost" ? [`Target ${number} is found again in frame ${frame}.`] : [];
  });
}

export function summary(run, frame) {
  const told = run.targets.flatMap(({ number, rows }) => {
    const row = rows.get(frame);
    if (row) return [`target ${number} ${row.given ? "given" : row.status}`];
    return run.absence(number, frame)[0] === "behind" ? [`target ${number} not followed up to here`] : [];
  });
  return [`Frame ${frame}`, ...told].join(", ");
}

/** What a file of a run's boxes lacks: frames, of `count`, in which a target that was not ended was not followed. */
export function missing(run, count) {
  const told = run.gaps(count).map(({ number, after, before }) => {
    const where = before < count ? `in frames ${after + 1} to ${before - 1}` : `after frame ${after}`;
    return `target ${number} ${where}`;
  });
  return told.length ? ` Not followed, so without boxes: ${listed(told)}.` : "";
}
