"""Follow one box through a video: write its boxes as CSV and the video with the box drawn in.

python examples/track_video.py clip.mp4 --box 128,158,92,73 --out tracked

Rows are `frame,x,y,w,h,score,status`, in pixels of the frame; status is tracking, uncertain or lost.
"""

import argparse
import sys
from pathlib import Path

import siamtrack
from siamtrack.video.draw import Mark, draw
from siamtrack.video.reader import open_source
from siamtrack.video.writer import VideoWriter

parser = argparse.ArgumentParser(description="Follow one box through a video.")
parser.add_argument("source", help="a video file, a folder of images, or a stream's URL")
parser.add_argument("--box", required=True, help="left, top, width, height in the first frame, as 10,20,64,48")
parser.add_argument("--model", default="spmcar_lite0", help="a shipped model, or a .safetensors file")
parser.add_argument("--out", type=Path, default=Path("tracked"), help="folder for boxes.csv and tracked.mp4")
args = parser.parse_args()


def main() -> None:
    """Track, and write both files."""
    box = tuple(float(number) for number in args.box.split(","))
    args.out.mkdir(parents=True, exist_ok=True)
    tracker = siamtrack.load(args.model)
    lost = 0

    with (
        open_source(args.source) as frames,
        VideoWriter(args.out / "tracked.mp4", frames.size, frames.fps) as video,
        (args.out / "boxes.csv").open("w") as table,
    ):
        table.write("frame,x,y,w,h,score,status\n")
        for number, frame in enumerate(frames):  # RGB, uint8, (height, width, 3)
            if number == 0:
                tracker.init(frame, box)
                found, score, status = box, 1.0, "tracking"
            else:
                result = tracker.update(frame)
                found, score, status = result.box, result.score, result.status
            lost += status == "lost"
            table.write(f"{number},{','.join(f'{value:.2f}' for value in found)},{score:.3f},{status}\n")
            video.write(draw(frame, [Mark(found, score, status=status)]))

    print(f"{number + 1} frames, lost in {lost} of them: {args.out / 'boxes.csv'}, {args.out / 'tracked.mp4'}")


try:
    main()
except siamtrack.SiamtrackError as error:  # one line that says what was expected, what came and what to do
    sys.exit(str(error))
