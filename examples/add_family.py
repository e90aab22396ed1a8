"""A tracker family of your own: configuration, network and loss; trained for some steps, then tracked with.

    python examples/add_family.py shards clip.mp4 --box 132,170,100,72 --steps 200

For each cell of the response map this one says how likely the target's middle lies there, and how large it is. A
family that is to be named in presets, by `siamtrack train` and in weights files is one file of this package or of your
own (docs/extending.md). Needs the extras `train` and `opencv`.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import siamtrack
from siamtrack.data.pair_source import open_pairs
from siamtrack.geometry.grid import grid_points, grid_positions
from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.correlation import depthwise
from siamtrack.models.losses import TrainingBatch
from siamtrack.models.necks import FuseLevels
from siamtrack.models.pretrained import load_imagenet
from siamtrack.models.siamese import Candidates, Head, Maps, SiameseNet
from siamtrack.video.reader import open_source

BACKBONE = "efficientnet_lite0"
USUAL_SIDE = 32.0  # pixels of a crop, what an untrained head predicts


class CentreHead(Head):
    """Depth-wise correlation, then `heat` (B, 1, R, R), a logit, and `size` (B, 2, R, R), log w and h."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.out = nn.BatchNorm2d(width), nn.Conv2d(width, 3, 1)

    def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Maps:
        """Features of both sides -> maps."""
        out = self.out(self.norm(depthwise(template[0], search[0])).relu())
        return {"heat": out[:, :1], "size": out[:, 1:]}


@dataclass(frozen=True)
class CentreCoder:
    """Reads the maps; `stride` is that of the response map in pixels of the crop."""

    stride: float

    def decode(self, maps: Maps, size: int) -> Candidates:
        """Maps of search crops of `size` pixels -> R * R candidates, each at its cell."""
        cells = maps["heat"].shape[-1]
        sizes = USUAL_SIDE * maps["size"].flatten(2).transpose(1, 2).exp()
        centres = grid_points(cells, self.stride, size).expand_as(sizes)
        return Candidates(centres, sizes, maps["heat"].flatten(1).sigmoid(), grid_positions(cells), cells)


@dataclass(frozen=True)
class CentreFamily:
    """The choices of the family: channels after the neck."""

    width: int = 64

    def build(self) -> SiameseNet:
        """The network, its backbone with ImageNet's weights."""
        backbone = build_backbone(BACKBONE, (3,))
        load_imagenet(backbone, BACKBONE)
        neck, coder = FuseLevels(backbone.channels, self.width, template_cells=5), CentreCoder(backbone.stride)
        return SiameseNet(normalisation(BACKBONE), backbone, neck, CentreHead(self.width), coder)

    def loss(self, net: SiameseNet, batch: TrainingBatch) -> Tensor:
        """Cells near the target's middle are to find it, and say how large it is."""
        maps = net.respond(net.embed(batch.template, batch.template_sizes), batch.search)
        low, high = batch.boxes[:, None].chunk(2, dim=-1)  # (B, 1, 2) corners
        points = grid_points(maps["heat"].shape[-1], net.coder.stride, batch.search.shape[-1])
        near = ((points - (low + high) / 2).abs() < 0.25 * (high - low)).all(-1) & batch.present[:, None]
        heat = F.binary_cross_entropy_with_logits(maps["heat"].flatten(1), near.float())
        wrong = (maps["size"].flatten(2).transpose(1, 2) - ((high - low) / USUAL_SIDE).log()).abs().mean(-1)
        return heat + (wrong * near).sum() / near.sum().clamp(min=1)


parser = argparse.ArgumentParser(description="Train a new family and track with it.")
parser.add_argument("shards", help="folder of training shards, as `siamtrack data pack` makes them")
parser.add_argument("source", help="a video to track in")
parser.add_argument("--box", required=True, help="left, top, width, height in its first frame")
parser.add_argument("--steps", type=int, default=200)
args = parser.parse_args()

preset = siamtrack.load_preset("siamcar_pico")  # its crops, its rules for pairs and for tracking
torch.manual_seed(0)  # of the head's first weights
family = CentreFamily()
net = family.build().train()
optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)
pairs = open_pairs(args.shards, preset.crops, preset.data)
for step in range(args.steps):
    batch, _ = pairs.draw(16, seed=0, part=0, step=step)
    loss = family.loss(net, batch)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if step % 10 == 0:
        print(f"step {step}: loss {loss.item():.3f}")

tracker = siamtrack.Tracker(siamtrack.TorchEngine(net, preset))
with open_source(args.source) as frames:
    for number, frame in enumerate(frames):
        if number == 0:
            tracker.init(frame, [float(value) for value in args.box.split(",")])
        else:
            result = tracker.update(frame)
            print(f"frame {number}:", ",".join(f"{value:.1f}" for value in result.box))
