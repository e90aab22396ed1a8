"""Trackers' raw result files in the public formats: paths, writing, and reading from a folder or a zip file.

The formats, each at any depth: one text file a sequence (OTB, LaSOT, UAV123, TrackingNet); VOT's
`baseline/<seq>/<seq>_001.txt` with special codes and polygons, multi-start `<seq>_00000050.txt` and long-term
`<seq>_001_confidence.value`; GOT-10k's `<seq>/<seq>_001.txt` beside `_time.txt`; a file for each pass of OTB's TRE
(`<seq>/tre03_00000012.txt`: its number and first frame, from zero) and SRE (`<seq>/left.txt`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from siamtrack.arguments import checked
from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive, sequence_key
from siamtrack.formats.otb import OTB, OTB_SPECIAL
from siamtrack.formats.records import Predictions, parse_boxes, parse_column, parse_regions
from siamtrack.geometry.regions import is_rectangle

# The folder of each protocol's runs in VOT's tools.
_EXPERIMENTS: Mapping[str, str] = {
    "reset": "baseline", "multistart": "baseline", "longterm": "longterm", "unsupervised": "unsupervised",
}  # fmt: skip
_PASSES: Mapping[str, re.Pattern[str]] = {
    "tre": re.compile(r"^tre\d+_\d{8}$"),
    "sre": re.compile(r"^(left|right|up|down|(top|bottom)(Left|Right)|scale_\d+)$"),
}
_REPETITION = re.compile(r"_(\d{3})$")
_ANCHOR = re.compile(r"_(\d{8})$")
_NOT_RESULTS = frozenset({"gt", "groundtruth", "anno", "annos", "absent", "att", "times", "time"})
_EXPERIMENT_NAMES = frozenset({"baseline", "longterm", "unsupervised", "realtime", "supervised"})


def result_path(protocol: str, sequence: str, key: str) -> PurePosixPath:
    """Return the path of a run's result below a tracker's folder, where `read_results` finds it.

    The protocol is ope, tre, sre, reset, multistart, unsupervised or longterm; the key, unused for ope, VOT's
    repetition or anchor, or the name of OTB's pass.
    """
    if protocol == "ope":
        return PurePosixPath(f"{sequence}.txt")
    if protocol in _PASSES:
        return PurePosixPath(sequence) / f"{key}.txt"
    return PurePosixPath(_EXPERIMENTS[protocol]) / sequence / f"{sequence}_{key}.txt"


def region_lines(run: Predictions) -> str:
    """Return a run as lines of text: VOT's special codes, x,y,w,h or polygons, with at most four decimals."""
    assert run.codes is not None  # Predictions fills it in
    boxes = is_rectangle(run.regions)

    def number(value: float) -> str:
        text = "nan" if math.isnan(value) else f"{value:.4f}".rstrip("0").rstrip(".")
        return "0" if text == "-0" else text

    lines = []
    for row, code, box in zip(run.regions.tolist(), run.codes.tolist(), boxes.tolist(), strict=True):
        lines.append(str(code) if code >= 0 else ",".join(map(number, row[:4] if box else row)))
    return "\n".join(lines) + "\n"


class _Names:
    """The names of sequences, found as they are spelled, else by their common spelling if only one has it."""

    def __init__(self, sequences: Iterable[str]) -> None:
        self.all = tuple(sequences)
        keys = Counter(map(sequence_key, self.all))
        by_key = {sequence_key(name): name for name in self.all}
        self._by_key = {key: name for key, name in by_key.items() if keys[key] == 1}
        self._exact = frozenset(self.all)

    def find(self, name: str) -> str | None:
        """Return the sequence that a file or folder is called after; None if there is none."""
        return name if name in self._exact else self._by_key.get(sequence_key(name))


def _candidates(names: Iterable[str], known: _Names, protocol: str) -> dict[str, dict[str, list[str]]]:
    """Return each sequence's result files by the tracker's folder."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() != ".txt":
            continue
        folders = list(path.parent.parts)
        home = known.find(folders[-1]) if folders else None
        if protocol in _PASSES:
            sequence = home if _PASSES[protocol].match(path.stem) else None
        else:
            stem = _ANCHOR.sub("", path.stem)
            stem = stem if stem != path.stem else _REPETITION.sub("", path.stem)
            sequence = known.find(path.stem) or known.find(stem)
            if home is not None and sequence_key(path.stem) == sequence_key(f"{home}_time"):
                continue  # GOT-10k's times, even where another sequence is called so
        if sequence is None:
            continue
        if home == sequence:
            folders.pop()
        if not any(part.lower() in _NOT_RESULTS for part in folders):
            found.setdefault(sequence, {}).setdefault("/".join(folders), []).append(name)
    return found


def _one_tracker(
    found: dict[str, dict[str, list[str]]], experiments: Iterable[str], path: Path
) -> dict[str, list[str]]:
    """Keep the files of one tracker, of the first experiment that it has; several trackers are an error."""

    def is_experiment(root: str) -> bool:
        return not _EXPERIMENT_NAMES.isdisjoint(root.lower().split("/"))

    roots = sorted({root for files in found.values() for root in files})
    owned = ([root for root in roots if wanted in root.lower().split("/")] for wanted in experiments)
    own = next(filter(None, owned), None)
    roots = own or [root for root in roots if not is_experiment(root)] or roots
    if len(roots) > 1:
        shown = ", ".join(root or "." for root in roots[:4])
        raise DataError(f"{path}: expected the results of one tracker, found several folders ({shown}); name one")
    return {seq: files[roots[0]] for seq, files in found.items() if roots and roots[0] in files}


def _confidence(archive: Archive, member: str, rows: int, where: str) -> np.ndarray | None:
    stem = member[: -len(".txt")]
    for name in (f"{stem}_confidence.value", f"{stem}_confidence.txt", f"{stem}_scores.txt"):
        if archive.has(name):
            column = parse_column(archive.read(name), f"{where} (confidence)")
            if len(column) == rows - 1:  # the first frame has none, and some tools leave its line out
                column = np.concatenate([[np.nan], column])
            if len(column) != rows:
                raise DataError(f"{where}: {len(column)} confidences for {rows} rows; there must be one a row")
            return column
    return None


def _read_run(archive: Archive, member: str, protocol: str, sequence: str, layout: str) -> Predictions:
    where = f"results of {sequence}"
    data = archive.read(member)
    found = _ANCHOR.search(PurePosixPath(member).stem) if protocol in ("tre", "multistart") else None
    anchor = int(found.group(1)) if found else None
    if protocol == "ope" or protocol in _PASSES:
        run = Predictions(parse_boxes(data, where), anchor=anchor)
        special = OTB_SPECIAL.get(sequence) if layout == OTB.name else None
        if special is not None and special.omit and len(run) == special.frames:
            run = Predictions(run.regions[special.omit :], anchor=anchor)
        return run
    run = replace(parse_regions(data, where), anchor=anchor)
    if protocol == "longterm":
        return replace(run, confidence=_confidence(archive, member, len(run), where))
    return run


@checked
def read_results(
    path: str | Path, sequences: Iterable[str], protocol: str, *, realtime: bool = False, layout: str = ""
) -> dict[str, list[Predictions]]:
    """Read the results of one tracker: the runs (repetitions, passes or multi-starts) of each sequence that has any.

    Args:
        path: a folder or a zip file.
        sequences: names in the truth; files of other sequences are ignored.
        protocol: ope, tre, sre, reset, multistart, unsupervised or longterm.
        realtime: prefer the runs of VOT's realtime experiment.
        layout: of the data set. Published results may have rows for frames before the benchmark's first one (OTB's
            Tiger1 has 354, of which 349 count), which are dropped.

    Raises:
        DataError: no results, results of several trackers, or a malformed file.
    """
    path = Path(path)
    known = _Names(sequences)
    experiments = [name for name in ("realtime" if realtime else None, _EXPERIMENTS.get(protocol)) if name]
    with Archive(path) as archive:
        files = _one_tracker(_candidates(archive.names(), known, protocol), experiments, path)
        if not files:
            name = next(iter(known.all), "sequence")
            keys = {"tre": "tre00_00000000", "sre": "left", "multistart": "00000000"}
            example = result_path(protocol, name, keys.get(protocol, "001"))
            raise DataError(f"{path}: expected result files such as {example}; found none for any sequence")
        return {
            name: [_read_run(archive, member, protocol, name, layout) for member in sorted(files[name])]
            for name in known.all
            if name in files
        }
