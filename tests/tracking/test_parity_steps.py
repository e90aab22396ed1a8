"""Single steps from the reference trackers' recorded states, on the frames of a real video.

The references cut whole pixels out of the frame (their side rounded, their corner floored or rounded) and map boxes
back as if they had not; PySOT's and SiamCAR's crops lie half to one and a half pixels left of and above the target.
This project's `cut` does not round. The recorded networks have random weights, and a shift of a pixel changes what
they see too much to compare boxes. So here `step` runs with the reference's crop in place of ours, and everything
else is held to the reference: features, heads, decoding, penalty, window, selection, smoothing and the way back.
What the rounding alone changes is tested at the end: our crop of the reference's rounded region is the reference's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from siamtrack.config import Crops, Preset, Track
from siamtrack.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from siamtrack.geometry.crop import Crop, Region, cut
from siamtrack.tracking import state as tracking
from siamtrack.tracking.state import TrackState, step

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from references import REFERENCES, reference_net, rgb

SETTINGS = {
    "pysot_siamrpn_alex_dwxcorr": (287, Track(window=0.40, penalty=0.16, rate=0.30)),
    "pysot_siamrpn_mobilev2_l234_dwxcorr": (255, Track(window=0.40, penalty=0.04, rate=0.50)),
    "pysot_siamrpn_r50_l234_dwxcorr": (255, Track(window=0.42, penalty=0.05, rate=0.38)),
    "siamcar_r50": (255, Track(window=0.40, penalty=0.04, rate=0.30, select="upsampled")),
    "siamfc": (
        255,
        Track(window=0.176, penalty=0.0, rate=0.59, scales=(1 / 1.0375, 1.0, 1.0375), scale_penalty=0.9745),
    ),
}
# How many frames are checked: the slow networks have a second each.
FRAMES = {"pysot_siamrpn_alex_dwxcorr": 40, "siamfc": 25}


@pytest.fixture(scope="module")
def frames(shared: Path) -> list[np.ndarray]:
    files = sorted((shared / "data" / "dev" / "vot__bag" / "img").glob("*.jpg"))[:41]
    return [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]


def whole_region(region: Region, siamfc: bool) -> Region:
    """The whole pixels that the references take for a region."""
    side = region.side.double().round()
    low = region.centre.double() - 0.5 - side[:, None] / 2
    edge = (low + 0.5).round() if siamfc else low.floor()
    return Region(edge + side[:, None] / 2, side)


def reference_cut(siamfc: bool) -> Callable[..., Crop]:
    def cut_whole(frame: np.ndarray, region: Region, size: int, fill: Tensor, device: object = None) -> Crop:
        whole, crops = whole_region(region, siamfc), []
        for (x, y), side, colour in zip(whole.centre.tolist(), whole.side.tolist(), fill.tolist(), strict=True):
            left, top, width = round(x - side / 2), round(y - side / 2), round(side)
            margin = max(0, -left, -top, left + width - frame.shape[1], top + width - frame.shape[0])
            wide = cv2.copyMakeBorder(frame, *(margin,) * 4, cv2.BORDER_CONSTANT, value=colour)
            part = wide[top + margin : top + margin + width, left + margin : left + margin + width]
            crops.append(torch.from_numpy(cv2.resize(part, (size, size))).permute(2, 0, 1).float())
        return Crop(torch.stack(crops), region)

    return cut_whole


def recorded_states(arrays: dict[str, np.ndarray], siamfc: bool) -> tuple[Tensor, np.ndarray, Tensor]:
    """Centre and size of each frame in our pixels, the margin of each step, and the fill in RGB.

    The references count pixels from the middle of the first. PySOT cuts the fill's fraction off.
    """
    if siamfc:
        y, x, h, w = arrays["states_cy_cx_h_w_z_x"].T[:4]
        states, fill = np.stack([x, y, w, h], 1), arrays["avg_color"].round()
        margin = arrays["scale_margin"]
    else:
        states, fill = arrays["states_cxcywh"], np.floor(arrays["channel_average"][::-1])
        names = [name for name in ("margin", "margin_hp", "margin_p") if name in arrays]
        margin = np.minimum.reduce([arrays[name] for name in names])
    moved = torch.from_numpy(states).float() + torch.tensor([0.5, 0.5, 0, 0])
    return moved, margin, torch.tensor(fill.copy()).float()[None]


@pytest.mark.parametrize("name", SETTINGS)
def test_steps(
    shared: Path, golden: Path, frames: list[np.ndarray], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    siamfc = name == "siamfc"
    reference, net = REFERENCES[name], reference_net(golden / "portable", name)
    with np.load(shared / "golden" / "networks" / f"{name}.npz") as recorded:
        arrays = dict(recorded)
    search, track = SETTINGS[name]
    preset = Preset(name=name, model=reference.model, crops=Crops(search=search), track=track)
    states, margin, fill = recorded_states(arrays, siamfc)
    with torch.inference_mode():
        template = net.embed(rgb(torch.from_numpy(arrays["template_crop"]), reference))
    monkeypatch.setattr(tracking, "cut", reference_cut(siamfc))
    wrong, compared = {}, 0
    for t in range(1, min(len(states), FRAMES.get(name, 12) + 1)):
        if margin[t - 1] < 1e-4:
            continue
        boxes = cxcywh_to_xyxy(states[t - 1 : t])
        size = (frames[t].shape[1], frames[t].shape[0])
        before = TrackState(boxes, torch.ones(1), template, fill, torch.tensor([False]), size)
        after = step(net, preset, frames[t], before)
        error = float((xyxy_to_cxcywh(after.boxes)[0] - states[t]).abs().max())
        compared += 1
        if not error < 1:
            wrong[t] = (round(error, 2), float(margin[t - 1]))
        if "scores" in arrays:
            assert float(after.scores[0]) == pytest.approx(float(arrays["scores"][t]), abs=1e-3)
    assert compared >= 8
    assert wrong == {}


@pytest.mark.parametrize("siamfc", [False, True])
def test_our_crop_of_whole_pixels_is_the_references(frames: list[np.ndarray], siamfc: bool) -> None:
    """To one grey level: OpenCV's warp and resize round differently."""
    centres = torch.tensor([[240.3, 180.7], [20.2, 340.9], [470.0, 3.5]])
    region = Region(centres, torch.tensor([202.4, 407.6, 120.5]))
    fill = torch.tensor([[90.0, 100.0, 110.0]]).expand(3, -1)
    theirs = reference_cut(siamfc)(frames[0], region, 127, fill).pixels
    ours = cut(frames[0], whole_region(region, siamfc), 127, fill).pixels
    inside = (ours - theirs).abs()
    # Where the frame ends, a warp blends with the fill and a resize of the padded frame does as well.
    assert float(inside.mean()) < 0.5
    assert float(inside[0].max()) <= 1


def test_recorded_crops_are_the_references(shared: Path, frames: list[np.ndarray]) -> None:
    """The crop that the steps run with is the recorded one."""
    for name, (search, _) in SETTINGS.items():
        siamfc = name == "siamfc"
        with np.load(shared / "golden" / "networks" / f"{name}.npz") as recorded:
            arrays = dict(recorded)
        _, _, fill = recorded_states(arrays, siamfc)
        for frame in (1, 2, 10):
            if siamfc:
                rows = arrays["crop_args_cy_cx_size_out"][3 * frame - 2 : 3 * frame + 1]
                centre, side = rows[:, [1, 0]], rows[:, 2]
                expected = arrays[f"search_crops_{frame}"]
            else:
                x, y, _, width = arrays["crop_args"][frame]
                centre, side = np.array([[x, y]]), np.array([width])
                expected = arrays[f"search_crop_{frame}"][:, ::-1]
            region = Region(torch.from_numpy(centre) + 0.5, torch.from_numpy(side))
            crop = reference_cut(siamfc)(frames[frame], region, search, fill.expand(len(side), -1))
            assert np.array_equal(crop.pixels.numpy(), expected.astype(np.float32)), (name, frame)
