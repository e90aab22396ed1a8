"""Data sets in their public layouts: sequences for evaluation, truths for scoring.

Each data set has one reader for both, for folders and zip files. Truths need no frames, and also come from public packs
of annotations of any data set: `<seq>.txt` (at any depth), `<seq>/groundtruth.txt`, `<seq>/groundtruth_rect.txt`,
`<seq>/<seq>_gt.txt`, and PySOT's single JSON file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from siamtrack.arguments import checked
from siamtrack.errors import DataError, look_up, reason
from siamtrack.formats.archive import Archive, join, sequence_key
from siamtrack.formats.folder import FOLDER
from siamtrack.formats.got10k import GOT10K_TEST, GOT10K_VAL
from siamtrack.formats.lasot import LASOT
from siamtrack.formats.layout import Annotated, Layout, Problem
from siamtrack.formats.nfs import NFS30, NFS240
from siamtrack.formats.otb import DTB70, OTB, TC128
from siamtrack.formats.records import Truth, parse_column, parse_flags
from siamtrack.formats.sequence import VideoSequence
from siamtrack.formats.trackingnet import TRACKINGNET
from siamtrack.formats.uav123 import UAV20L, UAV123, UAV123_10FPS
from siamtrack.formats.vot import VOT
from siamtrack.geometry.regions import BoolArray, FloatArray
from siamtrack.io import first_names, parse_json

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            FOLDER, OTB, VOT, UAV123, UAV123_10FPS, UAV20L, LASOT, TRACKINGNET, GOT10K_VAL, GOT10K_TEST, TC128, NFS30,
            NFS240, DTB70,
        )
    }
)  # fmt: skip
"""The layouts of data sets for evaluation, by name."""

_LARGEST_JSON = 512 << 20  # bytes of PySOT's annotation of a benchmark; LaSOT's has a third of it
_MOST_SEQUENCES = 20_000  # of a benchmark; the largest has 1,400

_TRUTH_FILE = re.compile(r"groundtruth(?:_rect)?(?:\.(\d))?")
_TRUTH_FOLDERS = ("gt", "anno", "annos", "groundtruth", "annotations")
_NOT_TRUTH = frozenset({"absent", "absence", "cover", "att", "attr", "attributes", "nlp", "times", "results"})
_NOT_SEQUENCES = frozenset({"list", "readme", "attributes", "sequences", "license", "absence", "cover", "nlp"})

# Attributes of packs of annotations, by their number.
_TAGS = {
    14: ("IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV", "LR", "ARC"),  # LaSOT
    11: ("IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR"),  # TC128
}


def find_layout(name: str) -> Layout:
    """Return the layout of this name; raises `ConfigError` for an unknown name."""
    return look_up(LAYOUTS, name, "data set")


@checked
def read_dataset(name: str, root: str | Path) -> list[VideoSequence]:
    """Read a data set by the name of its layout, from the folder that its distribution unpacks to, or a zip file of it.

    Returns:
        At least one sequence, in a fixed order. Frames are read lazily.

    Raises:
        ConfigError: an unknown name.
        DataError: the folder is not such a data set, or a file in it is malformed.
    """
    layout = find_layout(name)
    for archive, members in _places(Path(root), layout.find):
        if members:
            found = (layout.read(archive, sequence, member, _refuse) for sequence, member in members.items())
            return [annotated.sequence(archive) for annotated in found]
    raise DataError(f"{root}: expected sequences of {name} such as {layout.example}; there are none")


@checked
def read_truths(
    place: str | Path, layout: str, *, only: Sequence[str] = (), needs_size: bool = False
) -> dict[str, Truth]:
    """Read the truth of the sequences of a data set, whose frames need not be there, by name.

    Args:
        place: a folder, a zip file, or a PySOT JSON file.
        layout: the data set's layout, one of `LAYOUTS`.
        only: the sequences to read, in any common spelling; all by default.
        needs_size: refuse a sequence if the size of its frames is not known.

    Raises:
        ConfigError: an unknown layout.
        DataError: none is found, one of `only` is missing, or a file is malformed.
    """
    path, reader = Path(place), find_layout(layout)
    truths = _read_pysot(path) if path.suffix == ".json" and path.is_file() else _read_annotations(path, reader, only)
    if only:
        by_key = {sequence_key(truth.name): truth for truth in truths}
        if missing := [name for name in only if sequence_key(name) not in by_key]:
            raise DataError(f"{path}: expected the truth of {first_names(missing)}; there is none")
        truths = [by_key[sequence_key(name)] for name in only]
    if needs_size and (unknown := [truth.name for truth in truths if truth.size is None]):
        raise DataError(f"{path}: no image size for {first_names(unknown)}; expected meta.json or the frames beside it")
    return {truth.name: truth for truth in truths}


def _refuse(problem: Problem) -> NoReturn:
    raise DataError(f"{problem.path}: {problem.detail}")


def _places(path: Path, find: Callable[[Archive], Mapping[str, str]]) -> Iterator[tuple[Archive, Mapping[str, str]]]:
    """Look in a folder or zip file, and, while there is nothing but one folder in it, in that."""
    below = ""
    for _ in range(4):
        with Archive(path, below) as archive:
            members = find(archive)
            yield archive, members
            inside = archive.folders()
            if members or len(inside) != 1 or archive.has_files_on_top():
                return
            below = join(below, inside[0])


def _read_annotations(path: Path, layout: Layout, only: Sequence[str]) -> list[Truth]:
    wanted = {sequence_key(name) for name in only}

    def read(archive: Archive, members: Mapping[str, str], meta: Mapping[str, Any] | None) -> list[Truth]:
        if len(members) > _MOST_SEQUENCES:
            raise DataError(f"{path}: {len(members)} sequences; expected at most {_MOST_SEQUENCES}")
        found = []
        for name, member in members.items():
            if not wanted or sequence_key(name) in wanted:
                annotated = layout.read(archive, name, member, _refuse)
                if meta is not None:
                    annotated = _with_sidecars(annotated, archive, member, meta)
                found.append(annotated.truth(archive))
        return found

    for archive, members in _places(path, layout.find):
        if members:
            return read(archive, members, None)
    with Archive(path) as archive:
        members = _packed_truths(archive, layout.name)
        if not members:
            raise DataError(f"{path}: expected annotations such as {layout.example} or <sequence>.txt; found none")
        told = next((name for name in archive.names() if PurePosixPath(name).name == "meta.json"), None)
        meta = {} if told is None else parse_json(archive.read(told), archive.where(told))
        return read(archive, dict(sorted(members.items())), meta)


def _packed_truths(archive: Archive, layout: str) -> dict[str, str]:
    """Return the annotations of a pack in another layout than its data set's, by sequence name."""
    texts = [PurePosixPath(name) for name in archive.names() if name.lower().endswith(".txt")]
    inside = [(path, m) for path in texts if path.parent.name and (m := _TRUTH_FILE.fullmatch(path.stem))]
    if inside:
        inside = [(path, m) for path, m in inside if not m.group(1) or archive.read(str(path)).strip()]
        several = Counter(path.parent for path, _ in inside)
        suffixes = [f"-{m.group(1)}" if m.group(1) and several[path.parent] > 1 else "" for path, m in inside]
        return {f"{path.parent.name}{end}": str(path) for (path, _), end in zip(inside, suffixes, strict=True)}
    own = [path for path in texts if path.parent.name and path.stem == f"{path.parent.name}_gt"]
    if own:
        return {path.parent.name: str(path) for path in own}
    texts = [p for p in texts if p.stem.lower() not in _NOT_SEQUENCES and not _NOT_TRUTH & {x.lower() for x in p.parts}]
    folders = sorted({path.parent for path in texts})
    wanted = [f for f in folders if f.name.lower().replace("_", "-") == layout] or [
        f for f in folders if f.name.lower() in _TRUTH_FOLDERS
    ]
    # files at the top are the annotation, folders beside them are something else
    folders = wanted or [f for f in folders if f == PurePosixPath()] or folders
    if len(folders) > 1:
        shown = ", ".join(str(f) for f in folders[:4])
        raise DataError(f"{archive.path}: expected one folder of annotations, found several ({shown}); name one")
    return {path.stem: str(path) for path in texts if path.parent in folders and archive.read(str(path)).strip()}


def _with_sidecars(annotated: Annotated, archive: Archive, member: str, meta: Mapping[str, Any]) -> Annotated:
    """Complete a truth with what packs keep beside it: absent/, cover/, att/, and meta.json with sizes and tags."""
    folder, name, frames = PurePosixPath(member).parent, annotated.name, len(annotated.regions)

    def beside(*names: str) -> tuple[bytes, str] | None:
        places = [str(place / inner) for place in (folder, folder.parent) for inner in names]
        found = next((place for place in places if archive.has(place)), None)
        return None if found is None else (archive.read(found), archive.where(found))

    changes: dict[str, Any] = {}
    if absent := beside(f"absent/{name}.txt"):
        changes["visible"] = ~_exactly(parse_flags(*absent), frames, absent[1])
    elif cover := beside(f"cover/{name}.label", f"cover/{name}.txt"):
        changes["visible"] = _exactly(np.nan_to_num(parse_column(*cover)) > 0, frames, cover[1])
    tags = dict(annotated.tags)
    if not tags and (attributes := beside(f"att/{name}.txt")):
        on = parse_flags(*attributes)
        names = _TAGS.get(len(on), [f"attribute {i + 1}" for i in range(len(on))])
        tags |= {tag: np.ones(frames, dtype=np.bool_) for tag, yes in zip(names, on, strict=True) if yes}
    own = meta.get(name)
    if isinstance(own, Mapping) and isinstance(own.get("tags"), Mapping):
        for tag, told in own["tags"].items():
            flags = parse_flags(str(told).encode(), f"tag {tag} of {name}")[:frames]
            tags[str(tag)] = np.pad(flags, (0, frames - len(flags)))  # VOT leaves out the zeros at the end
    sizes = [meta.get("image_size")]
    if isinstance(own, Mapping):
        sizes.insert(0, [own.get("width"), own.get("height")])
    size = next((found for told in sizes if (found := _size(told))), annotated.size)
    return replace(annotated, tags=tags, size=size, **changes)


def _exactly(flags: BoolArray, frames: int, where: str) -> BoolArray:
    if len(flags) != frames:
        raise DataError(f"{where}: {len(flags)} values for {frames} frames; there must be one a frame")
    return flags


def _size(told: Any) -> tuple[int, int] | None:
    """Return (width, height) of a JSON list of two sensible numbers; None for anything else."""
    if not isinstance(told, Sequence) or len(told) != 2:
        return None
    sides = [side for side in told if isinstance(side, int | float) and 0 < side < 1e6]
    return (int(sides[0]), int(sides[1])) if len(sides) == 2 else None


def _read_pysot(path: Path) -> list[Truth]:
    """Read PySOT's `{seq: {gt_rect, attr, ..}}` or `{image_size, sequences: {seq: {gt, anchors}}}`."""
    with Archive(path) as archive:
        document = parse_json(archive.read(path.name, _LARGEST_JSON), str(path), _LARGEST_JSON)
    sequences = document.get("sequences", document)
    if not isinstance(sequences, Mapping):
        raise DataError(f"{path}: expected a JSON object of sequences")
    found = []
    for name, entry in sequences.items():
        boxes = entry.get("gt_rect", entry.get("gt")) if isinstance(entry, Mapping) else None
        if boxes is None:
            raise DataError(f"{path}: {name[:80]}: expected a list 'gt_rect' or 'gt'")
        try:
            found.append(_pysot_truth(name, entry, _table(boxes), document.get("image_size")))
        except (TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError, DataError) as error:
            raise DataError(f"{path}: {name[:80]}: expected lists of boxes and flags: {reason(error)}") from None
    return found


def _pysot_truth(name: str, entry: Mapping[str, Any], regions: FloatArray, shared_size: Any) -> Truth:
    n = len(regions)
    tags = {str(tag): np.ones(n, dtype=np.bool_) for tag in entry.get("attr") or ()}
    for tag, flags in entry.items():
        if tag.endswith(("_motion", "_change", "occlusion")) and isinstance(flags, list) and len(flags) == n:
            tags[tag] = np.asarray(flags, dtype=np.float64) > 0
    anchors = np.zeros(n, dtype=np.int64)
    for frame, direction in (entry.get("anchors") or {}).items():
        anchors[int(frame)] = int(direction)
    size = _size([entry.get("width"), entry.get("height")]) or _size(shared_size)
    visible = np.asarray(entry["absent"], dtype=np.float64) == 1 if "absent" in entry else None  # 1 means visible
    return Truth(name, regions, size, visible, tags, anchors if anchors.any() else None)


def _table(rows: Any) -> FloatArray:
    """Rows of 4 or 8 numbers, of one for a special code; TypeError or ValueError for anything else."""
    wide = max((len(row) for row in rows), default=4)
    filled = [list(row) + [np.nan] * (max(wide, 4) - len(row)) if len(row) > 1 else [np.nan] * wide for row in rows]
    return np.array(filled, dtype=np.float64).reshape(len(filled), -1)
