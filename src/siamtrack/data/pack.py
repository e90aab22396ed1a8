"""Packing: crops of the objects of an index, in shards that train from anywhere.

A crop shows 2.9 times the template's square around its object, resampled so that a template takes 127 of its 368
pixels, unless told otherwise: `Packing.for_preset` gives the size that a preset's regions need. All crops of an object
are in one shard, so that every window of a stream can pair them.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from siamtrack import storage
from siamtrack.arguments import checked
from siamtrack.config import Jitter, Preset
from siamtrack.data.augment import STRETCHED
from siamtrack.data.index import Index, Progress, read_pictures
from siamtrack.data.shards import (
    MANIFEST,
    MOST_OTHERS,
    UNFINISHED,
    CropLabel,
    OtherObject,
    ShardFile,
    read_shard,
    write_manifest,
)
from siamtrack.errors import DataError, reason
from siamtrack.evaluation.jobs import Beat, Event, Failed, Finished, Workers
from siamtrack.evaluation.pool import run_jobs
from siamtrack.formats.layout import Problem
from siamtrack.geometry.boxes import box_iou
from siamtrack.geometry.crop import cut, mean_colour, target_region
from siamtrack.geometry.inputs import Image
from siamtrack.io import sweep_drafts

_ALIKE = 0.9  # boxes that overlap by this much (IoU) are the same box as far as `Packing.least_change` goes


@dataclass(frozen=True)
class Packing:
    """How to pack.

    Attributes:
        size: side of a crop in pixels.
        scale: how many times the template's square a crop shows (`geometry.crop.target_region`).
        context: share of width + height that the template's square adds, as `crops.context` of a preset.
        per_track: at most this many frames of an object, spread evenly over its time; more where `gaps` ask for it;
            0 for all.
        spacing: least distance of two of them, in frames.
        gaps: by source, the largest distance of neighbouring frames of an object; "" for other sources. 0 for any.
        least_change: a crop whose pixels differ by less than this from the one before it, on average (0 to 255), and
            whose box is nearly the same, is left out; 0 to keep all.
        smallest: boxes whose smaller side has fewer pixels are left out.
        shard: crops a shard, about: an object is not split.
        quality: of the JPEG files, 1 to 100.
        seed: of the order of the objects.
    """

    size: int = 368
    scale: float = 2.9
    context: float = 0.5
    per_track: int = 10
    spacing: int = 1
    gaps: Mapping[str, int] = field(default_factory=dict)
    least_change: float = 1.0
    smallest: float = 8.0
    shard: int = 1000
    quality: int = 92
    seed: int = 0

    @staticmethod
    def for_preset(preset: Preset) -> Packing:
        """The crops that a preset's training needs.

        They hold its template and search regions at their largest shift, scale, aspect and turn, so that none shows
        what lies beyond a crop unless the frame ends there, and follow each other closely enough for its gaps. A preset
        of a paper gets every box of every object, as its code does: one that draws as that code (`data.sampling`), or
        every object equally often (`data.frames_weight` of 1).
        """
        crops, data = preset.crops, preset.data
        sides = _largest_side(crops.template_side, data.template), _largest_side(crops.search, data.search)
        size = math.ceil(max(sides))
        how = Packing(size, size / crops.template, crops.context, gaps={"": data.gap, **data.gaps})
        if data.sampling == "objects" and data.frames_weight > 1:
            return how
        return replace(how, per_track=0, least_change=0.0, smallest=1.0)


def _largest_side(size: int, jitter: Jitter) -> float:
    """Side of the square that holds every jittered region of a crop of `size` pixels (see `data.augment.jittered`)."""
    if jitter.law == "uniform":
        half, shift = size / 2 * (1 + jitter.scale), jitter.shift
    elif jitter.law in ("siamfc", "sa_siam"):
        smallest = STRETCHED * (1 - jitter.scale) - 1
        half, shift = size / 2 * STRETCHED / smallest, (jitter.shift + 0.5) * STRETCHED / smallest
    else:
        half = size / 2 * (1 + jitter.scale) * math.sqrt(1 + jitter.aspect)
        shift = jitter.shift * (1 + jitter.scale)
    turn = math.radians(min(jitter.turn, 45))
    return 2 * (half * (math.cos(turn) + math.sin(turn)) + shift)


def _shard_name(number: int) -> str:
    """What the shard of a number, counted from 0, is called."""
    return f"train-{number:06d}.tar"


@dataclass
class _Shards:
    """The set that is being made: the shard that is being filled, and those that are done.

    A file beside the shards tells what a pack that was stopped has done: it goes on from there, if it is `made_of` a
    hash of the same indexes and `Packing`. `groups` counts the groups of objects that are in the shards, with their
    problems, and `objects` those of the next group.
    """

    place: storage.Place
    made_of: str
    rows: list[tuple[bytes, CropLabel]] = field(default_factory=list)
    done: list[ShardFile] = field(default_factory=list)
    videos: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    groups: int = 0
    objects: int = 0
    problems: list[Problem] = field(default_factory=list)

    def flush(self) -> None:
        if not self.rows:
            return
        first, name = sum(shard.crops or 0 for shard in self.done), _shard_name(len(self.done))
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            for number, (jpeg, label) in enumerate(self.rows, first):
                for kind, blob in (("jpg", jpeg), ("json", label.as_json())):
                    member = tarfile.TarInfo(f"{number:09d}.{kind}")
                    member.size = len(blob)
                    tar.addfile(member, io.BytesIO(blob))
        storage.write_whole_to(storage.join(self.place, name), content.getbuffer())
        self.done.append(ShardFile(name, storage.join(self.place, name), len(self.rows), content.getbuffer().nbytes))
        self.note(label for _, label in self.rows)
        self.rows.clear()

    def note(self, labels: Iterable[CropLabel]) -> None:
        """Take in the videos of what is in a shard."""
        for label in labels:
            self.videos[label.source].add(label.video or label.track)

    @property
    def path(self) -> storage.Place:
        return storage.join(self.place, UNFINISHED)

    @property
    def kept(self) -> bool:
        """Web servers that take files need not be able to delete them; there a set counts once it has its list."""
        return not str(self.place).lower().startswith("http")

    def restore(self) -> None:
        """Go on where the same work was stopped, else begin; raises `DataError` if the folder holds other shards."""
        if not storage.is_url(self.place):
            sweep_drafts(Path(self.place))
        with storage.alone_at(self.place):
            if not (self.kept and storage.exists(self.path)):
                names = storage.list_names(self.place) if self.kept else []
                taken = any(name == MANIFEST or name.endswith(".tar") for name in names)
                if taken or (not self.kept and _is_listed(self.place)):
                    raise DataError(f"{self.place} holds shards already; give a new folder, or delete them")
                self.save()
                return
        held = storage.read_json_from(self.path)
        if held.get("made_of") != self.made_of:
            raise DataError(
                f"{self.place} holds a half-made set of other data or settings; give a new folder, or delete it"
            )
        try:
            self.groups, self.objects = int(held["groups"]), int(held["objects"])
            self.problems = [Problem(*map(str, row)) for row in held["problems"]]
            for number, (crops, size) in enumerate(held["shards"]):
                name = _shard_name(number)
                self.done.append(ShardFile(name, storage.join(self.place, name), int(crops), int(size)))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.path}: not as `siamtrack data pack` writes it: {reason(error)}") from None
        for shard in self.done:
            self.note(label for _, _, label in read_shard(shard))

    def save(self) -> None:
        if self.kept:
            row = {
                "made_of": self.made_of,
                "groups": self.groups,
                "objects": self.objects,
                "problems": self.problems,
                "shards": [(shard.crops, shard.size) for shard in self.done],
            }
            storage.write_whole_to(self.path, json.dumps(row))

    def end(self) -> None:
        if self.kept:
            storage.remove(self.path)


def _is_listed(place: storage.Place) -> bool:
    """Whether a web server has a list of shards; one that gives no files, or something else, has none.

    Raises:
        DataError: it does not answer; what is sent to it would be waited for as long again.
    """
    began = time.monotonic()
    try:
        return "shards" in storage.read_json_from(storage.join(place, MANIFEST))
    except DataError:
        if time.monotonic() - began > storage.PATIENCE / 2:
            raise
        return False


def _digest(indexes: Sequence[Index], how: Packing) -> str:
    """A hash of all that the shards depend on."""
    digest = hashlib.sha256(json.dumps(asdict(how), sort_keys=True).encode())
    for index in indexes:
        names = (index.source, str(index.root), index.image_names, index.track_names, index.category_names)
        digest.update(json.dumps(names).encode())
        for column in (index.image, index.track, index.frame, index.category, index.boxes):
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


@checked
def pack(
    indexes: Sequence[Index],
    out: storage.Place,
    how: Packing = Packing(),
    report: Progress = lambda done, total: None,
    workers: Workers | None = None,
) -> tuple[list[ShardFile], list[Problem]]:
    """Write shards of the objects of some indexes, in a random order, and the list of them.

    A call that was stopped, however, goes on when it is made again.

    Args:
        indexes: what to pack.
        out: a new or empty folder, or that of a call that was stopped; or its URL (s3, gs, or http where the server
            takes PUT).
        how: see `Packing`.
        report: called with the numbers of groups of objects that are done, and of all.
        workers: where crops are cut, by default in this process; the shards do not depend on it.

    Returns:
        The shards, and the frames that could not be used.

    Raises:
        DataError: shards are there already, two indexes have one name, or nothing can be packed.
        SiamtrackError: a worker was lost or hung.
    """
    place = storage.parse_place(str(out))
    if len({index.source for index in indexes}) != len(indexes):
        raise DataError("two indexes have one name, which would mix their tracks; make one again with another --name")
    groups = [(number, rows) for number, index in enumerate(indexes) for rows in chosen_rows(index, how)]
    order = np.random.default_rng(how.seed).permutation(len(groups)).tolist()
    jobs = [_Group(turn, *groups[number]) for turn, number in enumerate(order)]
    made = _Shards(place, _digest(indexes, how))
    made.restore()
    early: dict[int, _Cut] = {}  # finished before their turn

    def on_event(event: Event[_Group, _Cut]) -> None:
        if isinstance(event, Failed):
            raise event.error
        if not isinstance(event, Finished):
            return
        early[event.job.turn] = event.value
        while (found := early.pop(made.groups, None)) is not None:
            for number, crops in enumerate(found.objects[made.objects :], made.objects + 1):
                made.rows += crops
                if len(made.rows) >= how.shard:
                    made.flush()
                    made.objects = number
                    made.save()
            made.groups, made.objects = made.groups + 1, 0
            made.problems += found.problems
            report(made.groups, len(jobs))

    report(made.groups, len(jobs))
    rest = jobs[made.groups :]
    run_jobs(partial(_open_cutter, tuple(indexes), how), rest, workers or Workers(processes=0), on_event)
    made.flush()
    if not made.done:
        made.end()
        raise DataError("nothing to pack: no box with an area in a readable frame; see `siamtrack data check`")
    write_manifest(place, made.done, {source: len(names) for source, names in made.videos.items()})
    made.end()
    return made.done, made.problems


def chosen_rows(index: Index, how: Packing) -> Iterator[list[int]]:
    """The rows of an index that are packed, by video or still: objects that share frames, to decode these once."""
    finite = np.asarray(np.isfinite(index.boxes).all(1))
    boxes = np.where(finite[:, None], index.boxes, 0).astype(np.float64)
    usable = finite & ((boxes[:, 2:] - boxes[:, :2]).min(1) >= max(how.smallest, 1e-3))
    tracks: defaultdict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(usable).tolist():
        tracks[int(index.track[row])].append(row)
    groups: defaultdict[str, list[int]] = defaultdict(list)
    gap = how.gaps.get(index.source, how.gaps.get("", 0))
    for track, rows in tracks.items():
        rows.sort(key=lambda row: index.frame[row])
        groups[index.track_videos[track]] += _spread(rows, index.frame[rows].tolist(), gap, how)
    yield from groups.values()


def _spread(rows: list[int], frames: list[int], gap: int, how: Packing) -> list[int]:
    """Some rows of an object, in order of their frames, spread evenly over them."""
    kept: list[int] = []
    for place, frame in enumerate(frames):
        if not kept or frame - frames[kept[-1]] >= how.spacing or how.spacing <= 1:
            kept.append(place)
    wanted = max(how.per_track or len(kept), math.ceil((frames[-1] - frames[0]) / gap) + 1 if gap else 0)
    spread = np.linspace(0, len(kept) - 1, min(len(kept), wanted)).round().astype(int)
    return [rows[kept[i]] for i in spread.tolist()]


class _Neighbours:
    """All rows of an index by their image."""

    def __init__(self, index: Index) -> None:
        self._order = np.argsort(index.image, kind="stable")
        self._starts = np.searchsorted(index.image[self._order], np.arange(len(index.image_names) + 1))

    def of(self, index: Index, row: int) -> npt.NDArray[np.int64]:
        """The rows of other objects in the image of a row, whose boxes have an area."""
        image = int(index.image[row])
        rows = self._order[self._starts[image] : self._starts[image + 1]]
        boxes = index.boxes[rows]
        real = np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
        return np.asarray(rows[real & (index.track[rows] != index.track[row])])


@dataclass(frozen=True)
class _Group:
    """Objects that share frames: the rows of an index, by its number, and when it is their turn to be written."""

    turn: int
    index: int
    rows: list[int]


@dataclass(frozen=True)
class _Cut:
    """The crops of a group, object by object, and the frames that could not be used."""

    objects: list[list[tuple[bytes, CropLabel]]]
    problems: list[Problem]


def _open_cutter(indexes: Sequence[Index], how: Packing) -> Callable[[_Group, Beat], _Cut]:
    """Return the work of a worker: cutting the crops of a group."""
    neighbours = [_Neighbours(index) for index in indexes]
    return lambda group, beat: _cut_group(indexes[group.index], neighbours[group.index], group.rows, how, beat)


def _cut_group(index: Index, neighbours: _Neighbours, rows: list[int], how: Packing, beat: Beat) -> _Cut:
    problems: list[Problem] = []
    frames: defaultdict[str, list[int]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (index.frame[row], index.image[row])):
        frames[index.image_names[index.image[row]]].append(row)
    made: defaultdict[int, list[tuple[bytes, CropLabel]]] = defaultdict(list)
    last: dict[int, tuple[int, Image]] = {}
    for name, picture, wrong in read_pictures(index.root, frames):
        beat()
        if picture is None:
            problems.append(Problem(wrong, str(index.root / name), f"{len(frames[name])} boxes"))
            continue
        for row in frames[name]:
            x0, y0, x1, y1 = index.boxes[row].tolist()
            if x1 <= 0 or y1 <= 0 or x0 >= picture.shape[1] or y0 >= picture.shape[0]:
                continue
            track = int(index.track[row])
            box = torch.from_numpy(index.boxes[row : row + 1])
            crop = cut(picture, target_region(box, how.context, how.scale), how.size, mean_colour(picture)[None])
            pixels = crop.pixels[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
            if track in last and how.least_change > 0 and _unchanged(index, last[track], (row, pixels), how):
                continue
            last[track] = row, pixels
            beside = neighbours.of(index, row)
            boxes = torch.cat([box, torch.from_numpy(index.boxes[beside])])[None]
            own, *others = crop.to_crop(boxes)[0].tolist()
            bgr, quality = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, how.quality]
            jpeg = cv2.imencode(".jpg", bgr, quality)[1].tobytes()
            made[track].append((jpeg, _label(index, row, beside, own, others, how.size)))
    return _Cut(list(made.values()), problems)


def _unchanged(index: Index, before: tuple[int, Image], now: tuple[int, Image], how: Packing) -> bool:
    """Whether an object lies where it lay in the frame, and its crop looks as it did."""
    boxes = torch.from_numpy(index.boxes[[before[0], now[0]]]).double()
    if float(box_iou(*boxes)) < _ALIKE:
        return False
    return float(cv2.absdiff(before[1], now[1]).mean()) < how.least_change


def _label(
    index: Index,
    row: int,
    beside: npt.NDArray[np.int64],
    own: list[float],
    others: list[list[float]],
    size: int,
) -> CropLabel:
    """The annotation of a crop, with those of the other objects that lie in it, nearest first."""

    def distance(box: list[float]) -> float:
        return math.hypot(box[0] + box[2] - own[0] - own[2], box[1] + box[3] - own[1] - own[3])

    found = [
        (distance(box), OtherObject((box[0], box[1], box[2], box[3]), index.category_names[index.category[other]]))
        for other, box in zip(beside.tolist(), others, strict=True)
        if box[2] > 0 and box[3] > 0 and box[0] < size and box[1] < size
    ]
    nearest = sorted(found, key=lambda pair: pair[0])[:MOST_OTHERS]
    track, video = (f"{index.source}/{names[index.track[row]]}" for names in (index.track_names, index.track_videos))
    category = index.category_names[index.category[row]]
    box, frame = (own[0], own[1], own[2], own[3]), int(index.frame[row])
    beside_it = tuple(other for _, other in nearest)
    return CropLabel(track, frame, box, category, index.source, beside_it, "" if video == track else video)
