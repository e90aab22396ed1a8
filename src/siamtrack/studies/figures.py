"""Figures that show what is inside a model: channels, attention weights, responses, candidates and their scores.

Search regions lie where the target truly was in the frame before, as in SPM's figure 6 (b): what is shown depends on
the network alone, not on the path that tracking took.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from siamtrack.config import Preset
from siamtrack.errors import ConfigError, InputError, look_up, require
from siamtrack.formats.sequence import VideoSequence
from siamtrack.geometry.boxes import box_iou, cxcywh_to_xyxy, nms
from siamtrack.geometry.crop import mean_colour
from siamtrack.geometry.regions import as_rectangles
from siamtrack.io import whole_file
from siamtrack.models.correlation import depthwise, up_channel
from siamtrack.models.families.sa_siam import ChannelAttention, SemanticNeck
from siamtrack.models.families.spm import SpmNet
from siamtrack.models.heads import DepthwiseBranch, UpChannelBranch
from siamtrack.models.siamese import Candidates, SiameseNet
from siamtrack.studies.center_bias import heat_map
from siamtrack.tracking.view import View
from siamtrack.training.validate import find_clips
from siamtrack.zoo.networks import open_network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OVERLAP = 0.5  # of the suppression among candidates (SPM, section 4.3)
_COUNTS = (1, 3, 5, 7, 9, 11)
_THRESHOLDS = np.arange(0.0, 1.0001, 0.05)
_CHANNELS = 5


@dataclass(frozen=True)
class Seen:
    """A network and one of its inputs.

    Attributes:
        clip: name of the sequence.
        template: (1, 3, T, T) RGB 0..255.
        template_sizes: (1, 2) the target's size in it.
        search: (1, 3, S, S), around where the target was in the frame before.
        sizes: (1, 2) the target's size then, in its pixels.
        box: (4,) xyxy of the target in it.
    """

    net: SiameseNet
    preset: Preset
    clip: str
    template: Tensor
    template_sizes: Tensor
    search: Tensor
    sizes: Tensor
    box: Tensor


def look(net: SiameseNet, preset: Preset, clip: VideoSequence, count: int, device: str = "cpu") -> Iterator[Seen]:
    """Yield `count` frames of a sequence, spread evenly, as the network is shown them.

    Frames in which the target is absent, or was in the frame before, are left out.
    """
    rows = torch.from_numpy(as_rectangles(clip.truth)).float()
    corners = torch.cat([rows[:, :2], rows[:, :2] + rows[:, 2:]], 1)
    first = clip.frames[0]
    fill = mean_colour(first)[None]
    start = View.around(first, corners[:1], preset.crops, preset.crops.template_side, fill, device)
    template, sizes = start.pixels(), start.sizes_of(corners[:1])
    known = [n for n in range(1, len(clip)) if not (clip.absent(n) or clip.absent(n - 1))]
    for place in np.linspace(0, len(known) - 1, min(count, len(known))).round().astype(int).tolist():
        number = known[place]
        before = corners[number - 1 : number]
        view = View.around(clip.frames[number], before, preset.crops, preset.crops.search, fill, device).to_search()
        box = view.region.to_crop(corners[number][None], view.size)[0]
        yield Seen(net, preset, clip.name, template, sizes, view.pixels(), view.sizes_of(before), box)


def channel_responses(seen: Seen) -> Tensor:
    """(C, H, W) the depth-wise correlation of each channel (SiamRPN++, figure 5), of conv4, the second of three levels.

    Of fewer levels, the last. Of heads with layers of their own before it (SiamRPN++, SiamBAN) their classification's;
    else the neck's features'. Of a head with up-channel correlation, that one's responses (section 3.4, which finds
    them harder to read).
    """
    net = seen.net
    templates, searches = net.features(seen.template, True), net.features(seen.search, False)
    branches = [module for module in net.head.modules() if isinstance(module, DepthwiseBranch | UpChannelBranch)]
    branches = branches[: len(branches) // 2]  # these classify, a level each; the others find boxes
    level = min(1, len(branches or templates) - 1)
    z, x = templates[level], searches[level]
    if not branches:
        return depthwise(z, x)[0]
    branch = branches[level]
    z, x = branch.template(z), branch.search(x)
    return (depthwise if isinstance(branch, DepthwiseBranch) else up_channel)(z, x)[0]


def attention_weights(seen: Seen) -> list[Tensor]:
    """The weight of each channel of each layer of S-Net, (C,) in [0.5, 1.5] (SA-Siam, figure 4).

    Raises:
        ConfigError: a network without channel attention.
    """
    net = seen.net
    necks = [module for module in net.modules() if isinstance(module, SemanticNeck) and module.attention is not None]
    if not necks:
        raise ConfigError("the figure 'attention' needs a model of SA-Siam with its attention")
    found: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, weights: found.append(weights[0].flatten()))
        for module in necks[0].modules()
        if isinstance(module, ChannelAttention)
    ]
    try:
        net.features(seen.template, True)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _decoded(seen: Seen) -> Candidates:
    template = seen.net.embed(seen.template, seen.template_sizes)
    return seen.net.coder.decode(seen.net.respond(template, seen.search), seen.search.shape[-1])


def candidates(seen: Seen, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best `count` boxes (K, 4) xyxy after suppression, their scores (K,), and overlaps (K,) with the target.

    Of SPM, its coarse stage's.

    Raises:
        ConfigError: a network that predicts no sizes.
    """
    found = _decoded(seen)
    if found.sizes is None:
        raise ConfigError("this figure needs candidates with sizes; SiamFC's and SA-Siam's have none")
    boxes = cxcywh_to_xyxy(torch.cat([found.centres, found.sizes], -1))
    chosen = nms(boxes, found.scores, count, _OVERLAP)[0]
    box = seen.box.to(boxes)[None]
    return boxes[0, chosen], found.scores[0, chosen], box_iou(boxes[0, chosen], box)


def fine_scores(seen: Seen, boxes: Tensor) -> Tensor | None:
    """(K,) scores of SPM's fine stage for boxes (K, 4) xyxy of the search region; None where there is no such stage."""
    if not isinstance(seen.net, SpmNet) or (fine := seen.net.head.fine) is None:
        return None
    template = seen.net.embed(seen.template, seen.template_sizes)
    features = seen.net.features(seen.search, False)
    pooled = seen.net.pool(features[1:], boxes[None], seen.search.shape[-1])
    scores: Tensor = fine(template[1], pooled)[0].float().softmax(-1)[0, :, 1]
    return scores


def candidate_recall(looks: Sequence[Seen], counts: Sequence[int] = _COUNTS) -> dict[int, np.ndarray]:
    """By K, the share of frames in which one of the K best candidates overlaps the target by each threshold.

    Thresholds are 0, 0.05 to 1 (SPM, figure 6 (b)).
    """
    best: dict[int, list[float]] = {count: [] for count in counts}
    for seen in looks:
        overlaps = candidates(seen, max(counts))[2]
        for count in counts:
            best[count].append(float(overlaps[:count].max()))
    return {k: (np.array(values)[:, None] >= _THRESHOLDS - 1e-9).mean(0) for k, values in best.items()}


def _picture(pixels: Tensor) -> np.ndarray:
    return pixels[0].permute(1, 2, 0).round().clamp(0, 255).byte().cpu().numpy()


def _outlined(axes: Any, box: Sequence[float], colour: str, width: float = 1.5) -> None:
    x0, y0, x1, y1 = box
    axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=colour, linewidth=width)


def _grid(rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.7 * columns, 1.7 * rows + 0.3), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _channels(looks: Sequence[Seen]) -> Figure:
    """A column a frame: the search region, and below it the channels that respond most over all frames."""
    maps = [channel_responses(seen) for seen in looks]
    peaks = torch.stack([m.flatten(1).amax(1) - m.flatten(1).median(1).values for m in maps])
    strongest = peaks.mean(0).topk(min(_CHANNELS, peaks.shape[1])).indices.tolist()
    figure, cells = _grid(1 + len(strongest), len(looks))
    for column, (seen, found) in enumerate(zip(looks, maps, strict=True)):
        cells[0, column].imshow(_picture(seen.search))
        cells[0, column].set_title(seen.clip[:18], fontsize=7)
        _outlined(cells[0, column], seen.box.tolist(), "lime")
        for row, channel in enumerate(strongest, start=1):
            cells[row, column].imshow(found[channel].cpu().numpy(), cmap="magma")
            if column == 0:
                cells[row, 0].set_ylabel(f"channel {channel}", fontsize=7)
    return figure


def _attention(looks: Sequence[Seen]) -> Figure:
    """A panel a sequence: the sorted weights of each layer."""
    firsts = list({seen.clip: seen for seen in looks}.values())
    figure, cells = _grid(1, len(firsts))
    figure.set_size_inches(3.2 * len(firsts), 2.6)
    for axes, seen in zip(cells[0], firsts, strict=True):
        for layer, weights in enumerate(attention_weights(seen)):
            values = weights.sort().values.cpu().numpy()
            axes.plot(np.linspace(0, 1, len(values)), values, label=f"layer {layer + 1} ({len(values)} channels)")
        axes.set_title(seen.clip[:24], fontsize=8)
        axes.set_ylim(0.5, 1.5)
        axes.set_xlabel("channels, sorted", fontsize=7)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=6)
    cells[0, 0].set_ylabel("weight", fontsize=7)
    return figure


def _responses(looks: Sequence[Seen]) -> Figure:
    """A column a frame: the search region, and the response to it."""
    figure, cells = _grid(2, len(looks))
    for column, seen in enumerate(looks):
        cells[0, column].imshow(_picture(seen.search))
        _outlined(cells[0, column], seen.box.tolist(), "lime")
        cells[0, column].set_title(seen.clip[:18], fontsize=7)
        cells[1, column].imshow(heat_map(_decoded(seen))[0].cpu().numpy(), cmap="magma", vmin=0)
    return figure


def _scores(looks: Sequence[Seen]) -> Figure:
    """Above, the best candidates on frames; below, their scores: of both stages, or against the overlap."""
    figure, cells = _grid(2, len(looks))
    for column, seen in enumerate(looks):
        upper, lower = cells[:, column]
        upper.imshow(_picture(seen.search))
        upper.set_title(seen.clip[:18], fontsize=7)
        boxes, scores, overlaps = candidates(seen, 9)
        across, label = overlaps, "overlap with the target"
        if (fine := fine_scores(seen, boxes)) is not None:
            across, label = fine, "fine score"
        for box, overlap in zip(boxes.tolist(), overlaps.tolist(), strict=True):
            _outlined(upper, box, "red" if overlap < _OVERLAP else "deepskyblue", 0.8)
        _outlined(upper, seen.box.tolist(), "lime")
        colours = ["deepskyblue" if overlap >= _OVERLAP else "red" for overlap in overlaps.tolist()]
        lower.scatter(across.cpu().numpy(), scores.cpu().numpy(), c=colours, s=12)
        lower.set_xlim(-0.03, 1.03)
        lower.set_ylim(-0.03, 1.03)
        lower.set_xlabel(label, fontsize=7)
    cells[1, 0].set_ylabel("coarse score" if isinstance(looks[0].net, SpmNet) else "score", fontsize=7)
    return figure


def _recall(looks: Sequence[Seen]) -> Figure:
    """A curve for each K; in brackets its mean over thresholds of 0.5 to 0.7."""
    figure, cells = _grid(1, 1)
    figure.set_size_inches(4.5, 3.3)
    middle = (_THRESHOLDS > 0.49) & (_THRESHOLDS < 0.71)
    for count, recall in candidate_recall(looks).items():
        cells[0, 0].plot(_THRESHOLDS, recall, label=f"K = {count} [{recall[middle].mean():.3f}]")
    cells[0, 0].set_xlabel("overlap")
    cells[0, 0].set_ylabel(f"recall, {len(looks)} frames")
    cells[0, 0].legend(fontsize=7)
    return figure


FIGURES: Mapping[str, Callable[[Sequence[Seen]], Figure]] = MappingProxyType(
    {"channels": _channels, "attention": _attention, "responses": _responses, "scores": _scores, "recall": _recall}
)
"""What can be drawn, by name."""


def draw_figure(kind: str, model: str, clips: Path, out: Path, frames: int, limit: int, device: str = "cpu") -> None:
    """Draw a figure of `FIGURES` from a model and a folder of sequences (see `find_clips`), as a PNG file.

    At most `limit` sequences are looked at, and `frames` of each; for `recall` 20 times as many.

    Raises:
        ConfigError: an unknown figure, one that the model has not what it shows for, or matplotlib is missing.
        InputError: no frame in which the target is seen, or the picture would lie among the sequences.
    """
    # Path.resolve raises for a link that leads to itself
    if Path(os.path.realpath(clips)) in Path(os.path.realpath(out)).parents:
        raise InputError(f"'{out}' would lie among the sequences, and might replace a frame; choose another place")
    draw = look_up(FIGURES, kind, "figure")
    require("matplotlib", "the picture", "matplotlib", "report")
    engine = open_network(model, device)
    net, preset = engine.net, engine.preset
    if not isinstance(net, SiameseNet):
        raise ConfigError(f"{model}: its network has no parts that could be shown")
    many = frames * 20 if kind == "recall" else frames
    with torch.inference_mode():
        looks = [s for clip in find_clips(clips, 10**9)[:limit] for s in look(net, preset, clip, many, device)]
        if not looks:
            raise InputError(f"{clips}: no frame in which a target is seen after its first")
        figure = draw(looks)
    for axes in figure.axes:
        if kind not in ("attention", "recall") and not axes.collections:
            axes.set_xticks([])
            axes.set_yticks([])
        axes.tick_params(labelsize=6)
    with whole_file(out) as draft:
        figure.savefig(draft, format="png", dpi=130)
