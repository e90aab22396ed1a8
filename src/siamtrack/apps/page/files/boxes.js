// The boxes of a run as files, and back. What each format says, and of which rows, is written in Python's
// siamtrack.video.boxes; a test holds this page to it.

const COLUMNS = ["frame", "target", "x", "y", "w", "h", "score", "presence", "status"];
const UNNAMED = "object";
const STATUSES = ["tracking", "uncertain", "lost"];
const LARGEST = { file: 64 << 20, frame: 2 ** 40, target: 10_000, label: 200 };

/** A number as files hold it. */
export const rounded = (value, digits = 4) => Number(value.toFixed(digits)) + 0; // + 0 turns -0 into 0
const lines = (rows, line) => rows.map((row) => `${line(row)}\n`).join("");
const pretty = (value) => `${JSON.stringify(value, null, 1)}\n`;

/** The classes of a clip's targets, in the order in which they first come, and that of one of them. */
const classes = ({ labels }) => [...new Set(labels)];
const labelOf = (target, { labels }) => labels[Math.min(target, labels.length) - 1];

/** The columns of csv, and the keys of json and jsonl: with the class at the end, unless none was named. */
const columns = (clip) => (classes(clip).every((name) => name === UNNAMED) ? COLUMNS : [...COLUMNS, "label"]);

function cells({ frame, target, box, score, presence, status }, clip) {
  const values = [frame, target, ...[...box, score, presence].map((value) => rounded(value)), status];
  return columns(clip).length > values.length ? [...values, labelOf(target, clip)] : values;
}

const quoted = (cell) => (/[",]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
const csvLine = (row, clip) => cells(row, clip).map(quoted).join(",");

function object(row, clip) {
  const names = columns(clip);
  return JSON.stringify(Object.fromEntries(cells(row, clip).map((cell, at) => [names[at], cell])));
}
const seen = (rows) => rows.filter(({ status }) => status !== "lost");

function byTarget(rows) {
  const found = new Map();
  for (const row of rows) {
    if (!found.has(row.target)) found.set(row.target, []);
    found.get(row.target).push(row);
  }
  return [...found].sort(([a], [b]) => a - b);
}

/** Frames of the clip, or where that is not known, up to the last row. */
const length = (rows, { count }) => Math.max(count ?? 0, rows.length ? rows.at(-1).frame + 1 : 0);

/** The frame from which on a target has no rows, given one row and the next; null where it has or the clip ends. */
const stop = ({ frame }, after, count) => (frame + 1 < (after?.frame ?? count) ? frame + 1 : null);

const stem = (name) => name.replace(/\.[^.]*$/, "");

function imageOf(frame, { name, images }) {
  return images.length ? images[frame] : `${stem(name)}_${String(frame).padStart(6, "0")}.jpg`;
}

/** The part of a box inside the frame as shares of its sides; null of a lost target and of no area. */
function shares({ box: [x, y, w, h], status }, { width, height }) {
  const [left, top, right, low] = [Math.max(0, x), Math.max(0, y), Math.min(width, x + w), Math.min(height, y + h)];
  if (status === "lost" || right <= left || low <= top) return null;
  return [left / width, top / height, (right - left) / width, (low - top) / height];
}

function txt(rows) {
  const targets = byTarget(rows);
  const gap = (row, before) => "nan,nan,nan,nan\n".repeat(before ? Math.max(0, row.frame - before.frame - 1) : 0);
  const line = ({ box }) => `${box.map((value) => rounded(value)).join(",")}\n`;
  const text = (own) => own.map((row, at) => gap(row, own[at - 1]) + line(row)).join("");
  return targets.length > 1
    ? Object.fromEntries(targets.map(([target, own]) => [`boxes-${target}.txt`, text(own)]))
    : text(rows);
}

function mot(rows) {
  return lines(seen(rows), ({ frame, target, box: [x, y, w, h], presence }) =>
    [frame + 1, target, ...[x + 1, y + 1, w, h, presence].map((value) => rounded(value)), -1, -1, -1].join(","),
  );
}

function coco(rows, clip) {
  const { name, width, height } = clip;
  const frames = [...new Set(rows.map(({ frame }) => frame))].sort((a, b) => a - b);
  const numbers = new Map(frames.map((frame, at) => [frame, at + 1]));
  return pretty({
    videos: [{ id: 1, name, file_name: name, width, height }],
    images: frames.map((frame) => ({
      id: numbers.get(frame),
      file_name: imageOf(frame, clip),
      width,
      height,
      video_id: 1,
      frame_id: frame,
    })),
    categories: classes(clip).map((category, at) => ({ id: at + 1, name: category, supercategory: "" })),
    annotations: seen(rows).map(({ frame, target, box, presence }, at) => ({
      id: at + 1,
      image_id: numbers.get(frame),
      category_id: classes(clip).indexOf(labelOf(target, clip)) + 1,
      bbox: box.map((value) => rounded(value)),
      area: rounded(box[2] * box[3]),
      iscrowd: 0,
      segmentation: [],
      track_id: target,
      attributes: { track_id: target },
      score: rounded(presence),
    })),
  });
}

function labelstudio(rows, clip) {
  const count = length(rows, clip);
  const mean = (some) => (some.length ? rounded(some.reduce((sum, row) => sum + row.presence, 0) / some.length) : 0);
  const result = byTarget(rows).flatMap(([target, own]) => {
    const sequence = own.flatMap((row, at) => {
      const inside = shares(row, clip);
      if (!inside) return [];
      const after = own[at + 1];
      const [x, y, width, height] = inside.map((share) => rounded(100 * share, 6));
      const number = row.frame + 1;
      const enabled = stop(row, after, count) === null && (!after || shares(after, clip) !== null);
      return [{ frame: number, time: rounded(number / clip.fps, 6), enabled, rotation: 0, x, y, width, height }];
    });
    if (!sequence.length) return [];
    const value = { framesCount: count, duration: rounded(count / clip.fps, 6), sequence, labels: [labelOf(target, clip)] };
    const about = { type: "videorectangle", from_name: "box", to_name: "video", origin: "prediction" };
    return [{ id: `target-${target}`, ...about, score: mean(own), value }];
  });
  return pretty([
    { data: { video: clip.name }, predictions: [{ model_version: "siamtrack", score: mean(rows), result }] },
  ]);
}

function cvat(rows, clip) {
  const count = length(rows, clip);
  const task = [
    ["name", clip.name],
    ["size", count],
    ["mode", "interpolation"],
    ["start_frame", 0],
    ["stop_frame", Math.max(0, count - 1)],
  ];
  const box = (frame, [x, y, w, h], outside) => {
    const corners = { xtl: x, ytl: y, xbr: x + w, ybr: y + h };
    const places = Object.entries(corners).map(([name, value]) => `${name}="${rounded(value)}"`);
    return `<box frame="${frame}" keyframe="1" outside="${Number(outside)}" occluded="0" ${places.join(" ")} z_order="0" />`;
  };
  const tracks = byTarget(rows).map(([target, own]) => {
    const boxes = own.flatMap((row, at) => {
      const lost = row.status === "lost";
      const end = lost ? null : stop(row, own[at + 1], count);
      return [box(row.frame, row.box, lost), ...(end === null ? [] : [box(end, row.box, true)])];
    });
    const label = escaped(labelOf(target, clip)).replaceAll('"', "&quot;");
    return `<track id="${target - 1}" label="${label}" source="auto">\n${boxes.join("\n")}\n</track>\n`;
  });
  const label = (name) => `<label><name>${escaped(name)}</name><type>rectangle</type><attributes /></label>`;
  const labels = `<labels>${classes(clip).map(label).join("")}</labels>`;
  const size = `<original_size><width>${clip.width}</width><height>${clip.height}</height></original_size>`;
  const facts = task.map(([name, value]) => `<${name}>${escaped(String(value))}</${name}>`).join("");
  const meta = `<meta><task>${facts}${labels}${size}<source>${escaped(clip.name)}</source></task></meta>`;
  return `<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>\n${meta}\n${tracks.join("")}</annotations>\n`;
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function yolo(rows, clip) {
  const files = {};
  const stems = new Map();
  for (const name of clip.images) {
    const other = stems.get(stem(name)) ?? name;
    if (other !== name) {
      throw new Error(
        `the format yolo has one file of boxes for '${other}' and '${name}': give the images different names`,
      );
    }
    stems.set(stem(name), name);
  }
  for (const row of rows) {
    const name = `labels/${stem(imageOf(row.frame, clip))}.txt`;
    files[name] ??= "";
    const inside = shares(row, clip);
    if (!inside) continue;
    const [x, y, w, h] = inside;
    const number = classes(clip).indexOf(labelOf(row.target, clip));
    files[name] += `${number} ${[x + w / 2, y + h / 2, w, h].map((share) => share.toFixed(6)).join(" ")}\n`;
  }
  const names = classes(clip);
  files["classes.txt"] = names.map((name) => `${name}\n`).join("");
  const listed = names.map((name, at) => `  ${at}: ${inYaml(name)}\n`).join("");
  files["data.yaml"] = `path: .\ntrain: images\nval: images\nnames:\n${listed}`;
  return files;
}

/** A text in YAML, which has JSON's escapes, and wants some more characters escaped. */
function inYaml(text) {
  const code = (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[\x7f-\x9f\u2028\u2029\ufeff]/g, code);
}

const FORMS = {
  csv: [".csv", (rows, clip) => `${columns(clip).join(",")}\n${lines(rows, (row) => csvLine(row, clip))}`],
  json: [".json", (rows, clip) => `[\n${rows.map((row) => object(row, clip)).join(",\n")}\n]\n`],
  jsonl: [".jsonl", (rows, clip) => lines(rows, (row) => object(row, clip))],
  txt: [".txt", txt],
  mot: [".txt", mot],
  coco: [".json", coco],
  yolo: [".zip", yolo],
  cvat: [".xml", cvat],
  labelstudio: [".json", labelstudio],
};

export const FORMATS = Object.keys(FORMS);

/** A run's rows as the texts of a format, by file name. */
export function renderBoxes(kind, rows, clip) {
  const [suffix, render] = FORMS[kind];
  const made = render(rows, clip);
  return typeof made === "string" ? { [`boxes${suffix}`]: made } : made;
}

/** The same as one file, {name, blob}; several texts become a zip file. */
export function packBoxes(kind, rows, clip) {
  const texts = Object.entries(renderBoxes(kind, rows, clip));
  if (texts.length === 1) return { name: texts[0][0], blob: new Blob([texts[0][1]]) };
  return { name: "boxes.zip", blob: zipped(texts) };
}

/**
 * Read boxes back, from a File in the formats json or jsonl: [{frame, target, box, score, presence, status, label}].
 * What is not such a file is told in a line.
 */
export async function readBoxes(file) {
  const wrong = (why) => new Error(`${file.name} ${why}: expected boxes as Download writes them in JSON or JSON Lines.`);
  if (file.size > LARGEST.file) throw wrong(`has more than ${LARGEST.file >> 20} MB`);
  const text = (await file.text()).trim();
  let found;
  try {
    found = text.startsWith("[") ? JSON.parse(text) : text.split("\n").map((line) => JSON.parse(line));
  } catch {
    throw wrong("is not JSON");
  }
  if (!found.length) throw wrong("has no boxes");
  return found.map((entry, at) => {
    const row = readRow(entry ?? {});
    if (!row) throw wrong(`has something else in entry ${at + 1}`);
    return row;
  });
}

function readRow({ frame, target, x, y, w, h, score, presence, status, label = UNNAMED }) {
  const counts = Number.isInteger(frame) && frame >= 0 && frame < LARGEST.frame && Number.isInteger(target);
  const numbered = counts && target >= 1 && target <= LARGEST.target;
  const boxed = [x, y, w, h].every(Number.isFinite) && w > 0 && h > 0;
  const rated = [score, presence].every((value) => Number.isFinite(value) && value >= 0 && value <= 1);
  const told = STATUSES.includes(status) && typeof label === "string" && label.length <= LARGEST.label;
  return numbered && boxed && rated && told ? { frame, target, box: [x, y, w, h], score, presence, status, label } : null;
}

/** A zip file of texts, which are not compressed (APPNOTE.TXT 4.3: local headers, central directory, its end). */
function zipped(texts) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [name, text] of texts) {
    const [title, data] = [name, text].map((some) => new TextEncoder().encode(some));
    // version 2.0, UTF-8 names, stored, 1 January 1980
    const facts = [20, 2, 0x0800, 2, 0, 2, 0, 2, 0x21, 2, crc32(data), 4, data.length, 4, data.length, 4, title.length, 2, 0, 2];
    const local = packed([0x04034b50, 4, ...facts]);
    directory.push(packed([0x02014b50, 4, 20, 2, ...facts, 0, 2, 0, 2, 0, 2, 0, 4, offset, 4]), title);
    parts.push(local, title, data);
    offset += local.length + title.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = packed([0x06054b50, 4, 0, 2, 0, 2, texts.length, 2, texts.length, 2, size, 4, offset, 4, 0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Numbers in little endian: value, bytes, value, bytes, ... */
function packed(numbers) {
  const bytes = [];
  for (let at = 0; at < numbers.length; at += 2) {
    for (let byte = 0; byte < numbers[at + 1]; byte++) bytes.push((numbers[at] >>> (8 * byte)) & 255);
  }
  return Uint8Array.from(bytes);
}

function crc32(data) {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}
