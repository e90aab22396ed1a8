"""Put a run into FiftyOne: a video sample with the tracked box, its score and its status in every frame.

    pip install fiftyone
    python examples/show_in_fiftyone.py clip.mp4 --box 132,170,100,72 --show

FiftyOne counts frames from 1 and boxes in shares of the frame. `--save run.json` writes the sample as a file.
"""

import argparse
import json
from pathlib import Path

import fiftyone

import siamtrack
from siamtrack.video.reader import open_source

parser = argparse.ArgumentParser(description="Track a video and look at the run in FiftyOne.")
parser.add_argument("source", help="a video file")
parser.add_argument("--box", required=True, help="left, top, width, height in the first frame, as 10,20,64,48")
parser.add_argument("--label", default="object", help="what the target is")
parser.add_argument("--model", default="siamcar_lite0", help="a shipped model, or a .safetensors file")
parser.add_argument("--save", type=Path, help="write the sample as JSON")
parser.add_argument("--show", action="store_true", help="open FiftyOne's app, which brings a database of its own")
args = parser.parse_args()

tracker = siamtrack.load(args.model)
sample = fiftyone.Sample(filepath=str(Path(args.source).resolve()))
box, score, status = [float(number) for number in args.box.split(",")], 1.0, "tracking"
with open_source(args.source) as frames:
    width, height = frames.size
    for number, frame in enumerate(frames):  # RGB, uint8, (height, width, 3)
        if number == 0:
            tracker.init(frame, box)
        else:
            result = tracker.update(frame)
            box, score, status = result.box, result.score, result.status
        x, y, w, h = box
        detection = fiftyone.Detection(
            label=args.label, bounding_box=[x / width, y / height, w / width, h / height], index=1,
            confidence=float(score), status=status,
        )  # fmt: skip
        sample.frames[number + 1] = fiftyone.Frame(target=fiftyone.Detections(detections=[detection]))

if args.save:
    args.save.write_text(json.dumps(sample.to_dict(include_frames=True), default=str, indent=1))
if args.show:
    dataset = fiftyone.Dataset("siamtrack", overwrite=True)
    dataset.add_sample(sample)
    fiftyone.launch_app(dataset).wait()
print(f"{number + 1} frames")
