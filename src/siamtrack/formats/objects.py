"""Data sets for training, public ones and users' own: objects in frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from siamtrack.arguments import checked
from siamtrack.errors import DataError, look_up
from siamtrack.formats.archive import Archive
from siamtrack.formats.citypersons import CITYPERSONS
from siamtrack.formats.coco import COCO
from siamtrack.formats.cvat import CVAT
from siamtrack.formats.folder import FOLDER
from siamtrack.formats.got10k import GOT10K
from siamtrack.formats.lasot import LASOT
from siamtrack.formats.layout import ObjectLayout
from siamtrack.formats.masks import MASKS
from siamtrack.formats.mot import MOT
from siamtrack.formats.trackingnet import TRACKINGNET
from siamtrack.formats.voc import DET, VID, VOC, VOC_VIDEO
from siamtrack.formats.widerface import WIDERFACE
from siamtrack.formats.yolo import YOLO, YOLO_VIDEO
from siamtrack.formats.youtubebb import YOUTUBEBB

OBJECT_LAYOUTS: Mapping[str, ObjectLayout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            VID, DET, YOUTUBEBB, CITYPERSONS, WIDERFACE, GOT10K.objects(), LASOT.objects(), TRACKINGNET.objects(), MOT,
            CVAT, COCO, MASKS, VOC, YOLO, FOLDER.objects(), VOC_VIDEO, YOLO_VIDEO,
        )
    }
)  # fmt: skip
"""The layouts of training data by name, in the order of trial for a folder: the most specific one first."""

_ONLY_BY_NAME = frozenset({VOC_VIDEO.name, YOLO_VIDEO.name})  # they look like stills


@checked
def find_object_layout(root: Path, name: str = "") -> ObjectLayout:
    """Return the layout of that name, or the first that a folder or zip file has.

    Raises:
        ConfigError: an unknown name.
        DataError: no such folder, or nothing of that layout in it.
    """
    tried = [look_up(OBJECT_LAYOUTS, name, "layout")] if name else OBJECT_LAYOUTS.values()
    with Archive(root) as archive:
        for layout in tried:
            if (name or layout.name not in _ONLY_BY_NAME) and layout.find(archive):
                return layout
    wanted = OBJECT_LAYOUTS[name].example if name else f"one of the layouts {', '.join(OBJECT_LAYOUTS)}"
    raise DataError(f"{root}: expected {wanted}; found no annotations of it")
