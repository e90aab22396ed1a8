"""The store of an evaluation: raw result files in the public formats, a manifest, and what went wrong.

    OUT/<tracker>/<suite>/
        manifest.json   preset, weights hash, version, device, seed, protocol: what the results depend on
        results/        one file a run, in the public format of its protocol (see `formats.results`)
        times/          one file a run: the seconds of every frame
        failed/         one file for each sequence that could not be finished
        scores.json     metrics, sequences, attributes and curves, once all sequences are done
        speed.json      frames a second, and the machine that they were measured on

OUT is a path, or a URL of object storage. Every file is written whole or not at all, the result last: a sequence is
done when all its results are there.
A store never mixes settings: it is opened with a manifest and refuses one that differs from its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamtrack import storage
from siamtrack.errors import ConfigError, DataError, reason
from siamtrack.evaluation.protocols import TimedRun
from siamtrack.formats.records import Predictions, parse_column, parse_regions
from siamtrack.formats.results import region_lines, result_path
from siamtrack.formats.sequence import VideoSequence, from_file, to_file
from siamtrack.geometry.regions import FloatArray
from siamtrack.io import sweep_drafts

_FORMAT = 1


@dataclass(frozen=True)
class Failure:
    """A sequence that could not be finished: its `kind` is raised, answer, hung, died or data, the message one line."""

    sequence: str
    kind: str
    message: str


@dataclass(frozen=True)
class Timing:
    """How long one run took: `seconds` (N,) a frame, `network` of all but the first, and `reading` besides."""

    seconds: FloatArray
    network: float
    reading: float


class Store:
    """The results of one tracker on one suite. A small value that can be sent to another process.

    The `kind` of the suite's protocol decides where files lie; `seed` is of the random numbers that trackers may draw.
    """

    def __init__(self, root: storage.Place, kind: str, seed: int = 0) -> None:
        self.root = root
        self.kind = kind
        self.seed = seed

    @classmethod
    def open(cls, root: storage.Place, kind: str, manifest: Mapping[str, Any]) -> Store:
        """Open a store to write to: a new one, or one whose manifest says the same.

        Raises:
            ConfigError: the store holds results of other settings; the first that differs is named.
            DataError: the folder or its manifest cannot be read or written.
        """
        store = cls(root, kind, int(manifest.get("seed", 0)))
        if isinstance(root, Path):
            sweep_drafts(root)
        path = storage.join(root, "manifest.json")
        wanted = {"format": _FORMAT, **manifest}
        with storage.alone_at(root):
            if not storage.exists(path):
                if store.done():
                    why = "holds results without a manifest; delete the folder or choose another --out"
                    raise DataError(f"{root} {why}")
                storage.write_whole_to(path, json.dumps(wanted, indent=2) + "\n")
                return store
        held = storage.read_json_from(path)
        told = "other weights of the same name: rename the model's file"
        check_same_settings(held, wanted, f"{root} holds results", "choose another --out or delete it", told)
        return store

    def place(self, sequence: str, key: str) -> storage.Place:
        """Return the raw result file of a run."""
        return storage.join(self.root, "results", str(result_path(self.kind, sequence, key)))

    def _times(self, sequence: str, key: str) -> storage.Place:
        return storage.join(self.root, "times", str(result_path(self.kind, sequence, key).with_suffix(".json")))

    def has(self, sequence: str, key: str) -> bool:
        """Whether a run is done."""
        return storage.exists(self.place(sequence, key))

    def done(self) -> set[storage.Place]:
        """Return the raw result files of all finished runs."""
        folder = storage.join(self.root, "results")
        return {storage.join(folder, name) for name in storage.list_files(folder)}

    def save(self, sequence: VideoSequence, key: str, timed: TimedRun) -> None:
        """Write one run in the data set's own coordinates; the result file, which says that it is done, comes last."""
        assert timed.run.codes is not None  # Predictions fills it in
        run = Predictions(to_file(timed.run.regions, sequence.origin), timed.run.codes, timed.run.confidence)
        times = {
            "seconds": [round(s, 6) for s in timed.seconds.tolist()],
            "network": None if math.isnan(timed.network) else round(timed.network, 6),
            "reading": round(timed.reading, 6),
        }
        storage.write_whole_to(self._times(sequence.name, key), json.dumps(times) + "\n")
        if self.kind == "longterm" and run.confidence is not None:
            # the first frame has no confidence of its own: VOT leaves its line empty
            values = ["", *(f"{c:.6f}" for c in run.confidence[1:].tolist())]
            storage.write_whole_to(self._confidence(sequence.name, key), "\n".join(values) + "\n")
        storage.write_whole_to(self.place(sequence.name, key), region_lines(run))

    def _confidence(self, sequence: str, key: str) -> storage.Place:
        path = result_path(self.kind, sequence, key)
        return storage.join(self.root, "results", str(path.with_name(f"{path.stem}_confidence.value")))

    def load(self, sequence: VideoSequence, key: str) -> Predictions:
        """Read one run back, in continuous pixels; raises `DataError` if it is not there or malformed."""
        run = self.load_raw(sequence.name, key)
        return Predictions(from_file(run.regions, sequence.origin), run.codes, run.confidence, run.anchor)

    def load_raw(self, sequence: str, key: str) -> Predictions:
        """Read one run back in the data set's own coordinates, which official scorers work in."""
        run = parse_regions(storage.read_from(self.place(sequence, key)), f"results of {sequence}")
        confidence = None
        if self.kind == "longterm":
            confidence = parse_column(storage.read_from(self._confidence(sequence, key)), f"confidence of {sequence}")
        return Predictions(run.regions, run.codes, confidence, int(key) if self.kind == "multistart" else None)

    def timing(self, sequence: str, key: str) -> Timing:
        """Read how long a run took."""
        place = self._times(sequence, key)
        found = storage.read_json_from(place)
        network = found.get("network")
        try:
            seconds = np.array(found["seconds"], dtype=np.float64)
            if seconds.ndim != 1:
                raise ValueError("expected a list of seconds")
            return Timing(seconds, math.nan if network is None else float(network), float(found["reading"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{place}: {reason(error)}") from None

    def write(self, name: str, text: str) -> None:
        """Write a file of the store, as `scores.json`."""
        storage.write_whole_to(storage.join(self.root, name), text)

    def fail(self, failure: Failure) -> None:
        """Record that a sequence could not be finished."""
        text = json.dumps({"sequence": failure.sequence, "kind": failure.kind, "message": failure.message}, indent=2)
        self.write(f"failed/{failure.sequence}.json", text + "\n")

    def forgive(self, sequence: str) -> None:
        """Take back the record of a failure; a folder that it leaves empty goes too."""
        folder = storage.join(self.root, "failed")
        storage.remove(storage.join(folder, f"{sequence}.json"))
        if isinstance(folder, Path):
            with suppress(OSError):  # not empty, or not there
                folder.rmdir()

    def failures(self) -> list[Failure]:
        """Return the recorded failures, by sequence name."""
        folder = storage.join(self.root, "failed")
        return [_failure(storage.join(folder, name)) for name in storage.list_files(folder) if name.endswith(".json")]


def _failure(place: storage.Place) -> Failure:
    row = storage.read_json_from(place)
    try:
        return Failure(str(row["sequence"]), str(row["kind"]), str(row["message"]))
    except KeyError as error:
        raise DataError(f"{place}: {reason(error)}") from None


def check_same_settings(
    held: Mapping[str, Any], wanted: Mapping[str, Any], what: str, instead: str, other_weights: str = "other weights"
) -> None:
    """Refuse to go on with what was made with other settings than are wanted now, both as trees of plain values.

    Raises:
        ConfigError: `what` was made with another value; the first that differs is named, and what to do `instead`.
    """
    # The weights first: with them their settings may differ too. Not where engines differ, for one model's weights and
    # its export are two files; settings then, for other ones than a model's own are why it runs in another engine.
    first = "weights" if held.get("engine") == wanted.get("engine") else "preset"
    for key in {first: None, "engine": None, **wanted, **held}:
        old, new = held.get(key), wanted.get(key)
        if old != new:
            difference = other_weights if key == "weights" else _difference(key, old, new)
            raise ConfigError(f"{what} made with {difference}; {instead}")


def _difference(key: str, old: Any, new: Any) -> str:
    """The first setting that differs, looking into sections, and both its values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for inner in {**new, **old}:
            if old.get(inner) != new.get(inner):
                return _difference(inner if key == "preset" else f"{key}.{inner}", old.get(inner), new.get(inner))
    missing = "torch" if key == "engine" else "none"
    return f"{key} = {_shown(old, missing)}, now it is {_shown(new, missing)}"


def _shown(value: Any, missing: str) -> str:
    text = missing if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:38]}...{text[-38:]}"  # paths often differ at their ends
