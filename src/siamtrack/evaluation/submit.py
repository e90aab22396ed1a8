"""Packing results for the evaluation servers of GOT-10k and TrackingNet, and checking such files.

GOT-10k takes `<seq>/<seq>_001.txt` (x,y,w,h with three decimals) and `<seq>/<seq>_time.txt` (seconds a frame)
of the 180 sequences of its test split; TrackingNet takes `<seq>.txt` of its 511 test sequences, one box a
frame.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np

from siamtrack.errors import ConfigError, DataError, look_up
from siamtrack.evaluation.store import Store
from siamtrack.formats.archive import Archive
from siamtrack.formats.records import parse_boxes, parse_column
from siamtrack.geometry.regions import as_rectangles
from siamtrack.io import first_names, write_whole
from siamtrack.storage import Place, join, list_files, read_json_from

_DATE = (1980, 1, 1, 0, 0, 0)  # of zip members, so that the same results make the same file


@dataclass(frozen=True)
class Server:
    """An evaluation server: the number of sequences that it expects, their names, and their suite."""

    name: str
    suite: str
    count: int
    names: re.Pattern[str]
    timed: bool

    def member(self, sequence: str) -> str:
        """Return where a sequence's boxes lie in the file that is sent."""
        return f"{sequence}/{sequence}_001.txt" if self.timed else f"{sequence}.txt"

    def times(self, sequence: str) -> str:
        """Return where its times lie."""
        return f"{sequence}/{sequence}_time.txt"

    def sequence_of(self, member: str) -> str | None:
        """Return the sequence whose boxes or times a file has; None for a file that the server does not look into."""
        path = PurePosixPath(member)
        name = path.parts[0] if self.timed else path.stem
        expected = (self.member(name), self.times(name)) if self.timed else (self.member(name),)
        return name if self.names.match(name) and member in expected else None


SERVERS: Mapping[str, Server] = MappingProxyType(
    {
        "got10k": Server("got10k", "got10k-test", 180, re.compile(r"^GOT-10k_Test_\d{6}$"), timed=True),
        "trackingnet": Server("trackingnet", "trackingnet", 511, re.compile(r"^[\w-]{11}_\d+$"), timed=False),
    }
)


def find_server(name: str) -> Server:
    """Return the server of this name; raises `ConfigError` for an unknown one."""
    return look_up(SERVERS, name.lower().replace("-", "").replace("_", ""), "server")


def stored_server(root: Place) -> Server:
    """Return the server that a store's results are for.

    Raises:
        DataError: the folder is no store.
        ConfigError: its suite has no server.
    """
    suite = read_json_from(join(root, "manifest.json")).get("suite")
    for server in SERVERS.values():
        if server.suite == suite:
            return server
    raise ConfigError(f"{root} holds results on {suite}; servers take {', '.join(s.suite for s in SERVERS.values())}")


def guess_server(path: Path) -> Server:
    """Return the server that a file is for, by the names in it."""
    with Archive(path) as archive:
        got10k = any("GOT-10k" in name for name in archive.names())
    return SERVERS["got10k" if got10k else "trackingnet"]


def pack(root: Place, out: Path, lengths: Mapping[str, int] | None = None) -> Server:
    """Pack a store, `OUT/<tracker>/<suite>`, for its server; a file that the server would reject is not written.

    `lengths` are the frames of every sequence, if known.

    Raises:
        ConfigError: results of a suite that has no server.
        DataError: no results, or results that the server would reject; says why.
    """
    server = stored_server(root)
    store = Store(root, "ope")
    names = sorted(PurePosixPath(name).stem for name in list_files(join(root, "results")) if name.endswith(".txt"))
    if not names:
        raise DataError(f"{root}: no results; run `siamtrack eval --suite {server.suite}` first")
    contents: dict[str, bytes] = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            boxes = as_rectangles(store.load_raw(name, "").regions)
            members = {server.member(name): "".join(",".join(f"{v:.3f}" for v in b) + "\n" for b in boxes.tolist())}
            if server.timed:
                members[server.times(name)] = "".join(f"{s:.8f}\n" for s in store.timing(name, "").seconds)
            for member, text in members.items():
                contents[member] = text.encode()
                archive.writestr(zipfile.ZipInfo(member, _DATE), text, zipfile.ZIP_DEFLATED)
    problems = _check(server, contents, lengths)
    if problems:
        raise DataError(f"the {server.name} server would reject this: {'; '.join(problems)}")
    write_whole(out, buffer.getvalue())
    return server


def check_submission(path: Path, server: Server, lengths: Mapping[str, int] | None = None) -> list[str]:
    """Return why a server would reject a .zip file, or the folder that one would be made of, one line each.

    Nothing if it would take it. Without `lengths`, the frames of every sequence, numbers of lines are not checked.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    with Archive(path) as archive:
        # what the server does not know is told by its name alone, however much there is of it
        contents = {name: archive.read(name) if server.sequence_of(name) else b"" for name in archive.names()}
    problems = [] if path.is_dir() or zipfile.is_zipfile(path) else [f"{path.name} is not a zip file"]
    return problems + _check(server, contents, lengths)


def _check(server: Server, contents: Mapping[str, bytes], lengths: Mapping[str, int] | None) -> list[str]:
    known = {member: name for member in contents if (name := server.sequence_of(member))}
    boxes = {name for member, name in known.items() if member == server.member(name)}
    repetition = re.compile(r"([^/]+)/\1_\d{3}\.txt")
    strangers = [m for m in contents if m not in known and not (server.timed and repetition.fullmatch(m))]
    problems = []
    if strangers:
        problems.append(f"unexpected files, expected {server.member('<sequence>')}: {first_names(strangers, 5)}")
    if lengths is not None:
        if missing := sorted(lengths.keys() - boxes):
            problems.append(f"{len(missing)} of {len(lengths)} sequences are missing: {first_names(missing, 5)}")
        if surplus := sorted(boxes - lengths.keys()):
            problems.append(f"unknown sequences: {first_names(surplus, 5)}")
    elif len(boxes) != server.count:
        problems.append(f"{len(boxes)} sequences; the server expects {server.count}")
    for name in sorted(boxes):
        problems += _check_sequence(server, name, contents, (lengths or {}).get(name))
    return problems


def _check_sequence(server: Server, name: str, contents: Mapping[str, bytes], length: int | None) -> list[str]:
    problems = []
    try:
        rows = parse_boxes(contents[server.member(name)], name)
    except DataError as error:
        return [str(error)]
    if rows.shape[1] != 4:
        problems.append(f"{name}: {rows.shape[1]} numbers a line; expected x,y,w,h")
    elif not np.isfinite(rows).all():
        problems.append(f"{name}: line {int(np.argmin(np.isfinite(rows).all(axis=1))) + 1} is not finite")
    elif (rows[:, 2:] < 0).any():
        problems.append(f"{name}: line {int(np.argmax((rows[:, 2:] < 0).any(axis=1))) + 1} has a negative size")
    if length is not None and len(rows) != length:
        problems.append(f"{name}: {len(rows)} lines for {length} frames")
    if b"," not in contents[server.member(name)].split(b"\n", 1)[0]:
        problems.append(f"{name}: numbers must be separated by commas")
    if server.timed:
        problems += _check_times(name, contents.get(server.times(name)), len(rows))
    return problems


def _check_times(name: str, data: bytes | None, rows: int) -> list[str]:
    if data is None:
        return [f"{name}: {name}_time.txt is missing"]
    try:
        first = b"\n".join(line.split(b",")[0] for line in data.splitlines())  # one column a repetition
        seconds = parse_column(first, f"{name}_time.txt")
    except DataError as error:
        return [str(error)]
    if len(seconds) != rows:
        return [f"{name}_time.txt: {len(seconds)} lines for {rows} boxes"]
    return [] if (seconds >= 0).all() else [f"{name}_time.txt: expected seconds, 0 or more"]
