from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siamtrack.errors import InputError
from siamtrack.geometry.crop import Region, cut, mean_colour, target_region
from siamtrack.geometry.grid import cosine_window, grid_points, grid_positions
from siamtrack.geometry.inputs import frame_size


def picture(width: int = 160, height: int = 120, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (7, 7), 0)


def test_context_formula_of_a_known_box() -> None:
    # w 30, h 50, p = 0.5 * 80 = 40: sqrt(70 * 90).
    region = target_region(torch.tensor([[10.0, 20.0, 40.0, 70.0]]), context=0.5)
    assert region.centre.tolist() == [[25, 45]]
    assert float(region.side) == pytest.approx(np.sqrt(70 * 90))


def test_a_crop_at_its_own_scale_is_the_frame_itself() -> None:
    frame = picture()
    region = Region(torch.tensor([[60.0, 50.0]]), torch.tensor([40.0]))
    expected = frame[30:70, 40:80].transpose(2, 0, 1)
    for source in (frame, torch.from_numpy(frame).permute(2, 0, 1)):
        crop = cut(source, region, 40, torch.zeros(1, 3))
        assert np.abs(crop.pixels[0].numpy() - expected).max() < 0.01


@settings(deadline=None, max_examples=30)
@given(st.floats(-20, 180), st.floats(-20, 140), st.floats(8, 200), st.sampled_from([31, 64, 127]), st.floats(0.7, 1.4))
def test_numpy_and_tensor_frames_give_the_same_crop(x: float, y: float, side: float, size: int, stretch: float) -> None:
    frame = picture()
    region = Region(torch.tensor([[x, y]]), torch.tensor([side]), torch.tensor([[stretch, 1 / stretch]]))
    fill = mean_colour(frame)[None]
    one = cut(frame, region, size, fill).pixels
    other = cut(torch.from_numpy(frame).permute(2, 0, 1), region, size, fill).pixels
    # OpenCV computes places in 1/32 px and rounds to whole grey levels.
    assert float((one - other).abs().mean()) < 0.7
    assert float((one - other).abs().max()) < 9


def test_many_regions_of_one_frame_equal_one_at_a_time() -> None:
    frame = torch.from_numpy(picture()).permute(2, 0, 1)
    centre, side = torch.rand(5, 2) * 100, torch.rand(5) * 60 + 10
    fill = mean_colour(frame)[None].expand(5, -1)
    together = cut(frame, Region(centre, side), 63, fill).pixels
    for i in range(5):
        alone = cut(frame, Region(centre[i : i + 1], side[i : i + 1]), 63, fill[:1]).pixels
        assert torch.equal(alone[0], together[i])


def test_outside_of_the_frame_is_the_fill_colour() -> None:
    fill = torch.tensor([[10.0, 200.0, 90.0]])
    region = Region(torch.tensor([[-300.0, -300.0]]), torch.tensor([50.0]))
    for frame in (picture(), torch.from_numpy(picture()).permute(2, 0, 1)):
        pixels = cut(frame, region, 16, fill).pixels
        assert torch.allclose(pixels, fill[:, :, None, None].expand_as(pixels))


@given(st.lists(st.floats(-50, 200), min_size=4, max_size=4), st.floats(5, 300))
def test_the_way_back_undoes_the_way_in(box: list[float], side: float) -> None:
    region = Region(torch.tensor([[33.0, 71.0]]), torch.tensor([side]), torch.tensor([[1.2, 0.8]]))
    boxes = torch.tensor([box])
    assert torch.allclose(
        region.to_frame(region.to_crop(boxes, 127).reshape(1, 2, 2), 127).flatten(1), boxes, atol=1e-2
    )
    extent = region.extent()[0]
    corners = torch.stack([region.centre[0] - extent / 2, region.centre[0] + extent / 2])
    assert torch.allclose(region.to_frame(torch.tensor([[[0.0, 0.0], [127.0, 127.0]]]), 127)[0], corners, atol=1e-3)


def test_a_dot_is_found_where_the_crop_says_it_is() -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    frame[40, 70] = 255
    region = Region(torch.tensor([[60.0, 50.0]]), torch.tensor([50.0]))
    crop = cut(frame, region, 250, torch.zeros(1, 3))
    y, x = np.unravel_index(int(crop.pixels[0, 0].argmax()), (250, 250))
    places = np.argwhere(crop.pixels[0, 0].numpy() >= crop.pixels[0, 0].max().item() - 1).mean(0) + 0.5
    back = region.to_frame(torch.tensor([[places[1], places[0]]]), 250)
    assert back[0].tolist() == pytest.approx([70.5, 40.5], abs=0.15), (x, y)


def test_crops_agree_with_the_reference_to_its_rounding(shared: Path) -> None:
    """PySOT rounds the patch to whole pixels first: shifts of up to half a pixel, so textures differ a little."""
    folder = shared / "golden" / "blocks"
    arrays = np.load(folder / "block_pysot_crop.npz")
    assert "cx, cy, model_sz, original_sz" in json.loads((folder / "block_pysot_crop.json").read_text())["note"]
    for i, (cx, cy, size, side) in enumerate(arrays["args"]):
        region = Region(torch.tensor([[cx + 0.5, cy + 0.5]]), torch.tensor([side]))
        fill = torch.tensor(np.floor(arrays["avg"]))[None].float()
        ours = cut(np.ascontiguousarray(arrays["image"]), region, int(size), fill).pixels[0].numpy()
        theirs = arrays[f"crop_{i}"][0].astype(np.float32)
        shifts = []
        for dx in np.linspace(-1, 1, 9):
            for dy in np.linspace(-1, 1, 9):
                moved = Region(region.centre + torch.tensor([dx, dy]), torch.tensor([round(side)]).float())
                other = cut(np.ascontiguousarray(arrays["image"]), moved, int(size), fill).pixels[0].numpy()
                shifts.append((float(np.abs(other - theirs).mean()), abs(dx), abs(dy)))
        best, dx, dy = min(shifts)
        assert best < 3.0 and dx <= 1 and dy <= 1, (i, best)
        assert float(np.abs(ours - theirs).mean()) < 30


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
        torch.zeros(5, 5, 3),
        "frame",
    ],
)
def test_what_is_no_frame_is_refused(frame: object) -> None:
    with pytest.raises(InputError, match="frame"):
        frame_size(frame)  # type: ignore[arg-type]


def test_the_grid_is_centred_and_the_window_is_the_hann_window() -> None:
    points = grid_points(25, 8, 255)
    assert points.shape == (625, 2)
    assert points.mean(0).tolist() == [127.5, 127.5]
    assert points[1].tolist() == [127.5 - 96 + 8, 127.5 - 96]
    window = cosine_window(grid_positions(25)).reshape(25, 25).numpy()
    assert np.allclose(window, np.outer(np.hanning(25), np.hanning(25)), atol=1e-6)


def test_a_turned_region_shows_the_frame_turned_and_both_ways_of_cutting_agree() -> None:
    frame = picture()
    region = Region(torch.tensor([[70.0, 60.0]]), torch.tensor([80.0]), None, torch.tensor([0.4]))
    fill = mean_colour(frame)[None]
    one = cut(frame, region, 127, fill).pixels
    other = cut(torch.from_numpy(frame).permute(2, 0, 1), region, 127, fill).pixels
    assert float((one - other).abs().mean()) < 0.7
    quarter = Region(torch.tensor([[60.0, 50.0]]), torch.tensor([40.0]), None, torch.tensor([np.pi / 2]))
    upright = cut(frame, Region(quarter.centre, quarter.side), 40, fill).pixels[0]
    assert torch.allclose(cut(frame, quarter, 40, fill).pixels[0], upright.rot90(1, (1, 2)), atol=1.5)


def test_the_box_of_a_turned_crop_holds_the_turned_object() -> None:
    frame = np.zeros((200, 200, 3), np.uint8)
    cv2.ellipse(frame, (120, 80), (40, 15), 0, 0, 360, (255, 255, 255), -1)
    box = torch.tensor([[80.0, 65.0, 161.0, 96.0]])
    for angle in (-0.6, 0.2, 1.0):
        region = Region(torch.tensor([[110.0, 90.0]]), torch.tensor([150.0]), None, torch.tensor([angle]))
        crop = cut(frame, region, 300, torch.zeros(1, 3))
        ys, xs = np.nonzero(crop.pixels[0, 0].numpy() > 128)
        seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert crop.to_crop(box)[0].tolist() == pytest.approx(seen, abs=3)
        with pytest.raises(ValueError, match="turned"):
            region.to_frame(box[:, :2], 300)


def test_a_huge_square_needs_no_memory_of_its_own_and_is_cut_as_a_tensor_is() -> None:
    frame, fill = picture(), torch.tensor([[10.0, 20.0, 30.0]])
    for side, rounding in ((20_000.0, "pysot"), (20_000.0, "siamfc"), (2e6, "pysot")):
        region = Region(torch.tensor([[80.0, 60.0]]), torch.tensor([side]))
        whole = cut(frame, region, 127, fill, rounding=rounding).pixels
        other = cut(torch.from_numpy(frame).permute(2, 0, 1), region, 127, fill, rounding=rounding).pixels
        assert float((whole - other).abs().max()) <= 1
