"""The pairs of each paper preset against the published sampling, written here once more, on copies of the real sets.

Each oracle restates what the named code (or, where none is published, the paper) does, one pair at a time, and knows
nothing of the package. 20,000 pairs of each are compared by two-sample tests: chi-square for sources, videos and kinds
of pairs, Kolmogorov-Smirnov for distances in time, shift, scale and aspect.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from published_sets import Made, write_published_sets
from siamtrack.config import Preset, load_preset
from siamtrack.data.augment import plan_batch, shows_fill
from siamtrack.data.index import build_index
from siamtrack.data.pack import Packing, chosen_rows
from siamtrack.data.pairs import PairSampler, generator
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import CropLabel
from siamtrack.formats.objects import find_object_layout
from siamtrack.geometry.crop import target_region
from siamtrack.presets import preset_names

COUNT = 20_000
SHARE = 500
LIMIT = 3.9
"""Of a standard normal, which one test in 10,000 exceeds in either direction."""

Place = tuple[str, str, str, int]
"""Source, video, object, and number of the annotated frame among those of the object."""


@dataclass(frozen=True)
class Drawn:
    """A pair of an oracle."""

    template: Place
    search: Place
    positive: bool


Oracle = Callable[[Made, random.Random], Drawn]
Change = Callable[[random.Random], tuple[float, float, float, float]]
"""Draws where a target lies right of and below the search crop's middle, in its pixels, and the region's two scales."""


def pysot(ranges: dict[str, int], use: dict[str, int | None], negative: float) -> Oracle:
    """pysot/datasets/dataset.py; `use` is NUM_USE by source, None for all of its videos, and names the sources."""

    def frame_of(made: Made, source: str, video: str, rng: random.Random) -> Place:
        track = rng.choice(list(made.videos[source][video]))
        return source, video, track, rng.randrange(len(made.videos[source][video][track]))

    def draw(made: Made, rng: random.Random) -> Drawn:
        counts = [n / SHARE if n is not None else len(made.videos[source]) for source, n in use.items()]
        source = rng.choices(list(use), counts)[0]
        template = frame_of(made, source, rng.choice(list(made.videos[source])), rng)
        if rng.random() < negative:
            other = rng.choice(list(use))
            return Drawn(template, frame_of(made, other, rng.choice(list(made.videos[other])), rng), False)
        _, video, track, at = template
        reach, last = ranges.get(source, 1), len(made.videos[source][video][track]) - 1
        return Drawn(template, (source, video, track, rng.randint(max(at - reach, 0), min(at + reach, last))), True)

    return draw


def siamfc_pytorch(made: Made, rng: random.Random) -> Drawn:
    """siamfc/datasets.py: two frames of a GOT-10k sequence less than 100 apart, in order."""
    _, video, track, length = rng.choice(made.objects["got10k"])
    while True:
        first, second = sorted(rng.sample(range(length), 2))
        if second - first < 100:
            return Drawn(("got10k", video, track, first), ("got10k", video, track, second), True)


def sa_siam(made: Made, rng: random.Random) -> Drawn:
    """datasets/vid.py of SiamFC-TensorFlow: a distance of 1 to 100, shortened to fit, then the first frame."""
    _, video, track, length = rng.choice(made.objects["vid"])
    apart = min(rng.randint(1, min(length, 100)), length - 1)
    first = rng.randrange(length - apart)
    return Drawn(("vid", video, track, first), ("vid", video, track, first + apart), True)


def sa_siam_text(made: Made, rng: random.Random) -> Drawn:
    """SA-Siam, section 4.1: a pair of images of a tracklet."""
    _, video, track, length = rng.choice(made.objects["vid"])
    first, second = rng.sample(range(length), 2) if length > 1 else (0, 0)
    return Drawn(("vid", video, track, first), ("vid", video, track, second), True)


def spm(made: Made, rng: random.Random) -> Drawn:
    """SPM, section 4.2: videos to stills 4 : 1, same object, same category, other category 2 : 1 : 1.

    How frames and objects are drawn the paper does not say: every object equally often, frames at most 100 apart.
    """
    films, stills = made.films_and_stills
    source, video, track, length = rng.choice(films if rng.random() < 0.8 else stills)
    search = rng.randrange(length)
    if rng.random() < 0.5:
        return Drawn(("", "", "", 0), (source, video, track, search), False)
    frames = made.videos[source][video][track]
    reach = 3 if source == "youtubebb" else 100
    near = [n for n in range(length) if abs(frames[n] - frames[search]) <= reach]
    return Drawn((source, video, track, rng.choice(near)), (source, video, track, search), True)


def pysot_change(shift: float, scale: float) -> Change:
    """pysot/datasets/augmentation.py: sides times 1 ± scale apart, moved by up to `shift` pixels of the plain crop."""

    def change(rng: random.Random) -> tuple[float, float, float, float]:
        wide, high = (1 + rng.uniform(-scale, scale) for _ in range(2))
        return -rng.uniform(-shift, shift) / wide, -rng.uniform(-shift, shift) / high, wide, high

    return change


def stretch_change(exact: bool) -> Change:
    """RandomStretch to 1 ± 0.05 of 255 pixels, the middle 247, any 239 of them; siamfc/transforms.py if `exact`."""

    def change(rng: random.Random) -> tuple[float, float, float, float]:
        side = round(255 * (1 + rng.uniform(-0.05, 0.05)))
        lows = []
        for _ in range(2):
            # TensorFlow divides whole numbers and pads; its last place is left out.
            middle = round((side - 247) / 2) if exact else int((side - 247) / 2)
            lows.append(middle + rng.randint(0, 8 if exact else 7))
        x, y = (side / 2 - low - 239 / 2 for low in lows)
        return x, y, 255 / side, 255 / side

    return change


def no_change(rng: random.Random) -> tuple[float, float, float, float]:
    return 0.0, 0.0, 1.0, 1.0


FOUR: dict[str, int | None] = {"vid": 100_000, "youtubebb": None, "coco": None, "det": None}
RANGES = {"vid": 100, "youtubebb": 3, "got10k": 50, "lasot": 100}
BAN: dict[str, int | None] = {
    "vid": 100_000, "youtubebb": 200_000, "coco": 100_000, "det": 200_000, "got10k": 200_000, "lasot": 200_000
}  # fmt: skip
# Of search region and template: DATASET.SEARCH and DATASET.TEMPLATE in PySOT; the others change both alike.
PYSOT = pysot_change(64, 0.18), pysot_change(4, 0.05)
SIAMFC, SA_SIAM = (stretch_change(exact=True),) * 2, (stretch_change(exact=False),) * 2
RPNPP, ALEX, CAR = pysot(RANGES, FOUR, 0.2), pysot(RANGES, FOUR, 0.05), pysot(RANGES, FOUR, 0.0)
PUBLISHED: dict[str, tuple[Oracle, tuple[Change, Change]]] = {
    **dict.fromkeys(
        ("siamrpn_r50", "siamrpn_r50_paper", "siamrpn_r50_otb", "siamrpn_r50_lt", "siamrpn_mobilev2"), (RPNPP, PYSOT)
    ),
    **dict.fromkeys(("siamrpn_alex", "siamrpn_alex_otb"), (ALEX, PYSOT)),
    **dict.fromkeys(("siamcar_r50", "siamcar_r50_paper", "siamcar_r50_otb", "siamcar_r50_uav"), (CAR, PYSOT)),
    **dict.fromkeys(
        ("siamcar_r50_got10k", "siamcar_r50_got10k_paper"), (pysot(RANGES, {"got10k": 100_000}, 0.0), PYSOT)
    ),
    **dict.fromkeys(("siamcar_r50_lasot", "siamcar_r50_lasot_paper"), (pysot(RANGES, {"lasot": 100_000}, 0.0), PYSOT)),
    "siamban_r50": (pysot(RANGES | {"got10k": 100}, BAN, 0.2), PYSOT),
    # SiamRPN, section 5.1, and DaSiamRPN, section 3.2, drawn as in the same authors' PySOT.
    "siamrpn": (pysot(RANGES, {"vid": 100_000, "youtubebb": None}, 0.0), PYSOT),
    "dasiamrpn": (RPNPP, PYSOT),
    **dict.fromkeys(("spm", "spm_paper"), (spm, PYSOT)),
    "sa_siam": (sa_siam, SA_SIAM),
    "sa_siam_paper": (sa_siam_text, (no_change, no_change)),
    "siamfc": (siamfc_pytorch, SIAMFC),
}


def test_every_paper_preset_is_here() -> None:
    ours = {name for name in preset_names() if name.endswith(("_lite0", "_pico"))}
    assert PUBLISHED.keys() == set(preset_names()) - ours


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return write_published_sets(tmp_path_factory.mktemp("published"), SHARE)


@pytest.fixture(scope="module")
def indexes(made: Made):
    return [build_index(made.root / name, find_object_layout(made.root / name, name))[0] for name in made.videos]


def listed(indexes, how: Packing) -> tuple[ResidentSet, list[Place]]:
    """What `pack` makes of the indexes, without pixels; and which frame each crop shows."""
    rows, places = [], []
    for index in indexes:
        videos = index.track_videos
        for group in chosen_rows(index, how):
            by_track: dict[int, list[int]] = {}
            for row in group:
                by_track.setdefault(int(index.track[row]), []).append(row)
            for track, own in by_track.items():
                boxes = torch.from_numpy(index.boxes[own])
                inner = target_region(boxes, how.context, how.scale)
                for number, (row, box, crop) in enumerate(zip(own, boxes, inner.centre, strict=True)):
                    side = float(inner.side[number]) / how.size
                    low = (box.view(2, 2) - crop) / side + how.size / 2
                    name, video = index.track_names[track], videos[track]
                    label = CropLabel(
                        f"{index.source}/{name}", int(index.frame[row]), tuple(low.flatten().tolist()),
                        index.category_names[index.category[row]], index.source, (), f"{index.source}/{video}",
                    )  # fmt: skip
                    rows.append(("", label))
                    places.append((index.source, video, name, number))
    crops = ResidentSet.listed(rows)
    return replace(crops, images=torch.empty(len(rows), 3, how.size, how.size, device="meta")), places


def scaled(name: str) -> Preset:
    """A preset whose sources count as many videos as in the copies."""
    preset = load_preset(name)
    counts = {source: count / SHARE for source, count in preset.data.source_counts.items()}
    return replace(preset, data=replace(preset.data, source_counts=counts))


def same_counts(ours: Sequence[Hashable], theirs: Sequence[Hashable], what: str) -> None:
    """Chi-square of two samples of categories; those that hardly come up count as one."""
    a, b = Counter(ours), Counter(theirs)
    common = [key for key in a | b if a[key] + b[key] >= 20]
    table = np.array([[a[key], b[key]] for key in common] + [[sum(a.values()), sum(b.values())]], float)
    table[-1] -= table[:-1].sum(0)
    table = table[table.sum(1) > 0]
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    value, degrees = float(((table - expected) ** 2 / expected).sum()), len(table) - 1
    if degrees:
        # Wilson and Hilferty: the cube root of a chi-square is nearly normal.
        normal = ((value / degrees) ** (1 / 3) - 1 + 2 / (9 * degrees)) / math.sqrt(2 / (9 * degrees))
        assert normal < LIMIT, f"{what}: {dict(a.most_common(6))} against {dict(b.most_common(6))}"


def same_values(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    """Kolmogorov-Smirnov of two samples of numbers."""
    points = np.concatenate([ours, theirs])
    shares = [np.searchsorted(np.sort(s), points, "right") / len(s) for s in (ours, theirs)]
    distance = np.abs(shares[0] - shares[1]).max()
    size = math.sqrt(len(ours) * len(theirs) / (len(ours) + len(theirs)))
    assert distance * size < 2.2, f"{what}: {np.quantile(ours, [0, 0.5, 1])}, {np.quantile(theirs, [0, 0.5, 1])}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_pairs_are_drawn_as_published(name: str, made: Made, indexes) -> None:
    oracle, changes = PUBLISHED[name]
    preset = scaled(name)
    how = Packing.for_preset(load_preset(name))
    crops, places = listed(indexes, how)
    rng = generator(1, 0, 0)
    pairs = PairSampler(crops, preset.data).draw(COUNT, rng)
    chance = random.Random(name)
    theirs = [oracle(made, chance) for _ in range(COUNT)]
    ours = [
        Drawn(places[t], places[s], positive)
        for t, s, positive in zip(pairs.template.tolist(), pairs.search.tolist(), pairs.present.tolist(), strict=True)
    ]
    same_counts([d.positive for d in ours], [d.positive for d in theirs], "positive pairs")
    for kind in {d.positive for d in theirs}:
        mine, other = ([d for d in found if d.positive == kind] for found in (ours, theirs))
        same_counts([d.search[0] for d in mine], [d.search[0] for d in other], f"sources, {kind}")
        same_counts([d.search[:2] for d in mine], [d.search[:2] for d in other], f"videos, {kind}")
        if kind or oracle is not spm:
            same_counts([d.template[:3] for d in mine], [d.template[:3] for d in other], f"objects, {kind}")
    for source in {d.search[0] for d in theirs}:
        apart = [
            np.array([d.search[3] - d.template[3] for d in found if d.positive and d.search[0] == source])
            for found in (ours, theirs)
        ]
        same_values(*apart, f"distances, {source}")
        same_counts((apart[0] == 0).tolist(), (apart[1] == 0).tolist(), f"one frame, {source}")

    plan = plan_batch(crops, pairs, preset.crops, preset.data, rng)
    sides = (
        ("search", plan.search.region, plan.boxes, pairs.search, preset.crops.search),
        ("template", plan.template.region, plan.template_boxes, pairs.template, preset.crops.template_side),
    )
    for (what, region, boxes, index, size), change in zip(sides, changes, strict=True):
        plain = target_region(crops.boxes[index], preset.crops.context, size / preset.crops.template).side
        scales = (region.extent().abs() / plain[:, None]).double().numpy()  # negative where a crop is mirrored
        away = ((boxes[:, :2] + boxes[:, 2:] - size) / 2).double().numpy()
        drawn = np.array([change(chance) for _ in range(COUNT)])
        for values, expected, kind in (
            (away[:, 0], drawn[:, 0], "shift in x"), (away[:, 1], drawn[:, 1], "shift in y"),
            (scales[:, 0], drawn[:, 2], "scale of the width"), (scales[:, 1], drawn[:, 3], "scale of the height"),
            (scales[:, 0] / scales[:, 1], drawn[:, 2] / drawn[:, 3], "aspect"),
        ):  # fmt: skip
            same_values(np.round(values, 3), np.round(expected, 3), f"{what}: {kind}")
        if drawn[:, 0].std() > 0:
            pairs_of = (away[:, 0], scales[:, 0]), (drawn[:, 0], drawn[:, 2])
            together = [float(np.corrcoef(shift, scale)[0, 1]) for shift, scale in pairs_of]
            assert abs(together[0] - together[1]) < 0.04, f"{what}: how shift and scale depend on each other"
        assert not shows_fill(region, how.size).any()


@pytest.mark.parametrize("name", PUBLISHED)
def test_paper_presets_are_packed_whole(name: str, indexes) -> None:
    everything = Packing.for_preset(load_preset(name))
    assert (everything.per_track, everything.least_change) == (0, 0)
    assert sum(len(rows) for index in indexes for rows in chosen_rows(index, everything)) == sum(map(len, indexes))


def test_a_window_of_a_stream_draws_sources_as_the_whole_set(made: Made, indexes) -> None:
    """A window that has every video of VID and a tenth of the other sets' draws VID no more often for that."""
    preset, totals = scaled("siamrpn_r50"), {name: len(videos) for name, videos in made.videos.items()}
    crops, _ = listed(indexes, Packing.for_preset(preset))
    keep = torch.tensor([source == "vid" or number % 10 == 0 for source, number in _numbered(crops)])
    window = crops.rows(keep.nonzero()[:, 0])
    shares = []
    for part, counts in ((crops, None), (window, totals)):
        drawn = PairSampler(part, preset.data, counts).draw(COUNT, generator(2, 0, 0))
        shares.append([part.source_names[s] for s in part.sources[drawn.search].tolist()])
    same_counts(*shares, "sources")


def _numbered(crops: ResidentSet) -> list[tuple[str, int]]:
    names = [crops.source_names[s] for s in crops.sources.tolist()]
    return list(zip(names, crops.videos.tolist(), strict=True))
