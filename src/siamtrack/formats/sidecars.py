"""What data sets keep beside an annotation: visibility, image sizes, tags and multi-start anchors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from siamtrack.errors import DataError
from siamtrack.formats.archive import Archive
from siamtrack.formats.parse import parse_column, parse_flags
from siamtrack.formats.records import Truth
from siamtrack.geometry.regions import BoolArray, FloatArray, IntArray

__all__ = ["Sidecars"]

_UAV123 = ["SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB"]
_LASOT = ["IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV", "LR", "ARC"]
_TC128 = ["IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR"]
_ATTRIBUTES = {len(names): names for names in (_UAV123, _LASOT, _TC128)}
_SIZE = re.compile(rb"resolution\s*[:=]\s*\(?\s*(\d+)\s*,\s*(\d+)")
_PROPERTY = re.compile(rb"^\s*(width|height)\s*=\s*(\d+)", re.MULTILINE)


class Sidecars:
    """Completes annotations with what an archive holds beside them."""

    def __init__(self, archive: Archive, *, needs_size: bool) -> None:
        self._archive = archive
        self._needs_size = needs_size
        self._meta = _meta(archive)
        self._tags: dict[str, list[str]] = {}
        for name in archive.names():
            if name.endswith((".tag", ".label")):
                self._tags.setdefault(str(PurePosixPath(name).parent), []).append(name)

    def complete(self, name: str, member: str, regions: FloatArray) -> Truth:
        """Return the `Truth` of a sequence from its regions and all that lies beside its annotation file."""
        folder = PurePosixPath(member).parent
        return Truth(
            name=name,
            regions=regions,
            size=self._size(name, folder),
            visible=self._visible(name, folder),
            tags=self._attributes(name, folder, len(regions)),
            anchors=self._anchors(name, folder),
        )

    def _read(self, *names: PurePosixPath) -> bytes | None:
        for name in names:
            if str(name) in self._archive:
                return self._archive.read(str(name))
        return None

    def _visible(self, name: str, folder: PurePosixPath) -> BoolArray | None:
        where = f"visibility of {name}"
        absent = self._read(folder / "absent" / f"{name}.txt", folder.parent / "absent" / f"{name}.txt")
        if absent is not None:
            return ~parse_flags(absent, where)
        cover = self._read(
            folder / "cover.label",
            *(place / "cover" / f"{name}{end}" for place in (folder, folder.parent) for end in (".label", ".txt")),
        )
        if cover is not None:
            return np.asarray(np.nan_to_num(parse_column(cover, where)) > 0, dtype=np.bool_)
        hidden = [self._read(folder / n) for n in ("full_occlusion.txt", "out_of_view.txt", "absence.label")]
        flags = [parse_flags(data, where) for data in hidden if data is not None]
        if not flags:
            return None
        if len({len(f) for f in flags}) > 1:
            raise DataError(f"{where}: its files have different lengths; there must be one flag a frame")
        return np.asarray(~np.any(flags, axis=0))

    def _size(self, name: str, folder: PurePosixPath) -> tuple[int, int] | None:
        own = self._meta.get(name)
        if isinstance(own, Mapping) and "width" in own and "height" in own:
            return int(own["width"]), int(own["height"])
        shared = self._meta.get("image_size")
        if isinstance(shared, list) and len(shared) == 2:
            return int(shared[0]), int(shared[1])
        if not self._needs_size:
            return None
        if match := _SIZE.search(self._read(folder / "meta_info.ini") or b""):
            return int(match.group(1)), int(match.group(2))
        properties = dict(_PROPERTY.findall(self._read(folder / "sequence") or b""))
        if len(properties) == 2:
            return int(properties[b"width"]), int(properties[b"height"])
        return self._archive.image_size("" if str(folder) == "." else str(folder))

    def _attributes(self, name: str, folder: PurePosixPath, frames: int) -> dict[str, BoolArray]:
        own = self._meta.get(name)
        if isinstance(own, Mapping) and isinstance(own.get("tags"), Mapping):
            return {str(tag): self._tag(name, tag, str(flags).encode(), frames) for tag, flags in own["tags"].items()}
        found = {}
        for member in self._tags.get(str(folder), []):
            tag = PurePosixPath(member).stem
            if tag not in ("cover", "absence", "cut_by_image"):
                found[tag] = self._tag(name, tag, self._archive.read(member), frames)
        attributes = self._read(folder / "att" / f"{name}.txt", folder.parent / "att" / f"{name}.txt")
        if attributes is not None:
            on = parse_flags(attributes, f"attributes of {name}")
            names = _ATTRIBUTES.get(len(on), [f"attribute {i + 1}" for i in range(len(on))])
            found |= {tag: np.ones(frames, dtype=np.bool_) for tag, yes in zip(names, on, strict=True) if yes}
        return found

    @staticmethod
    def _tag(name: str, tag: str, data: bytes, frames: int) -> BoolArray:
        flags = parse_flags(data, f"tag {tag} of {name}")[:frames]
        return np.pad(flags, (0, frames - len(flags)))  # VOT leaves out the zeros at the end

    def _anchors(self, name: str, folder: PurePosixPath) -> IntArray | None:
        data = self._read(folder / "anchor.value")
        if data is None:
            return None
        return np.sign(np.nan_to_num(parse_column(data, f"anchors of {name}"))).astype(np.int64)


def _meta(archive: Archive) -> dict[str, Any]:
    """Return what the archive's meta.json says, or nothing."""
    for name in archive.names():
        if PurePosixPath(name).name == "meta.json":
            try:
                found = json.loads(archive.read(name))
            except ValueError as error:
                raise DataError(f"{archive.path}: {name}: expected JSON: {error}") from None
            return found if isinstance(found, dict) else {}
    return {}
