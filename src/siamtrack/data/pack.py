"""Packing: crops of the objects of an index, in shards that train from anywhere.

A crop shows 2.9 times the template's square around its object, resampled so that a template takes 127 of its 368
pixels: room for a search region of twice the template, its shift and its scale. All crops of an object are in one
shard, so that every window of a stream can pair them.
"""

from __future__ import annotations

import io
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from siamtrack.data.frames import read_pictures, video_of
from siamtrack.data.index import Index
from siamtrack.data.shards import MANIFEST, CropLabel, Image, ShardFile, write_manifest
from siamtrack.errors import DataError
from siamtrack.evaluation.jobs import Beat, Event, Failed, Finished, Workers
from siamtrack.evaluation.pool import run_jobs
from siamtrack.formats.layout import Problem
from siamtrack.geometry.crop import cut, mean_colour, target_region
from siamtrack.storage import Place, is_url, join, parse_place, write_whole_to

__all__ = ["Packing", "pack"]

_WIDE = 2.9


@dataclass(frozen=True)
class Packing:
    """How to pack.

    Attributes:
        size: side of a crop in pixels.
        per_track: at most so many frames of an object, spread evenly over its time.
        smallest: boxes whose smaller side has fewer pixels are left out.
        shard: crops a shard, about: an object is not split.
        quality: of the JPEG files, 1 to 100.
        seed: of the order of the objects.
    """

    size: int = 368
    per_track: int = 10
    smallest: float = 8.0
    shard: int = 1000
    quality: int = 92
    seed: int = 0


@dataclass
class _Written:
    """The shard that is being filled, and those that are done."""

    place: Place
    rows: list[tuple[bytes, CropLabel]] = field(default_factory=list)
    done: list[ShardFile] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)

    def flush(self) -> None:
        """Close the shard and bring it to its place."""
        if not self.rows:
            return
        first, name = sum(shard.crops or 0 for shard in self.done), f"train-{len(self.done):06d}.tar"
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            for number, (jpeg, label) in enumerate(self.rows, first):
                for kind, blob in (("jpg", jpeg), ("json", label.as_json())):
                    member = tarfile.TarInfo(f"{number:09d}.{kind}")
                    member.size = len(blob)
                    tar.addfile(member, io.BytesIO(blob))
        write_whole_to(join(self.place, name), content.getbuffer())
        self.done.append(ShardFile(name, join(self.place, name), len(self.rows), content.getbuffer().nbytes))
        self.sources |= {label.source for _, label in self.rows}
        self.rows.clear()


def pack(
    indexes: Sequence[Index],
    out: Place,
    how: Packing = Packing(),
    report: Callable[[int, int], None] = lambda done, total: None,
    workers: Workers | None = None,
) -> tuple[list[ShardFile], list[Problem]]:
    """Write shards of the objects of some indexes, in a random order, and the list of them.

    Args:
        indexes: what to pack.
        out: an empty or new folder, or the URL of one (s3, gs, or http where the server takes PUT).
        how: see `Packing`.
        report: called with the numbers of groups of objects that are done, and of all.
        workers: where crops are cut, by default in this process; the shards do not depend on it.

    Returns:
        The shards, and the frames that could not be used.

    Raises:
        DataError: shards are there already, two indexes have one name, or nothing can be packed.
        SiamtrackError: a worker was lost or hung.
    """
    place = parse_place(str(out))
    if not is_url(place) and (any(Path(place).glob("*.tar")) or (Path(place) / MANIFEST).exists()):
        raise DataError(f"{place} holds shards already; give a new folder, or delete them")
    if len({index.source for index in indexes}) != len(indexes):
        raise DataError("two indexes have one name, which would mix their tracks; make one again with another --name")
    groups = [(number, rows) for number, index in enumerate(indexes) for rows in _groups(index, how)]
    order = np.random.default_rng(how.seed).permutation(len(groups)).tolist()
    jobs = [_Group(turn, *groups[number]) for turn, number in enumerate(order)]
    problems: list[Problem] = []
    written = _Written(place)
    early: dict[int, _Cut] = {}  # finished before their turn
    taken = 0

    def on_event(event: Event[_Group, _Cut]) -> None:
        nonlocal taken
        if isinstance(event, Failed):
            raise event.error
        if not isinstance(event, Finished):
            return
        early[event.job.turn] = event.value
        while (found := early.pop(taken, None)) is not None:
            taken += 1
            problems.extend(found.problems)
            for crops in found.objects:
                written.rows += crops
                if len(written.rows) >= how.shard:
                    written.flush()
            report(taken, len(jobs))

    report(0, len(jobs))
    run_jobs(partial(_open_cutter, tuple(indexes), how), jobs, workers or Workers(processes=0), on_event)
    written.flush()
    if not written.done:
        raise DataError("nothing to pack: no box with an area in a readable frame; see `siamtrack data check`")
    write_manifest(place, written.done, written.sources)
    return written.done, problems


def _groups(index: Index, how: Packing) -> Iterator[list[int]]:
    """Rows of objects that share frames, to decode these once: those of a video, a sequence's folder, or a still."""
    size = index.boxes[:, 2:] - index.boxes[:, :2]
    usable = np.isfinite(index.boxes).all(1) & (size.min(1) >= max(how.smallest, 1e-3)) if len(index) else np.zeros(0)
    tracks: defaultdict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(usable).tolist():
        tracks[int(index.track[row])].append(row)
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for rows in tracks.values():
        rows.sort(key=lambda row: index.frame[row])
        name = index.image_names[index.image[rows[0]]]
        video = video_of(name)
        together = video[0] if video else name if len(rows) == 1 else name.rpartition("/")[0]
        spread = np.linspace(0, len(rows) - 1, min(len(rows), how.per_track)).round().astype(int)
        groups[together] += [rows[i] for i in spread.tolist()]
    yield from groups.values()


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
    return lambda group, beat: _cut_group(indexes[group.index], group.rows, how, beat)


def _cut_group(index: Index, rows: list[int], how: Packing, beat: Beat) -> _Cut:
    problems: list[Problem] = []
    frames: defaultdict[str, list[int]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (index.frame[row], index.image[row])):
        frames[index.image_names[index.image[row]]].append(row)
    made: defaultdict[int, list[tuple[bytes, CropLabel]]] = defaultdict(list)
    for name, picture, wrong in read_pictures(index.root, frames):
        beat()
        if picture is None:
            problems.append(Problem(wrong, str(index.root / name), f"{len(frames[name])} boxes"))
            continue
        for row in frames[name]:
            x0, y0, x1, y1 = index.boxes[row].tolist()
            if x1 > 0 and y1 > 0 and x0 < picture.shape[1] and y0 < picture.shape[0]:
                made[int(index.track[row])].append(_crop(index, row, picture, how))
    return _Cut(list(made.values()), problems)


def _crop(index: Index, row: int, picture: Image, how: Packing) -> tuple[bytes, CropLabel]:
    box = torch.from_numpy(index.boxes[row : row + 1])
    crop = cut(picture, target_region(box, 0.5, _WIDE), how.size, mean_colour(picture)[None])
    pixels = crop.pixels[0].permute(1, 2, 0).round().to(torch.uint8).numpy()
    stored = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, how.quality])[1]
    x0, y0, x1, y1 = crop.to_crop(box)[0].tolist()
    track = f"{index.source}/{index.track_names[index.track[row]]}"
    category = index.category_names[index.category[row]]
    return stored.tobytes(), CropLabel(track, int(index.frame[row]), (x0, y0, x1, y1), category, index.source)
