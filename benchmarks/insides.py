"""What the papers say of the insides of their networks, as numbers of the shipped ones.

    python benchmarks/insides.py --data SEQUENCES --alike otb__Crossing,otb__Human3,uav123__person11

SiamRPN++, figure 5: channels of the depth-wise correlation answer to categories. Of each channel the response at the
target, the mean over a sequence's frames, standardised over sequences; then the correlation over channels between two
sequences of the category that `--alike` names, and between one of it and another one.
SA-Siam, figure 4: channel weights of conv4 are distributed otherwise than those of conv5, and differ between videos.
SPM, figure 5: of the best candidates, other objects have high coarse scores too, but low fine ones.
SiamCAR, section 3.3: the box of one cell trembles from frame to frame, the average of neighbours less. How far the
error of the centre, in shares of the target's side, and of the log size moves in a frame, over frames in which all
rules overlap the target by half.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

import siamtrack
from siamtrack.formats.sequence import VideoSequence
from siamtrack.geometry.boxes import box_iou, xywh_to_xyxy
from siamtrack.geometry.regions import as_rectangles
from siamtrack.studies.figures import Seen, attention_weights, candidates, channel_responses, fine_scores, look
from siamtrack.training.validate import find_clips
from siamtrack.zoo.networks import open_network


def shown(model: str, clip: VideoSequence, frames: int) -> list[Seen]:
    engine = open_network(model)
    return list(look(engine.net, engine.preset, clip, frames))  # type: ignore[arg-type]


def at_target(seen: Seen) -> np.ndarray:
    """(C,) the responses in the cell that is nearest to the target's middle."""
    response = channel_responses(seen)
    x, y = ((seen.box[:2] + seen.box[2:]) / 2 / seen.search.shape[-1] * response.shape[-1]).long().tolist()
    last = response.shape[-1] - 1
    return response[:, min(max(y, 0), last), min(max(x, 0), last)].numpy()


def channels(clips: Sequence[VideoSequence], frames: int, alike: set[str]) -> None:
    rows = np.array(
        [np.mean([at_target(seen) for seen in shown("siamrpnpp_lite0", clip, frames)], 0) for clip in clips]
    )
    strong = np.abs(rows).max(0)
    print(f"channels with at least half of the strongest response: {(strong >= strong.max() / 2).mean():.2f}")
    likeness = np.corrcoef((rows - rows.mean(0)) / rows.std(0).clip(1e-9))
    within, across = [], []
    for a, b in combinations(range(len(clips)), 2):
        members = (clips[a].name in alike) + (clips[b].name in alike)
        if members:
            (within if members == 2 else across).append(likeness[a, b])
    print(f"correlation of channels: {len(within)} pairs of one category {np.mean(within):+.3f}", end="")
    print(f" (quartiles {np.quantile(within, 0.25):+.3f}, {np.quantile(within, 0.75):+.3f});", end="")
    print(f" {len(across)} with another {np.mean(across):+.3f}", end="")
    print(f" (quartiles {np.quantile(across, 0.25):+.3f}, {np.quantile(across, 0.75):+.3f})")


def attention(clips: Sequence[VideoSequence]) -> None:
    weights = [attention_weights(shown("sasiam_lite0", clip, 1)[0]) for clip in clips]
    for layer, name in enumerate(("conv4", "conv5")):
        rows = np.array([found[layer].numpy() for found in weights])
        print(f"{name}: weights {rows.mean():.3f}, spread over channels {rows.std(1).mean():.3f}", end="")
        between = np.corrcoef(rows)[np.triu_indices(len(rows), 1)].mean()
        print(f", over videos {rows.std(0).mean():.3f}; sequences' means {rows.mean(1).min():.3f}", end="")
        print(f" to {rows.mean(1).max():.3f}; correlation between videos {between:.3f}")


def stages(clips: Sequence[VideoSequence], frames: int) -> None:
    groups: dict[str, list[tuple[float, float]]] = {"target": [], "other": []}
    for clip in clips:
        for seen in shown("spm_lite0", clip, frames):
            boxes, coarse, overlaps = candidates(seen, 9)
            fine = fine_scores(seen, boxes)
            assert fine is not None
            for c, f, overlap in zip(coarse.tolist(), fine.tolist(), overlaps.tolist(), strict=True):
                if overlap >= 0.5 or overlap < 0.1:
                    groups["target" if overlap >= 0.5 else "other"].append((c, f))
    for name, found in groups.items():
        coarse, fine = np.array(found).T
        print(f"{name}: {len(found)} candidates, coarse {coarse.mean():.3f}, fine {fine.mean():.3f}", end="")
        print(f"; over 0.5: coarse {(coarse > 0.5).mean():.3f}, fine {(fine > 0.5).mean():.3f}")
    good = np.array([fine for coarse, fine in groups["other"] if coarse > 0.5])
    print(f"others of a coarse score over 0.5: {len(good)}, of these fine over 0.5: {(good > 0.5).mean():.3f}")
    good = np.array([fine for coarse, fine in groups["target"] if coarse > 0.5])
    print(f"targets of a coarse score over 0.5: {len(good)}, of these fine over 0.5: {(good > 0.5).mean():.3f}")


RULES = {
    "one box": {"track.select": "best"},
    "k = 3, mean": {"track.select": "neighbours"},
    "k = 8, mean": {"track.select": "neighbours", "track.averaged": 8},
    "k = 3, weighted, without centre-ness": {"track.select": "neighbours_weighted"},
}


def tremble(clips: Sequence[VideoSequence], frames: int) -> None:
    moved: dict[str, list[np.ndarray]] = {name: [] for name in RULES}
    for clip in (clip.first(frames) for clip in clips):
        truth = as_rectangles(clip.truth)
        trackers = [siamtrack.load("siamcar_lite0", settings=settings) for settings in RULES.values()]
        boxes = np.empty((len(RULES), len(clip), 4))
        boxes[:, 0] = truth[0]
        for tracker in trackers:
            tracker.init(clip.frames[0], tuple(truth[0].tolist()))
        for number in range(1, len(clip)):
            frame = clip.frames[number]
            boxes[:, number] = [tracker.update(frame).box for tracker in trackers]
        corners = (xywh_to_xyxy(torch.from_numpy(values).float()) for values in (boxes, truth))
        good = (box_iou(*corners).numpy() >= 0.5).all(0)  # nan where the target is absent
        middles = boxes[..., :2] + boxes[..., 2:] / 2 - (truth[:, :2] + truth[:, 2:] / 2)
        side = np.sqrt(truth[:, 2:3] * truth[:, 3:])
        errors = np.concatenate([middles / side, np.log(boxes[..., 2:] / truth[:, 2:])], -1)
        both = good[1:] & good[:-1]
        if both.sum() >= 10:
            for name, error in zip(RULES, errors, strict=True):
                step = np.abs(np.diff(error, axis=0))[both]
                moved[name].append(np.array([step[:, :2].mean(), step[:, 2:].mean()]))
    first = np.array(moved["one box"])
    for name, found in moved.items():
        means, gain = np.mean(found, 0), np.array(found) - first
        spread = gain.std(0, ddof=1) / np.sqrt(len(gain))
        print(
            f"{name}: the error moves by {means[0]:.4f} of the side and {means[1]:.4f} of the log size a frame", end=""
        )
        print(
            f"; against one box {gain.mean(0)[0]:+.4f} ± {spread[0]:.4f}, {gain.mean(0)[1]:+.4f} ± {spread[1]:.4f}",
            end="",
        )
        print(f" ({len(gain)} sequences)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="sequences, NAME/img/* and NAME/groundtruth.txt")
    parser.add_argument("--alike", required=True, help="sequences of one category, by comma")
    parser.add_argument("--frames", type=int, default=12, help="of each sequence")
    parser.add_argument("--tracked", type=int, default=60, help="first frames of each sequence that are tracked")
    given = parser.parse_args()
    clips = find_clips(given.data, 10**6)
    with torch.inference_mode():
        channels(clips, given.frames, set(given.alike.split(",")))
        attention(clips)
        stages(clips, given.frames)
    tremble(clips, given.tracked)


if __name__ == "__main__":
    main()
