"""From your own annotated clips to a trained model: index, pack, train, track.

    python examples/train_on_own_clips.py my_clips --out runs/mine --steps 3000

`my_clips` holds videos, `walk.mp4`, or folders of images, `walk/`, each with its boxes beside it: `walk.txt`, one
`x,y,w,h` line for every frame, `nan,nan,nan,nan` where the object is not seen. A few clips fit a model to a new kind
of picture only together with general data; alone they are not enough to train one. A run that was stopped goes on when
the same line is given again. Needs the extras `train` and `opencv`.
"""

import argparse
from pathlib import Path

import torch

import siamtrack
from siamtrack.data.index import build_index, save_index
from siamtrack.data.pack import Packing, pack
from siamtrack.data.pair_source import open_pairs
from siamtrack.data.shards import MANIFEST
from siamtrack.formats.objects import find_object_layout
from siamtrack.geometry.boxes import box_iou, xywh_to_xyxy, xyxy_to_xywh
from siamtrack.training.loop import RunOptions, train
from siamtrack.video.reader import open_source

parser = argparse.ArgumentParser(description="Train a small model on your own clips.")
parser.add_argument("clips", type=Path, help="folder of clips with their boxes")
parser.add_argument("--out", type=Path, default=Path("runs/mine"), help="folder for the shards and the model")
parser.add_argument("--preset", default="siamcar_pico", help="what is trained; `siamtrack models` lists the presets")
parser.add_argument("--steps", type=int, default=3000, help="steps of --batch pairs")
parser.add_argument("--batch", type=int, default=32, help="pairs a step")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)

index, problems = build_index(args.clips, find_object_layout(args.clips), "mine")
save_index(index, args.out / "mine.npz")
print(f"{len(index)} boxes of {len(index.track_names)} objects, {len(problems)} problems")

if not (args.out / "shards" / MANIFEST).exists():  # a pack that was stopped goes on
    shards, _ = pack([index], str(args.out / "shards"), Packing(per_track=50))
    print(f"{sum(shard.crops for shard in shards)} crops in {len(shards)} shards")

long = args.steps >= 500  # compiling takes half a minute, which a short run does not win back
settings = {"train.steps": args.steps, "train.batch": args.batch, "train.compile": long}
preset = siamtrack.load_preset(args.preset, settings)
pairs = open_pairs(args.out / "shards", preset.crops, preset.data)
show = RunOptions(resume=True, report=lambda row: print({k: round(v, 4) for k, v in row.items()}))
weights = train(preset, pairs, args.out, show)

# Does it track at all? Its first object, from its first box, compared with the boxes that it was trained on.
own = index.track == 0
truth = dict(zip(index.frame[own].tolist(), index.boxes[own], strict=True))
image = args.clips / index.image_names[index.image[own][0]].split("#")[0]  # `walk.mp4#12` is a frame of a video
tracker, overlaps = siamtrack.load(weights), []
with open_source(image if image.suffix == ".mp4" else image.parent, start=min(truth)) as frames:
    for number, frame in enumerate(frames, start=min(truth)):
        if number == min(truth):
            tracker.init(frame, xyxy_to_xywh(torch.tensor(truth[number])))
        elif (result := tracker.update(frame)) and number in truth:
            found = xywh_to_xyxy(torch.tensor(result.box))
            overlaps.append(float(box_iou(found, torch.tensor(truth[number]))))
print(f"mean overlap on its own first clip: {sum(overlaps) / len(overlaps):.3f}")
print(f"weights: {weights}")
