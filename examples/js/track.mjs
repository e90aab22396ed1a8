// Follows targets through a video in Node, with onnxruntime-node, or with onnxruntime-web (WebAssembly, as in a browser):
//
//     npm install onnxruntime-web
//     ffmpeg -loglevel error -i clip.mp4 -f image2pipe -c:v ppm - | node track.mjs onnxruntime-web siamcar_pico.onnx 132,170,100,72
//
// Frames come as binary PPM images, one after the other; boxes go out as lines of CSV.
import { readFile } from "node:fs/promises";
import process from "node:process";
import { Tracker } from "./tracker.mjs";

// Frames of a stream of PPM images, which comes in pieces of any size.
async function* frames(stream) {
  let waiting = Buffer.alloc(0);
  for await (const piece of stream) {
    waiting = Buffer.concat([waiting, piece]);
    for (;;) {
      const header = /^P6\s+(?:#.*\n)*(\d+)\s+(\d+)\s+255\s/.exec(waiting.subarray(0, 200).toString("latin1"));
      if (!header && waiting.length > 200) throw new Error("expected binary PPM images (P6, 8 bits) as frames");
      const [width, height] = header ? [Number(header[1]), Number(header[2])] : [Infinity, 1];
      const end = header ? header[0].length + 3 * width * height : Infinity;
      if (waiting.length < end) break;
      yield { width, height, data: new Uint8Array(waiting.subarray(header[0].length, end)) };
      waiting = waiting.subarray(end);
    }
  }
  if (waiting.length) throw new Error("the last frame is cut off");
}

try {
  const [runtime, model, ...texts] = process.argv.slice(2);
  const boxes = texts.map((text) => text.split(",").map(Number));
  if (!boxes.length) throw new Error("usage: node track.mjs onnxruntime-node|onnxruntime-web MODEL.onnx X,Y,W,H .. < FRAMES.ppm");
  const ort = await import(runtime).then((module) => module.default ?? module);
  if (ort.env?.wasm) ort.env.wasm.numThreads = 1;
  const tracker = await Tracker.open(ort, await readFile(model), { logSeverityLevel: 3 });
  console.log("frame,target,x,y,w,h,score,presence,status");
  let number = 0;
  for await (const frame of frames(process.stdin)) {
    const found = number ? await tracker.update(frame) : await tracker.init(frame, boxes);
    found.forEach(({ box, score, presence, status }, n) => {
      const numbers = [...box.map((value) => value.toFixed(3)), score.toFixed(4), presence.toFixed(4)];
      console.log([number, n, ...numbers, status].join(","));
    });
    number += 1;
  }
  if (!number) throw new Error("expected frames, binary PPM images, on the standard input; got none");
} catch (error) {
  console.error(`track: ${String(error.message).split("\n")[0]}`);
  process.exitCode = 2;
}
