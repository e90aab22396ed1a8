"""Readers of a benchmark's annotation for scoring, from a folder or a zip file; frames are not needed.

Understood are `<seq>.txt` (OTB, UAV123, TrackingNet, at any depth), `<seq>/groundtruth.txt` (VOT, LaSOT,
GOT-10k), `<seq>/groundtruth_rect.txt` (OTB, DTB70), `<seq>/<seq>_gt.txt` (TC128), NFS's `<seq>/30/<seq>.txt`,
and the one-file JSON of PySOT. What lies beside them is read too: `absent/`, LaSOT's occlusion flags,
GOT-10k's labels, VOT's tags and anchors, `meta.json` with image sizes and tags. Of a mask (VOT-ST 2020 and later)
the bounds are read, as when a tracker is run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive, sequence_key
from siamtrack.formats.parse import parse_truth
from siamtrack.formats.records import Truth
from siamtrack.formats.sidecars import Sidecars
from siamtrack.geometry.regions import FloatArray
from siamtrack.io import first_names

__all__ = ["read_truths"]

_IN_FOLDER = re.compile(r"^groundtruth(?:_rect)?(?:\.(\d))?$")
_NOT_TRUTH = frozenset({"absent", "absence", "cover", "att", "attr", "attributes", "nlp", "times", "results"})
_TRUTH_FOLDERS = ("gt", "anno", "annos", "groundtruth", "annotations")
_NOT_SEQUENCES = frozenset({"list", "readme", "attributes", "sequences", "license", "absence", "cover", "nlp"})


def _annotations(archive: Archive, layout: str) -> dict[str, str]:
    """Return the member that holds the annotation of each sequence."""
    texts = [PurePosixPath(n) for n in archive.names() if n.lower().endswith(".txt")]
    inside = [(p, m) for p in texts if p.parent.name and (m := _IN_FOLDER.match(p.stem))]
    if inside:
        several = Counter(p.parent for p, _ in inside)
        return {
            f"{p.parent.name}-{m.group(1)}" if m.group(1) and several[p.parent] > 1 else p.parent.name: str(p)
            for p, m in inside
        }
    named = [p for p in texts if p.parent.name and p.stem == f"{p.parent.name}_gt"]
    if named:
        return {p.parent.name: str(p) for p in named}
    nfs = [p for p in texts if p.parent.name == "30" and p.parent.parent.name == p.stem]
    if nfs:
        return {p.stem: str(p) for p in nfs}
    return _flat(texts, layout, archive.path)


def _flat(texts: list[PurePosixPath], layout: str, path: Path) -> dict[str, str]:
    texts = [p for p in texts if p.stem.lower() not in _NOT_SEQUENCES and not _NOT_TRUTH & {x.lower() for x in p.parts}]
    folders = sorted({p.parent for p in texts})
    wanted = [f for f in folders if f.name.lower().replace("_", "-") == layout] or [
        f for f in folders if f.name.lower() in _TRUTH_FOLDERS
    ]
    # files at the top are the annotation, folders beside them are something else
    folders = wanted or [f for f in folders if f == PurePosixPath()] or folders
    if len(folders) > 1:
        shown = ", ".join(str(f) for f in folders[:4])
        raise DataError(f"{path}: expected one folder of annotations, found several ({shown}); name one")
    return {p.stem: str(p) for p in texts if p.parent in folders}


def _numbers(data: bytes, where: str) -> FloatArray:
    """Read an annotation file; NFS's lines hold an index, two corners and flags in words."""
    if b'"' in data:
        rows = [line.split()[1:5] for line in data.splitlines() if line.strip()]
        try:
            boxes = np.array(rows, dtype=np.float64).reshape(-1, 4)
        except ValueError:
            raise DataError(f"{where}: expected NFS lines `index x1 y1 x2 y2 ..`") from None
        boxes[:, 2:] -= boxes[:, :2]
        return boxes
    # Special codes stay rows of nan: long-term truth writes an absent target as nan or as a code.
    return parse_truth(data, where)


def _load_json(data: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise DataError(f"{where}: expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a JSON object of sequences")
    return found


def _array(rows: Any, where: str) -> FloatArray:
    try:
        wide = max((len(r) for r in rows), default=4)
        filled = [list(r) + [np.nan] * (max(wide, 4) - len(r)) if len(r) > 1 else [np.nan] * wide for r in rows]
        return np.array(filled, dtype=np.float64).reshape(len(filled), -1)
    except (TypeError, ValueError):
        raise DataError(f"{where}: expected a list of boxes or polygons") from None


def _from_json(document: dict[str, Any], path: Path) -> list[Truth]:
    """Read PySOT's `{seq: {gt_rect, attr, ..}}` or `{image_size, sequences: {seq: {gt, anchors}}}`."""
    size = document.get("image_size")
    found = []
    for name, entry in document.get("sequences", document).items():
        where = f"truth of {name}"
        boxes = entry.get("gt_rect", entry.get("gt")) if isinstance(entry, dict) else None
        if boxes is None:
            raise DataError(f"{path}: {name}: expected a list 'gt_rect' or 'gt'")
        regions = _array(boxes, where)
        n = len(regions)
        tags = {str(tag): np.ones(n, dtype=np.bool_) for tag in entry.get("attr") or ()}
        for tag, flags in entry.items():
            if tag.endswith(("_motion", "_change", "occlusion")) and isinstance(flags, list) and len(flags) == n:
                tags[tag] = np.asarray(flags) > 0
        anchors = np.zeros(n, dtype=np.int64)
        for frame, way in (entry.get("anchors") or {}).items():
            anchors[int(frame)] = int(way)
        own = (entry["width"], entry["height"]) if "width" in entry and "height" in entry else size
        visible = np.asarray(entry["absent"]) == 1 if "absent" in entry else None  # PySOT's 1 means visible
        found.append(
            Truth(name, regions, tuple(own) if own else None, visible, tags, anchors if anchors.any() else None)
        )
    return found


def _restricted(truths: list[Truth], only: Sequence[str], path: Path) -> dict[str, Truth]:
    by_key = {sequence_key(t.name): t for t in truths}
    if not only:
        return {t.name: t for t in truths}
    missing = [name for name in only if sequence_key(name) not in by_key]
    if missing:
        raise DataError(f"{path}: expected the truth of {first_names(missing)}; there is none")
    return {t.name: t for t in (by_key[sequence_key(name)] for name in only)}


def read_truths(
    place: str | Path, layout: str, *, only: Sequence[str] = (), needs_size: bool = False
) -> dict[str, Truth]:
    """Read the truth of the sequences of a data set, whose frames need not be there.

    Args:
        place: a folder, a zip file, or a PySOT JSON file.
        layout: the data set's layout, as `read_dataset` knows it.
        only: the sequences to read, in any common spelling; all by default.
        needs_size: look for the images' sizes, also in the images themselves.

    Returns:
        The truths by sequence name.

    Raises:
        DataError: none is found, one of `only` is missing, or a file is malformed.
    """
    path = Path(place)
    with Archive(path) as archive:
        if archive.names() == [path.name] and path.suffix == ".json":
            truths = _from_json(_load_json(archive.read(path.name), str(path)), path)
        else:
            members = _annotations(archive, layout)
            if not members:
                raise DataError(f"{path}: expected annotations such as <sequence>.txt; found none")
            beside = Sidecars(archive, needs_size=needs_size)
            truths = []
            for name, member in sorted(members.items()):
                data = archive.read(member)
                if data.strip():  # OTB's Human4 holds an empty groundtruth_rect.1.txt
                    truths.append(beside.complete(name, member, _numbers(data, f"truth of {name}")))
    return _restricted(truths, only, path)
