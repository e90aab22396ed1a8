"""Geometry and pixels of a training batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from siamtrack.config import Crops, Data, Jitter
from siamtrack.data.augment import jittered, plan_batch, render_batch, shows_fill
from siamtrack.data.pairs import Pairs, PairSampler, generator
from siamtrack.data.photometric import PhotometricParams, draw_photometric, recolour, recolour_one
from siamtrack.data.render import PasteSpec, View, _batched, _each, edge_colour, region_warps
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import CropLabel, OtherObject
from siamtrack.geometry.crop import Region, cut, target_region

STILL = Jitter(shift=0, scale=0)
PLAIN = Data(template=STILL, search=STILL)
WILD = Data(
    negative=0.3, template=Jitter(shift=8, scale=0.1, aspect=0.1), search=Jitter(shift=64, scale=0.3, aspect=0.25),
    flip=0.5, colour=0.3, grey=0.2, blur=0.4, noise=0.3, distract=0.4, occlude=0.3,
)  # fmt: skip


def batch_of(crops: ResidentSet, data: Data, count: int = 32, step: int = 0, sizes: Crops | None = None):
    rng = generator(0, 0, step)
    pairs = PairSampler(crops, data).draw(count, rng)
    return render_batch(plan_batch(crops, pairs, sizes or Crops(), data, rng), crops)


def painted(boxes: list[tuple[int, int, int, int]], others: tuple[OtherObject, ...] = ()) -> ResidentSet:
    """Black pictures with a white object each, bright enough that its edges can be found again."""
    images = torch.zeros(len(boxes), 368, 368, 3, dtype=torch.uint8)
    for image, (x0, y0, x1, y1) in zip(images, boxes, strict=True):
        image[y0:y1, x0:x1] = 255
    labels = [(f"k{i}", CropLabel(f"t{i}", 0, box, "c", "s", others)) for i, box in enumerate(boxes)]
    return replace(ResidentSet.listed(labels), images=images.permute(0, 3, 1, 2))


@pytest.mark.parametrize("case", [1, 2, 3])
def test_the_uniform_law_cuts_what_pysot_cuts(shared: Path, case: int):
    """Same random numbers, same pixels (but for PySOT's colour offset) and the same box."""
    golden = np.load(shared / "golden" / "blocks" / "block_pysot_augment.npz")
    image, theirs = golden["image"], torch.from_numpy(golden[f"aug_{case}"]).float()
    random = np.random.RandomState(400 + case)
    draws = np.zeros(4) if case == 3 else np.array([random.random_sample() * 2 - 1 for _ in range(4)])
    size, jitter = 255, Jitter(shift=64, scale=0.18, law="uniform")
    u = torch.tensor([[draws[2], draws[3], draws[0], draws[1]]], dtype=torch.float64)
    # Pixel 255 is the middle of 511: as a continuous coordinate, 255.5.
    middle = Region(torch.tensor([[255.5, 255.5]]).double(), torch.tensor([255.0]).double())
    crop = cut(image, jittered(middle, size, jitter, u), size, torch.zeros(1, 3))
    # Corners are pixel centres there and edges here: half a pixel, before and after.
    box = crop.to_crop(torch.tensor([[215.5, 225.5, 295.5, 285.5]]).double())[0] - 0.5
    ours = crop.pixels[0].permute(1, 2, 0)
    if case == 2:  # mirrored; its pixels are blurred by a random line and are not compared
        box = torch.stack([size - 1 - box[2], box[1], size - 1 - box[0], box[3]])
    else:
        difference = (ours - theirs)[8:-8, 8:-8].reshape(-1, 3)
        offset = difference.median(0).values if case == 1 else torch.zeros(3)
        assert float((difference - offset).abs().mean()) < 1.0
    assert torch.allclose(box, torch.from_numpy(golden[f"box_{case}"]), atol=1e-6)


def test_without_jitter_crops_are_what_the_tracker_cuts(small_set: ResidentSet):
    batch = batch_of(small_set, PLAIN, 8)
    for i, (t, s) in enumerate(zip(batch.pairs.template, batch.pairs.search, strict=True)):
        for row, size, pixels in ((t, 127, batch.template[i]), (s, 255, batch.search[i])):
            region = target_region(small_set.boxes[row][None], 0.5, size / 127)
            frame = np.ascontiguousarray(small_set.images[row].permute(1, 2, 0).numpy())
            fill = edge_colour(small_set.images, row[None])
            assert torch.equal(cut(frame, region, size, fill).pixels[0], pixels)


def test_boxes_lie_where_the_objects_are():
    crops = painted([(144, 134, 224, 234), (150, 160, 210, 200), (120, 164, 250, 204)])
    data = Data(template=STILL, search=Jitter(shift=64, scale=0.3, aspect=0.25), flip=0.5)
    batch = batch_of(crops, data, 64)
    for pixels, box in zip(batch.search.mean(1), batch.boxes, strict=True):
        inside = pixels > 127
        for axis, low, high in ((0, box[0], box[2]), (1, box[1], box[3])):
            marked = torch.nonzero(inside.any(axis))[:, 0]
            assert abs(float(marked[0]) - max(0.0, float(low))) <= 1
            assert abs(float(marked[-1] + 1) - min(255.0, float(high))) <= 1


def test_other_objects_lie_where_they_are_seen():
    """The crop's own object is black here; the others, one of them of another category, are what is white."""
    white = [(60, 130, 100, 190), (250, 180, 300, 210)]
    others = tuple(OtherObject(box, name) for box, name in zip(white, ("dog", "cat"), strict=True))
    labels = [(f"k{i}", CropLabel(f"t{i}", 0, (150, 150, 220, 210), "dog", "s", others)) for i in range(3)]
    images = torch.zeros(3, 368, 368, 3, dtype=torch.uint8)
    for x0, y0, x1, y1 in white:
        images[:, y0:y1, x0:x1] = 255
    crops = replace(ResidentSet.listed(labels), images=images.permute(0, 3, 1, 2))
    data = Data(template=STILL, search=Jitter(shift=64, scale=0.2, aspect=0.2), flip=0.5, negative=0.3)
    batch = batch_of(crops, data, 64)
    assert batch.others is not None and batch.others_alike is not None
    assert batch.others.shape == (64, 6, 4) and bool(batch.others[:, 2:].isnan().all())
    shown = ~batch.others[..., 0].isnan()
    assert torch.equal(batch.others_alike, shown & (torch.arange(6) == 0))
    assert 0.5 < float(shown[:, :2].float().mean()) < 1
    points = torch.arange(255) + 0.5
    for pixels, boxes in zip(batch.search.mean(1), batch.others, strict=True):
        covered = torch.zeros(255, 255, dtype=torch.bool)
        for x0, y0, x1, y1 in boxes[~boxes[:, 0].isnan()]:
            covered |= ((points > y0) & (points < y1))[:, None] & (points > x0) & (points < x1)
        assert float((covered != (pixels > 127)).float().mean()) < 0.005


def test_parts_have_no_others_of_their_category(small_set: ResidentSet):
    label = CropLabel("t", 0, (150, 150, 220, 210), "dog", "s", (OtherObject((100, 150, 140, 200), "dog"),))
    crops = replace(ResidentSet.listed([("k", label)]), images=small_set.images[:1])
    for share in (0.0, 1.0):
        batch = batch_of(crops, Data(template=STILL, search=STILL, object_part_prob=share), 8)
        assert batch.others_alike is not None
        assert bool((batch.others_alike[:, 0] == (share == 0)).all())


def test_regions_kept_inside_show_no_fill(one_shard: ResidentSet):
    """What lies beyond a stored crop is flat and on the side away from the target, which tells where that is."""
    search = Jitter(shift=64, scale=0.3, aspect=0.25, turn=8)
    shares, pictures = [], []
    for jitter in (search, replace(search, inside=True)):
        data = Data(template=STILL, search=jitter, flip=0.5)
        rng = generator(0, 0, 0)
        pairs = PairSampler(one_shard, data).draw(500, rng)
        plan = plan_batch(one_shard, pairs, Crops(search=255), data, rng)
        shares.append(float(shows_fill(plan.search.region, 368).float().mean()))
        beyond = torch.tensor(region_warps(plan.search.region, 255, (368, 368)).beyond)
        pictures.append(float(beyond.float().mean()))
        size = plan.boxes[:, 2:] - plan.boxes[:, :2]
        assert bool(((plan.boxes[:, :2] > -size / 2) & (plan.boxes[:, 2:] < 255 + size / 2)).all())
    assert shares[0] > 0.3 and shares[1] == 0
    assert pictures[0] >= shares[0]


@pytest.mark.parametrize("shift", [0, 16, 32, 64])
def test_the_shift_is_uniform_and_bounded(small_set: ResidentSet, shift: int):
    data = Data(template=STILL, search=Jitter(shift=shift, scale=0.3))
    rng = generator(0, 0, 0)
    pairs = PairSampler(small_set, data).draw(200, rng)
    centre = plan_batch(small_set, pairs, Crops(), data, rng).boxes
    away = (centre[:, :2] + centre[:, 2:]) / 2 - 127.5
    assert float(away.abs().max()) <= shift + 1e-3
    if shift:
        steps = torch.sort(away.flatten() / shift).values
        expected = torch.linspace(-1, 1, len(steps))
        assert float((steps - expected).abs().max()) < 0.2  # Kolmogorov–Smirnov at 0.1%, on a scale of 2


def test_the_log_law_draws_larger_as_often_as_smaller():
    u = torch.rand(4000, 4, generator=generator(0, 0, 0)) * 2 - 1
    region = Region(torch.zeros(4000, 2), torch.full((4000,), 100.0))
    out = jittered(region, 255, Jitter(scale=1.0, aspect=0.5), u)
    extent = out.extent()
    scale, aspect = extent.prod(1).sqrt() / 100, extent[:, 0] / extent[:, 1]
    assert 0.5 <= float(scale.min()) < 0.52
    assert 1.95 < float(scale.max()) <= 2
    assert float((scale > 1).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert 1 / 1.501 < float(aspect.min()) < 0.68
    assert 1.47 < float(aspect.max()) < 1.501


def test_flipping_mirrors_both_crops_and_the_box(small_set: ResidentSet):
    jitter = Jitter(shift=0, scale=0.2, aspect=0.2)
    plain, mirrored = (batch_of(small_set, Data(template=jitter, search=jitter, flip=f), 8) for f in (0.0, 1.0))
    assert float((plain.template.flip(3) - mirrored.template).abs().mean()) < 1
    assert float((plain.search.flip(3) - mirrored.search).abs().mean()) < 1
    assert torch.allclose(255 - plain.boxes[:, [2, 1, 0, 3]] * torch.tensor([1, -1, 1, -1.0]) - torch.tensor(
        [0, 255, 0, 255.0]), mirrored.boxes, atol=1e-3)  # fmt: skip


def test_crop_by_crop_is_what_all_at_once_is(one_shard: ResidentSet):
    """The CPU's way and the GPU's, both on a CPU: cut, turned, mirrored, pasted into, recoloured and blurred."""
    rng = generator(0, 0, 1)
    index = torch.arange(0, 40)
    boxes = one_shard.boxes[index]
    u = torch.rand(40, 4, generator=rng) * 2 - 1
    region = jittered(target_region(boxes, 0.5, 2), 255, Jitter(shift=64, scale=0.3, aspect=0.25), u)
    assert region.stretch is not None
    turn = torch.linspace(-0.3, 0.3, 40)
    region = Region(region.centre, region.side, region.stretch * torch.tensor([-1.0, 1.0]), turn)
    rows = torch.arange(0, 40, 3)
    corner = torch.rand(len(rows), 2, generator=rng) * 220 - 20
    places = torch.cat([corner, corner + 20 + torch.rand(len(rows), 2, generator=rng) * 90], 1)
    pieces = PasteSpec(rows, rows + 50, one_shard.boxes[rows + 50], places)
    plain = draw_photometric(torch.zeros(40, dtype=torch.bool), PLAIN, rng)
    changed = draw_photometric(torch.arange(40) % 7 == 0, Data(colour=0.4, grey=0.1, blur=0.5), rng)
    before = torch.get_num_threads()
    for view in (View(index, region, 255, plain, pieces), View(index, region, 255, changed, pieces)):
        (one,), together = _each(one_shard, [view]), _batched(one_shard, view)
        assert one.shape == together.shape == (40, 3, 255, 255)
        # Edges of pieces apart, they are the same to the interpolation's and a rounded picture's grey level.
        assert float((one - together).abs().mean()) < 1
        assert float(((one - together).abs() > 12).float().mean()) < 2e-3
        try:
            torch.set_num_threads(3)
            assert torch.equal(_each(one_shard, [view])[0], one)
        finally:
            torch.set_num_threads(before)


def test_pasted_pieces_lie_beside_or_cover_a_part():
    boxes = [(144, 134, 224, 234), (150, 160, 210, 200), (120, 164, 250, 204), (160, 100, 200, 260)]
    crops = painted(boxes)
    crops.images[1:] = 100  # only the first object is white; all others are grey, and so are their pieces
    search = torch.zeros(4, dtype=torch.int64)
    pairs = Pairs(search, search, search == 0, torch.tensor([1, 2, 3, -1]))
    for part, low, high in (("distract", 0.0, 0.02), ("occlude", 0.01, 0.4)):
        data = Data(template=STILL, search=STILL, **{part: 1.0})
        batch = render_batch(plan_batch(crops, pairs, Crops(), data, generator(0, 0, 5)), crops)
        x0, y0, x1, y1 = batch.boxes[0].round().int().tolist()
        inside = batch.search[:, 0, y0:y1, x0:x1]
        hidden = ((inside > 60) & (inside < 140)).float().mean((1, 2))
        assert bool((hidden[:3] >= low).all()), part
        assert bool((hidden[:3] <= high).all()), part
        assert float((batch.search[3] == 100).float().mean()) == 0  # -1: nothing is pasted
        assert bool(((batch.search[:3] == 100).float().mean((1, 2, 3)) > 0.001).any())


def test_recolouring_keeps_range_and_greys(small_set: ResidentSet):
    data = Data(template=STILL, search=STILL, colour=0.8, grey=1.0, noise=0.0, blur=0.0)
    batch = batch_of(small_set, data, 16)
    assert float(batch.search.min()) >= 0
    assert float(batch.search.max()) <= 255
    assert float((batch.search.amax(1) - batch.search.amin(1)).max()) < 0.01
    x = torch.rand(4, 3, 16, 16) * 255
    same = x.clone()
    looks = draw_photometric(torch.zeros(4, dtype=torch.bool), PLAIN, generator(0, 0, 0))
    recolour(same, looks)
    assert torch.equal(x, same)
    picture, made = np.arange(48, dtype=np.uint8).reshape(4, 4, 3), np.zeros((4, 4, 3), np.float32)
    recolour_one(picture, looks, 0, made)
    assert np.array_equal(made, picture)


def _both(x: torch.Tensor, looks: PhotometricParams) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops (B, 3, S, S) of whole grey levels recoloured all at once, and one by one."""
    pictures = x.permute(0, 2, 3, 1).contiguous().numpy()
    made = np.zeros_like(pictures)
    for row, picture in enumerate(pictures):
        recolour_one(picture.astype(np.uint8), looks, row, made[row])
    together = x.clone()
    recolour(together, looks)
    return together, torch.from_numpy(made).permute(0, 3, 1, 2)


def test_noise_has_eight_grey_levels():
    looks = draw_photometric(torch.zeros(200, dtype=torch.bool), Data(noise=0.5), generator(0, 0, 0))
    for x in _both(torch.full((200, 3, 32, 32), 128.0), looks):
        spread = x.flatten(1).std(1)
        noisy = spread > 0
        assert float(noisy.float().mean()) == pytest.approx(0.5, abs=0.1)
        assert float(spread[noisy].mean()) == pytest.approx(8, rel=0.02)
        first, second = x[noisy][:2]
        assert float((first - second).abs().mean()) > 5  # not the same noise


def test_both_ways_to_blur_agree_and_keep_the_mean(small_set: ResidentSet):
    x = small_set.images[:5, :, 50:114, 70:134].float().contiguous()
    looks = draw_photometric(torch.zeros(5, dtype=torch.bool), Data(blur=1.0), generator(0, 0, 0))
    together, each = _both(x, looks)
    assert torch.allclose(together, each, atol=0.01)
    assert torch.allclose(together.mean((2, 3)), x.mean((2, 3)), atol=3)
    variance = _moments(torch.from_numpy(looks.kernels))
    assert len(set(looks.motion.tolist())) == 2  # both kinds are drawn
    assert ((variance[:, 1] / variance[:, 0] < 0.9).numpy() == looks.motion).all()


def test_the_published_blur_is_a_cross_of_5_to_45_pixels(small_set: ResidentSet):
    """PySOT's law: n of 5, 7 .. 45, a column of wx / n and a row of (1 - wx) / n, wx uniform."""
    looks = draw_photometric(torch.zeros(8000, dtype=torch.bool), Data(blur=0.5, blur_law="cross"), generator(0, 0, 0))
    kernels = looks.kernels[looks.blurred]
    assert kernels.shape[1:] == (45, 45) and not looks.kernels[~looks.blurred].any()
    assert np.allclose(kernels.sum((1, 2)), 1, atol=1e-5)
    lengths = (kernels[:, :, 22] > 0).sum(1)
    assert np.array_equal(np.unique(lengths), np.arange(5, 46, 2))
    counts = np.bincount((lengths - 5) // 2, minlength=21)
    assert np.abs(counts - len(lengths) / 21).max() < 4.5 * np.sqrt(len(lengths) / 21)
    upright = kernels[:, 22 - 2, 22] * lengths  # two cells above the middle: the column alone
    assert np.allclose(np.quantile(upright, (0.1, 0.5, 0.9)), (0.1, 0.5, 0.9), atol=0.03)
    assert np.allclose(kernels[:, 22, 22 - 2] * lengths, 1 - upright, atol=1e-5)
    off = np.abs(np.arange(45) - 22) > 0
    assert not kernels[:, off][:, :, off].any()
    x = small_set.images[:5, :, 50:114, 70:134].float().contiguous()
    together, each = _both(
        x, draw_photometric(torch.zeros(5, dtype=torch.bool), Data(blur=1.0, blur_law="cross"), generator(0, 0, 0))
    )
    assert torch.allclose(together, each, atol=0.01) and not torch.allclose(together, x, atol=5)


def test_colours_change_by_what_was_drawn():
    x = (torch.rand(64, 3, 24, 24, generator=generator(0, 0, 0)) * 100 + 60).round()
    looks = draw_photometric(torch.arange(64) % 4 == 0, Data(colour=0.2), generator(0, 0, 1))
    together, each = _both(x, looks)
    assert torch.allclose(together, each, atol=1)  # whole grey levels, and OpenCV's fixed point
    # Brightness turns a crop's mean by up to exp(0.2), and the balance of colours by up to 8% besides.
    ratio = together.mean((1, 2, 3)) / x.mean((1, 2, 3))
    assert float(ratio.max()) < 1.23 * 1.09 and float(ratio.min()) > 0.81 * 0.91
    assert float(ratio.max()) > 1.12 and float(ratio.min()) < 0.9
    flat = (together.amax(1) - together.amin(1)).flatten(1).amax(1) < 0.01
    assert torch.equal(flat, torch.arange(64) % 4 == 0)


def _moments(kernels: torch.Tensor) -> torch.Tensor:
    """(K, 2) variances along the long and the short axis of each kernel."""
    line = torch.arange(-5.0, 6)
    y, x = torch.meshgrid(line, line, indexing="ij")
    xx, yy, xy = ((kernels * m).sum((1, 2)) for m in (x * x, y * y, x * y))
    return torch.linalg.eigvalsh(torch.stack([xx, xy, xy, yy], 1).reshape(-1, 2, 2)).flip(1)


def test_a_batch_is_a_function_of_its_generator_alone(one_shard: ResidentSet):
    before = torch.get_rng_state()
    first, _, again = (batch_of(one_shard, WILD, 12, step) for step in (3, 4, 3))
    assert torch.equal(first.search, again.search)
    assert torch.equal(first.template, again.template)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.keys == tuple(
        f"{one_shard.keys[t]}/{one_shard.keys[s]}"
        for t, s in zip(first.pairs.template.tolist(), first.pairs.search.tolist(), strict=True)
    )


def test_a_wide_template_shows_more_at_the_same_scale(small_set: ResidentSet):
    wide = batch_of(small_set, PLAIN, 4, sizes=Crops(template_crop=255))
    plain = batch_of(small_set, PLAIN, 4)
    assert wide.template.shape == (4, 3, 255, 255)
    assert float((wide.template[:, :, 64:191, 64:191] - plain.template).abs().max()) <= 2


def test_lighting_moves_colours_as_published_and_blur_can_spare_templates() -> None:
    """Offsets are normal along the three components of PySOT's augmentation: covariance M M', no mean."""
    data = Data(lighting=1.0, blur=0.5, blur_templates=False)
    grey = torch.zeros(40_000, dtype=torch.bool)
    search = draw_photometric(grey, data, generator(3, 0, 0))
    components = np.array(
        [
            [-0.55919361, 0.98062831, -0.41940627],
            [1.72091413, 0.19879334, -1.82968581],
            [4.64467907, 4.73710203, 4.88324118],
        ]
    )
    assert np.allclose(np.cov(search.shift.T), components @ components.T, atol=0.8)
    assert np.abs(search.shift.mean(0)).max() < 0.2 and 0.48 < search.blurred.mean() < 0.52
    assert not draw_photometric(grey, data, generator(3, 0, 0), template=True).blurred.any()
    some = draw_photometric(grey, Data(lighting=0.25), generator(3, 0, 0))
    assert 0.24 < some.shift.any(1).mean() < 0.26
    pixels = torch.full((2, 3, 8, 8), 100.0)
    one, looks = np.empty((8, 8, 3), np.float32), draw_photometric(grey[:2], Data(lighting=1.0), generator(5, 0, 0))
    recolour(pixels, looks)
    assert np.allclose(pixels[1, :, 0, 0].numpy(), 100 + looks.shift[1], atol=1e-4)
    recolour_one(np.full((8, 8, 3), 100, np.uint8), looks, 1, one)
    assert np.allclose(one[0, 0], 100 + looks.shift[1], atol=0.51)
