"""Single steps from the reference trackers' recorded states, on the frames of a real video.

The references cut whole pixels out of the frame and map boxes back as if they had not. The published presets do
the same (`crops.rounding`), so all of `step` is held to them: crop, features, heads, decoding, penalty, window,
selection, smoothing and the way back. Where a target leaves the frame the boxes differ by half a pixel: the
references keep the centre's pixel index in [0, width], we its place.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from references import REFERENCES, embed, reference_net, rgb
from siamtrack.config import load_preset
from siamtrack.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from siamtrack.geometry.crop import Region, Rounding, cut
from siamtrack.tracking.state import TrackState, step

# How many frames the default tests check; the slow test checks all 20 or 40.
FRAMES = {"pysot_siamrpn_alex_dwxcorr": 10, "siamfc": 8}

# How many pixels a step may differ, where it is less than one.
LARGEST = {"siamcar_r50": 0.01}


@pytest.fixture(scope="module")
def frames(shared: Path) -> list[np.ndarray]:
    files = sorted((shared / "data" / "dev" / "vot__bag" / "img").glob("*.jpg"))[:41]
    return [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]


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


@pytest.mark.parametrize("name", REFERENCES)
def test_first_steps(shared: Path, golden: Path, frames: list[np.ndarray], name: str) -> None:
    check_steps(shared, golden, frames, name, FRAMES.get(name, 4))


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCES)
def test_all_steps(shared: Path, golden: Path, frames: list[np.ndarray], name: str) -> None:
    check_steps(shared, golden, frames, name, 40)


def check_steps(shared: Path, golden: Path, frames: list[np.ndarray], name: str, count: int) -> None:
    """Each of the first steps, from its recorded state, ends within a pixel of the next recorded state."""
    siamfc = name == "siamfc"
    reference, net = REFERENCES[name], reference_net(golden / "portable", name)
    with np.load(shared / "golden" / "networks" / f"{name}.npz") as recorded:
        arrays = dict(recorded)
    preset = load_preset(reference.preset)
    states, margin, fill = recorded_states(arrays, siamfc)
    with torch.inference_mode():
        template = embed(net, rgb(torch.from_numpy(arrays["template_crop"]), reference))
    errors, wrong = [], {}
    for t in range(1, min(len(states), count + 1)):
        if margin[t - 1] < 1e-4:
            continue
        boxes = cxcywh_to_xyxy(states[t - 1 : t])
        size = (frames[t].shape[1], frames[t].shape[0])
        before = TrackState.fresh(boxes, template, fill, size)
        after = step(net, preset, frames[t], before)
        error = float((xyxy_to_cxcywh(after.boxes)[0] - states[t]).abs().max())
        errors.append(error)
        if not error < LARGEST.get(name, 1):
            wrong[t] = (round(error, 2), float(margin[t - 1]))
        if "scores" in arrays:
            assert float(after.scores[0]) == pytest.approx(float(arrays["scores"][t]), abs=1e-3)
    print(f"{name}: {len(errors)} steps, largest difference {max(errors):.4f} px")
    assert len(errors) >= 0.7 * min(len(states) - 1, count)
    assert wrong == {}


@pytest.mark.parametrize("rounding", ["pysot", "siamfc"])
def test_crops_of_whole_pixels_are_the_same_from_numpy_and_tensor_frames(
    frames: list[np.ndarray], rounding: Rounding
) -> None:
    """To one grey level inside of the frame: a resize and a sampled grid round differently."""
    region = Region(torch.tensor([[240.3, 180.7], [200.2, 140.9]]), torch.tensor([202.4, 120.5]))
    fill = torch.tensor([[90.0, 100.0, 110.0]]).expand(2, -1)
    one = cut(frames[0], region, 127, fill, rounding=rounding).pixels
    other = cut(torch.from_numpy(frames[0]).permute(2, 0, 1), region, 127, fill, rounding=rounding).pixels
    assert float((one - other).abs().max()) <= 1.01


def test_the_recorded_crops_are_reproduced_to_the_bit(shared: Path, frames: list[np.ndarray]) -> None:
    """PySOT's template and first search crops, from its recorded centre, side and colour."""
    with np.load(shared / "golden" / "networks" / "pysot_siamrpn_alex_dwxcorr.npz") as recorded:
        arrays = dict(recorded)
    fill = torch.tensor(arrays["channel_average"][::-1].copy()).float()[None]
    for t, key in ((0, "template_crop"), (1, "search_crop_1"), (2, "search_crop_2"), (10, "search_crop_10")):
        cx, cy, size, side = arrays["crop_args"][t]
        region = Region(torch.tensor([[cx + 0.5, cy + 0.5]]), torch.tensor([side]))
        ours = cut(frames[t], region, int(size), fill, rounding="pysot").pixels
        assert np.array_equal(ours.numpy()[:, ::-1], arrays[key].astype(np.float32)), key
