"""The store of an evaluation: raw result files in the public formats, a manifest, and what went wrong.

    OUT/<tracker>/<suite>/
        manifest.json   preset, weights hash, version, device, seed, protocol: what the results depend on
        results/        one file a run, in the public format of its protocol (see `result_path`)
        times/          one file a run: the seconds of every frame
        failed/         one file for each sequence that could not be finished
        scores.json     metrics, sequences, attributes and curves, once all sequences are done
        speed.json      frames a second, and the machine that they were measured on

Every file is written whole or not at all, the result last: a sequence is done when all its results are there.
A store never mixes settings: it is opened with a manifest and refuses one that differs from its own.
"""

from __future__ import annotations

import json
import math
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from siamtrack.bench.parse import parse_column, parse_regions
from siamtrack.bench.protocols import Trial
from siamtrack.bench.records import FloatArray, Run, is_rectangle
from siamtrack.bench.sequence import Sequence, from_file, to_file
from siamtrack.errors import ConfigError, DataError, reason

__all__ = ["Failure", "Store", "Timing", "read_json", "region_lines", "result_path", "write_whole"]

_FORMAT = 1
_PART = re.compile(r"^\.part-(\d+)-(.+)-[a-z0-9_]+$")


@dataclass(frozen=True)
class Failure:
    """A sequence that could not be finished: `kind` is raised, answer, hung, died or data.

    `message` one line.
    """

    sequence: str
    kind: str
    message: str


@dataclass(frozen=True)
class Timing:
    """How long one run took: `seconds` (N,) a frame, `network` of them in all, and `reading` besides."""

    seconds: FloatArray
    network: float
    reading: float


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file so that it is there whole or not at all, even if the program is killed.

    Raises:
        DataError: it cannot be written.
    """
    content = data.encode() if isinstance(data, str) else data
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".part-{os.getpid()}-{socket.gethostname()}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from error


def result_path(kind: str, sequence: str, key: str) -> PurePosixPath:
    """Return where a run's raw result lies below `results/`.

    `ope` is `<seq>.txt`, as OTB, LaSOT and TrackingNet have it; VOT's are `baseline/<seq>/<seq>_001.txt`,
    `longterm/<seq>/<seq>_001.txt` and `unsupervised/<seq>/<seq>_001.txt` with the repetition or the anchor as
    the key; OTB's TRE and SRE are `<seq>/<key>.txt`.
    """
    folder = {
        "reset": "baseline",
        "multistart": "baseline",
        "longterm": "longterm",
        "unsupervised": "unsupervised",
    }.get(kind)
    if kind == "ope":
        return PurePosixPath(f"{sequence}.txt")
    if folder is None:
        return PurePosixPath(sequence) / f"{key}.txt"
    return PurePosixPath(folder) / sequence / f"{sequence}_{key}.txt"


def sweep(root: Path) -> None:
    """Remove the unfinished files that processes of this machine left behind when they were killed."""
    for path in root.rglob(".part-*"):
        found = _PART.match(path.name)
        if found and found.group(2) == socket.gethostname() and not _alive(int(found.group(1))):
            path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _number(value: float) -> str:
    if math.isnan(value):
        return "nan"
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def region_lines(run: Run) -> str:
    """Return a run as lines of text: VOT's special codes, x,y,w,h or polygons, with at most four decimals."""
    assert run.codes is not None  # a Run fills it
    boxes = is_rectangle(run.regions)
    lines = []
    for row, code, box in zip(run.regions.tolist(), run.codes.tolist(), boxes.tolist(), strict=True):
        lines.append(str(code) if code >= 0 else ",".join(map(_number, row[:4] if box else row)))
    return "\n".join(lines) + "\n"


class Store:
    """The results of one tracker on one suite.

    Args:
        root: its folder.
        kind: the suite's protocol, which decides where files lie.
    """

    def __init__(self, root: Path, kind: str) -> None:
        self.root = root
        self.kind = kind

    @classmethod
    def open(cls, root: Path, kind: str, manifest: Mapping[str, Any]) -> Store:
        """Open a store to write to: a new one, or one whose manifest says the same.

        Raises:
            ConfigError: the store holds results of other settings; the first that differs is named.
            DataError: the folder or its manifest cannot be read or written.
        """
        sweep(root)
        path = root / "manifest.json"
        wanted = {"format": _FORMAT, **manifest}
        if not path.exists():
            if (root / "results").is_dir():
                raise DataError(f"{root} holds results without a manifest; delete the folder or choose another --out")
            write_whole(path, json.dumps(wanted, indent=2) + "\n")
            return cls(root, kind)
        held = read_json(path)
        for key in {**wanted, **held}:
            if held.get(key) != wanted.get(key):
                name, old, new = _first_difference(key, held.get(key), wanted.get(key))
                raise ConfigError(
                    f"{root} holds results made with {name} = {old}, now it is {new}; "
                    "choose another --out or delete the folder"
                )
        return cls(root, kind)

    def path(self, sequence: str, key: str) -> Path:
        """Return the raw result file of a run."""
        return self.root / "results" / result_path(self.kind, sequence, key)

    def _times(self, sequence: str, key: str) -> Path:
        return (self.root / "times" / result_path(self.kind, sequence, key)).with_suffix(".json")

    def has(self, sequence: str, key: str) -> bool:
        """Whether a run is done."""
        return self.path(sequence, key).is_file()

    def save(self, sequence: Sequence, key: str, trial: Trial) -> None:
        """Write one run in the data set's own coordinates.

        The result file, which says that it is done, comes last.
        """
        assert trial.run.codes is not None  # a Run fills it
        run = Run(to_file(trial.run.regions, sequence.origin), trial.run.codes, trial.run.confidence)
        target = self.path(sequence.name, key)
        times = {
            "seconds": [round(s, 6) for s in trial.seconds.tolist()],
            "network": None if math.isnan(trial.network) else round(trial.network, 6),
            "reading": round(trial.reading, 6),
        }
        write_whole(self._times(sequence.name, key), json.dumps(times) + "\n")
        if self.kind == "longterm" and run.confidence is not None:
            # the first frame has no confidence of its own: VOT leaves its line empty
            values = ["", *(f"{c:.6f}" for c in run.confidence[1:].tolist())]
            write_whole(target.with_name(f"{target.stem}_confidence.value"), "\n".join(values) + "\n")
        write_whole(target, region_lines(run))

    def load(self, sequence: Sequence, key: str) -> Run:
        """Read one run back, in continuous pixels.

        Raises:
            DataError: it is not there or malformed.
        """
        run = self.load_raw(sequence.name, key)
        return Run(from_file(run.regions, sequence.origin), run.codes, run.confidence, run.anchor)

    def load_raw(self, sequence: str, key: str) -> Run:
        """Read one run back in the data set's own coordinates, which official scorers work in."""
        path = self.path(sequence, key)
        run = parse_regions(_read(path), f"results of {sequence}")
        beside = path.with_name(f"{path.stem}_confidence.value")
        confidence = parse_column(_read(beside), f"confidence of {sequence}") if self.kind == "longterm" else None
        return Run(run.regions, run.codes, confidence, int(key) if self.kind == "multistart" else None)

    def timing(self, sequence: str, key: str) -> Timing:
        """Read how long a run took."""
        found = read_json(self._times(sequence, key))
        network = found.get("network")
        return Timing(
            np.array(found["seconds"]),
            math.nan if network is None else float(network),
            float(found["reading"]),
        )

    def fail(self, failure: Failure) -> None:
        """Record that a sequence could not be finished."""
        text = json.dumps({"sequence": failure.sequence, "kind": failure.kind, "message": failure.message}, indent=2)
        write_whole(self.root / "failed" / f"{failure.sequence}.json", text + "\n")

    def forgive(self, sequence: str) -> None:
        """Take back the record of a failure; a folder that it leaves empty goes too."""
        folder = self.root / "failed"
        (folder / f"{sequence}.json").unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()

    def failures(self) -> list[Failure]:
        """Return the recorded failures, by sequence name."""
        files = sorted((self.root / "failed").glob("*.json"))
        return [Failure(**read_json(path)) for path in files]


def _first_difference(key: str, old: Any, new: Any) -> tuple[str, str, str]:
    """Return the dotted name and both values of the first setting that differs, looking into sections."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for inner in {**new, **old}:
            if old.get(inner) != new.get(inner):
                return _first_difference(f"{key}.{inner}", old.get(inner), new.get(inner))
    return key, _shown(old), _shown(new)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises `DataError` that names the file."""
    try:
        found = json.loads(_read(path))
    except ValueError as error:
        raise DataError(f"{path}: expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found
