"""Readers of trackers' raw result files in the public formats, from a folder or a zip file.

Understood are one text file a sequence (OTB, LaSOT, UAV123, TrackingNet and the like), VOT's
`baseline/<seq>/<seq>_001.txt` with special codes and polygons, its multi-start `<seq>_00000050.txt` and
long-term `<seq>_001_confidence.value`, and GOT-10k's `<seq>/<seq>_001.txt` beside `_time.txt`; each at any
depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive, sequence_key
from siamtrack.formats.parse import parse_boxes, parse_column, parse_regions
from siamtrack.formats.records import Predictions

__all__ = ["EXPERIMENTS", "read_results"]

# The folder in which VOT's tools keep the runs of each protocol.
EXPERIMENTS: Mapping[str, str] = {"reset": "baseline", "multistart": "baseline", "longterm": "longterm"}
_REPETITION = re.compile(r"_(\d{3})$")
_ANCHOR = re.compile(r"_(\d{8})$")
_NOT_RESULTS = frozenset({"gt", "groundtruth", "anno", "annos", "absent", "att", "times", "time"})
_EXPERIMENT_NAMES = frozenset({"baseline", "longterm", "unsupervised", "realtime", "supervised"})


def _candidates(names: Iterable[str], known: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """Return, for each sequence, its result files by the folder of the tracker that wrote them."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() != ".txt" or path.stem.endswith("_time"):
            continue
        folders = list(path.parent.parts)
        if any(part.lower() in _NOT_RESULTS for part in folders):
            continue
        stem = _ANCHOR.sub("", path.stem)
        exact = known.get(sequence_key(path.stem))
        sequence = exact or known.get(sequence_key(stem if stem != path.stem else _REPETITION.sub("", path.stem)))
        if sequence is None:
            continue
        if folders and sequence_key(folders[-1]) == sequence_key(sequence):
            folders.pop()
        found.setdefault(sequence, {}).setdefault("/".join(folders), []).append(name)
    return found


def _one_tracker(found: dict[str, dict[str, list[str]]], protocol: str, path: Path) -> dict[str, list[str]]:
    """Keep the files of one tracker and of the protocol's own experiment; several trackers are an error."""
    roots = sorted({root for files in found.values() for root in files})
    wanted = EXPERIMENTS.get(protocol)
    own = [root for root in roots if wanted is not None and wanted in root.lower().split("/")]
    if own:
        roots = own
    elif any(_experiment(root) for root in roots):
        roots = [root for root in roots if not _experiment(root)] or roots
    trackers = sorted(roots)
    if len(trackers) > 1:
        shown = ", ".join(root or "." for root in trackers[:4])
        raise DataError(f"{path}: expected the results of one tracker, found several folders ({shown}); name one")
    return {seq: files[roots[0]] for seq, files in found.items() if roots and roots[0] in files}


def _experiment(root: str) -> bool:
    return any(part in _EXPERIMENT_NAMES for part in root.lower().split("/"))


def _confidence(archive: Archive, member: str, rows: int, where: str) -> np.ndarray | None:
    stem = member[: -len(".txt")]
    for name in (f"{stem}_confidence.value", f"{stem}_confidence.txt", f"{stem}_scores.txt"):
        if name in archive:
            column = parse_column(archive.read(name), f"{where} (confidence)")
            if len(column) == rows - 1:  # the first frame has none, and some tools leave its line out
                column = np.concatenate([[np.nan], column])
            if len(column) != rows:
                raise DataError(f"{where}: {len(column)} confidences for {rows} rows; there must be one a row")
            return column
    return None


def _read_run(archive: Archive, member: str, protocol: str, sequence: str) -> Predictions:
    where = f"results of {sequence}"
    data = archive.read(member)
    if protocol == "ope":
        return Predictions(parse_boxes(data, where))
    run = parse_regions(data, where)
    if protocol == "multistart":
        anchor = _ANCHOR.search(PurePosixPath(member).stem)
        return replace(run, anchor=int(anchor.group(1)) if anchor else None)
    if protocol == "longterm":
        return replace(run, confidence=_confidence(archive, member, len(run), where))
    return run


def read_results(path: str | Path, sequences: Iterable[str], protocol: str) -> dict[str, list[Predictions]]:
    """Read the results of one tracker: the runs (repetitions or multi-starts) of each sequence that has any.

    `sequences` are the names that the truth has; files of other sequences are left alone. `protocol` is
    "ope", "reset", "multistart" or "longterm". Raises `DataError` that names the sequence and line of a
    malformed file.
    """
    path = Path(path)
    known = {sequence_key(name): name for name in sequences}
    with Archive(path) as archive:
        files = _one_tracker(_candidates(archive.names(), known), protocol, path)
        if not files:
            example = next(iter(known.values()), "sequence")
            raise DataError(f"{path}: expected result files such as {example}.txt; found none for any sequence")
        return {
            name: [_read_run(archive, member, protocol, name) for member in sorted(files[name])]
            for name in known.values()
            if name in files
        }
