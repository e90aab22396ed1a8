"""Follow several targets at once: they share one network, and each frame is read once.

    python examples/many_targets.py clip.mp4 --box 40,30,32,24 --box 100,70,28,30 --out tracked.mp4

Everything that changes from frame to frame is in `state`. Keep an old state and step again from it to go back;
keep one state for each video to follow many videos with one engine.
"""

import argparse

import siamtrack
from siamtrack.tracking.tracker import results
from siamtrack.video.draw import Mark, Trails, draw
from siamtrack.video.reader import open_source
from siamtrack.video.writer import VideoWriter

parser = argparse.ArgumentParser(description="Follow several boxes through a video.")
parser.add_argument("source", help="a video file, a folder of images, or a stream's URL")
parser.add_argument("--box", action="append", required=True, help="left, top, width, height; once for each target")
parser.add_argument("--model", default="spmcar_lite0", help="a shipped model, or a .safetensors file")
parser.add_argument("--out", default="tracked.mp4", help="the video to write")
args = parser.parse_args()

boxes = [[float(number) for number in text.split(",")] for text in args.box]
engine = siamtrack.load(args.model).engine
trails = Trails(len(boxes))
state = None

with open_source(args.source) as frames, VideoWriter(args.out, frames.size, frames.fps) as video:
    for frame in frames:
        state = engine.start(frame, boxes) if state is None else engine.step(frame, state)
        found = results(state)
        paths = trails.add([result.box for result in found])
        marks = [
            Mark(result.box, result.score, number, path, result.status)
            for number, (result, path) in enumerate(zip(found, paths, strict=True), 1)
        ]
        video.write(draw(frame, marks))

for number, (x, y, w, h) in enumerate((result.box for result in found), 1):
    print(f"target {number} ends at {x:.1f},{y:.1f},{w:.1f},{h:.1f}")
