"""The scores of a tuning run on disk: JSON lines that survive a kill and refuse to mix models.

The first line says what the scores depend on; every other line is one setting on one sequence. A line is
appended and flushed to the disk when its run has finished. A kill can cut the last line short: it is skipped
when the file is read, and measured again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siamtrack.errors import ConfigError, DataError
from siamtrack.formats.sequence import ImageFiles, VideoSequence
from siamtrack.io import append_line, parse_json, read_bytes, write_whole

_FORMAT = 1


def sequence_digest(sequence: VideoSequence) -> str:
    """A short hash of a sequence's truth and its frames' names: scores of another truth do not count."""
    digest = hashlib.sha256(sequence.truth.tobytes())
    if isinstance(sequence.frames, ImageFiles):
        digest.update("\n".join(sequence.frames.names).encode())
    return digest.hexdigest()[:16]


class Ledger:
    """Scores by setting and sequence; made by `Ledger.open`.

    Args:
        path: of the file, `.jsonl`.
        scores: what it holds.
    """

    def __init__(self, path: Path, scores: dict[tuple[str, str, str], float]) -> None:
        self.path = path
        self._scores = scores

    @classmethod
    def open(cls, path: Path, identity: Mapping[str, Any]) -> Ledger:
        """Begin a file, or go on with one of the same model.

        Args:
            path: of the file.
            identity: what the scores depend on besides setting and sequence, as JSON.

        Raises:
            ConfigError: the scores in it are of another model, device or version; the difference is named.
            DataError: it is no such file, or cannot be read or written.
        """
        wanted = json.loads(json.dumps({"format": _FORMAT, **identity}))
        if not path.exists():
            write_whole(path, json.dumps(wanted) + "\n")
            return cls(path, {})
        first, *lines = read_bytes(path).splitlines() or [b""]
        held = _object(first)
        if held is None or "format" not in held:
            raise DataError(f"{path}: expected the scores of `siamtrack tune`; choose another --out")
        for key in {**wanted, **held}:
            if held.get(key) != wanted.get(key):
                raise ConfigError(
                    f"{path} holds scores made with another {key}; choose another --out or delete the file"
                )
        scores = {}
        for line in lines:
            row = _object(line) or {}
            score, setting = row.get("success_auc"), row.get("setting")
            if isinstance(score, float | int) and math.isfinite(score) and isinstance(setting, dict):
                scores[_canonical(setting), str(row.get("sequence")), str(row.get("digest"))] = float(score)
        return cls(path, scores)

    def get(self, changes: Mapping[str, Any], sequence: str, digest: str) -> float | None:
        """The score of a setting, named by what it changes in the preset, on a sequence; None if unknown."""
        return self._scores.get((_canonical(changes), sequence, digest))

    def add(self, changes: Mapping[str, Any], sequence: str, digest: str, score: float) -> None:
        """Keep a score, on the disk too.

        Raises:
            DataError: the file cannot be written.
        """
        row = {"sequence": sequence, "digest": digest, "success_auc": score, "setting": dict(changes)}
        append_line(self.path, json.dumps(row), sync=True)
        self._scores[_canonical(changes), sequence, digest] = score

    def __len__(self) -> int:
        """Return the number of scores."""
        return len(self._scores)


def _canonical(changes: Mapping[str, Any]) -> str:
    return json.dumps(dict(changes), sort_keys=True)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        return parse_json(line, "a line")
    except DataError:
        return None
