"""The outermost boxes of an mp4 file: they show that a file was cut, or where its last fragment ends."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

__all__ = ["Atom", "is_cut", "top_atoms", "trim_fragments"]


class Atom(NamedTuple):
    """One box of an ISO base media file: its four-letter kind and the bytes [start, end) that it claims."""

    kind: str
    start: int
    end: int


def top_atoms(path: Path) -> list[Atom]:
    """List the outermost boxes of a file; empty if it is not an mp4 or mov file.

    Source: ISO/IEC 14496-12, section 4.2.
    The last box may claim more bytes than the file has: then the file was cut.
    """
    atoms: list[Atom] = []
    if not path.is_file():
        return atoms
    total = path.stat().st_size
    with path.open("rb") as file:
        start = 0
        while start + 8 <= total:
            file.seek(start)
            head = file.read(16)
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            elif size == 0:
                size = total - start
            if size < 8 or not kind.isascii() or (not atoms and kind not in (b"ftyp", b"moov", b"wide", b"mdat")):
                break
            atoms.append(Atom(kind.decode("ascii"), start, start + size))
            start += size
    return atoms


def is_cut(path: Path) -> bool:
    """Whether the file is an mp4 or mov whose last box claims bytes that are not there."""
    atoms = top_atoms(path)
    return bool(atoms) and atoms[-1].end > path.stat().st_size


def trim_fragments(path: Path) -> bool:
    """Drop what follows the last whole fragment of a fragmented mp4; return whether a fragment is left.

    A fragment is a `moof` box and the `mdat` box after it. A disk that is full leaves the last one half
    written.
    """
    total = path.stat().st_size
    whole = 0
    atoms = top_atoms(path)
    for index, data in pairwise(atoms):
        if index.kind == "moof" and data.kind == "mdat" and data.end <= total:
            whole = data.end
    if whole:
        os.truncate(path, whole)
    return whole > 0
