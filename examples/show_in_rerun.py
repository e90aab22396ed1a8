"""Show a run in Rerun: frames, boxes, and presence over time, beside each other and to be scrubbed through.

    pip install rerun-sdk
    python examples/show_in_rerun.py clip.mp4 --box 132,170,100,72

The viewer opens by itself; `--save run.rrd` writes a file for it instead (`rerun run.rrd`).
"""

import argparse

import rerun

import siamtrack
from siamtrack.video.reader import open_source

parser = argparse.ArgumentParser(description="Track a video and show the run in Rerun.")
parser.add_argument("source", help="a video file, a folder of images, or a stream's URL")
parser.add_argument("--box", required=True, help="left, top, width, height in the first frame, as 10,20,64,48")
parser.add_argument("--model", default="siamcar_lite0", help="a shipped model, or a .safetensors file")
parser.add_argument("--save", help="write this .rrd file and open no viewer")
args = parser.parse_args()

rerun.init("siamtrack", spawn=args.save is None)
if args.save:
    rerun.save(args.save)

COLOURS = {"tracking": (0, 200, 120), "uncertain": (240, 190, 60), "lost": (230, 60, 60)}
tracker = siamtrack.load(args.model)
box, presence, status = [float(number) for number in args.box.split(",")], 1.0, "tracking"
with open_source(args.source) as frames:
    for number, frame in enumerate(frames):  # RGB, uint8, (height, width, 3)
        if number == 0:
            tracker.init(frame, box)
        else:
            result = tracker.update(frame)
            box, presence, status = result.box, result.presence, result.status
        rerun.set_time("frame", sequence=number)
        rerun.log("frame", rerun.Image(frame).compress(jpeg_quality=80))
        (x, y, w, h), look = box, {"colors": [COLOURS[status]], "labels": [status]}
        rerun.log("frame/target", rerun.Boxes2D(mins=[[x, y]], sizes=[[w, h]], **look))
        rerun.log("presence", rerun.Scalars(presence))
print(f"{number + 1} frames" + (f": {args.save}" if args.save else ""))
