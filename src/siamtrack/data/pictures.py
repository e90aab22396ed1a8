"""Pictures of training data, to be looked at: crops as shards hold them, and pairs as training draws them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from siamtrack.config import Preset
from siamtrack.data.augment import render_batch
from siamtrack.data.pair_source import PairSource
from siamtrack.data.shards import CropLabel, decode, iterate_shard, list_shards
from siamtrack.errors import DataError
from siamtrack.geometry.inputs import Image
from siamtrack.io import write_whole
from siamtrack.storage import open_for_reading

_TILE = 240  # pixels of a stored crop on the picture

Colour = tuple[int, int, int]
_GREEN, _ORANGE, _RED, _YELLOW, _BLUE = (0, 220, 0), (255, 140, 0), (255, 0, 0), (255, 220, 0), (0, 128, 255)


def draw_crops(place: str, path: Path, count: int = 24) -> None:
    """Draw some crops of shards on one picture: the object's box in green, other labelled objects' in orange.

    They are taken from as many shards as there are.

    Raises:
        DataError: no shards, no crop that can be decoded, a name that is no picture's, or it cannot be written.
    """
    shards = list_shards(place).shards
    each = -(-count // len(shards))
    tiles: list[Image] = []
    for shard in shards:
        with open_for_reading(shard.place) as stream:
            rows = ((decode(jpeg), label) for _, jpeg, label in iterate_shard(stream, str(shard.place)))
            tiles += [_crop_tile(shown, label) for shown, label in islice(rows, each) if shown is not None]
        if len(tiles) >= count:
            break
    if not tiles:
        raise DataError(f"{place}: expected crops; none can be decoded")
    _write_sheet(tiles, min(6, len(tiles)), path)


def _crop_tile(picture: Image, label: CropLabel) -> Image:
    scale = _TILE / max(picture.shape[:2])
    tile = np.asarray(cv2.resize(picture, (_TILE, _TILE)), np.uint8)
    beside = [(other.box, other.category, _ORANGE) for other in label.others]
    for box, category, colour in [*beside, (label.box, label.category, _GREEN)]:
        x, y = _outline(tile, [v * scale for v in box], colour, 2)
        _write(tile, category[:20], (max(x, 0) + 2, max(y, 0) + 12), colour)
    return tile


def draw_pairs(source: PairSource, preset: Preset, path: Path, count: int = 24) -> None:
    """Draw pairs on a picture, four in a row: template, search crop, and the boxes that training learns from.

    The target is green, or red where the template shows another object; other labelled objects are yellow, and blue
    where they are of the template's category.

    Raises:
        DataError: a name that is no picture's, or it cannot be written.
    """
    seen = source.preview(count, preset.train.seed)
    batch = render_batch(seen.plan, seen.crops)
    height = max(batch.search.shape[-1], batch.template.shape[-1]) + 18
    tiles = []
    for row in range(len(batch.present)):
        template, search = (
            np.ascontiguousarray(pixels[row].round().byte().cpu().permute(1, 2, 0).numpy())
            for pixels in (batch.template, batch.search)
        )
        present = bool(batch.present[row])
        if batch.others is not None and batch.others_alike is not None:
            for box, alike in zip(batch.others[row].tolist(), batch.others_alike[row].tolist(), strict=True):
                if box[0] == box[0]:  # not nan
                    _outline(search, box, _BLUE if alike else _YELLOW)
        _outline(search, batch.boxes[row].tolist(), _GREEN if present else _RED)
        if batch.template_boxes is not None:
            _outline(template, batch.template_boxes[row].tolist(), _GREEN if present else _RED)
        tile = np.full((height, template.shape[1] + search.shape[1] + 6, 3), 255, np.uint8)
        tile[: template.shape[0], : template.shape[1]] = template
        tile[: search.shape[0], template.shape[1] + 2 : -4] = search
        number = int(seen.plan.pairs.search[row])
        source_name, key = seen.crops.source_names[int(seen.crops.sources[number])], seen.crops.keys[number]
        _write(tile, f"{source_name} {key}{'' if present else ' (negative)'}", (2, height - 5), (0, 0, 0))
        tiles.append(tile)
    _write_sheet(tiles, 4, path)


def _outline(image: Image, box: Sequence[float], colour: Colour, width: int = 1) -> tuple[int, int]:
    """Draw a box xyxy in pixels; return its upper left corner, rounded."""
    x0, y0, x1, y1 = (max(-9999, min(9999, round(v))) for v in box)
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, width)
    return x0, y0


def _write(image: Image, text: str, place: tuple[int, int], colour: Colour) -> None:
    said = text.encode("ascii", "replace").decode()
    cv2.putText(image, said, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)


def _write_sheet(tiles: list[Image], columns: int, path: Path) -> None:
    """Write RGB tiles of one size (H, W, 3), in rows, as one picture."""
    tiles = tiles + [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    sheet = np.vstack([np.hstack(tiles[first : first + columns]) for first in range(0, len(tiles), columns)])
    try:
        content = cv2.imencode(path.suffix or "?", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    except cv2.error:
        raise DataError(f"{path}: expected a name that ends in .png or .jpg") from None
    write_whole(path, content.tobytes())
