"""COCO's instances: boxes x, y, w, h in continuous pixels; for own data, also tracks through the frames of videos.

Frames are images of their own, or, where `videos` names a video file, those of number `frame_id` in it, counted from 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from siamtrack.formats.training.base import VIDEOS, Entry, Problem, ReportProblem, Source, relative

__all__ = ["COCO"]


def _units(root: Path) -> list[Path]:
    """Files of instances, in annotations/ or beside the images; captions and key points are others' business."""
    found = sorted((root / "annotations").glob("*.json")) or sorted(root.glob("*.json"))
    return [path for path in found if not path.name.startswith(("captions_", "person_keypoints_", "shards"))]


def _read(root: Path, path: Path, note: ReportProblem) -> Iterator[Entry]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        images = {image["id"]: image for image in table["images"]}
        names = {category["id"]: str(category["name"]) for category in table.get("categories", [])}
        annotations: list[dict[str, Any]] = table["annotations"]
        videos = {video["id"]: video.get("file_name", video.get("name", "")) for video in table.get("videos", [])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        note(Problem("unreadable annotation", str(path), f"not COCO's images and annotations: {error!r}"))
        return
    folder = _image_folder(root, path, images)
    films = {key: found for key, name in videos.items() if name and (found := _film(root, name)) is not None}
    for annotation in annotations:
        try:
            image = images[annotation["image_id"]]
            x, y, w, h = (float(v) for v in annotation["bbox"])
            number = int(annotation["id"])
        except (KeyError, TypeError, ValueError) as error:
            where = f"annotation {annotation.get('id') if isinstance(annotation, dict) else annotation}"
            note(Problem("unreadable annotation", str(path), f"{where}: {error!r}"))
            continue
        if annotation.get("iscrowd"):
            continue
        track = f"{path.stem}/{number}"
        frame = int(image.get("frame_id", image.get("frame_index", 0)))
        followed = annotation.get("track_id", annotation.get("instance_id"))
        if followed is not None:
            track = f"{path.stem}/{image.get('video_id', 0)}/{followed}"
        film = films.get(image.get("video_id"))
        file = f"{film}#{frame}" if film is not None else relative(folder / image["file_name"], root)
        yield Entry(file, track, frame, (x, y, x + w, y + h), names.get(annotation.get("category_id"), ""))


def _film(root: Path, name: str) -> str | None:
    """The video file of that name, with its extension or without, in the root or `videos/`; None if there is none."""
    places = (root / name, root / "videos" / name)
    files = (place.with_name(place.name + ext) for place in places for ext in ("", *VIDEOS))
    return next((relative(file, root) for file in files if file.suffix.lower() in VIDEOS and file.is_file()), None)


def _image_folder(root: Path, path: Path, images: dict[Any, dict[str, Any]]) -> Path:
    """Where the images lie: `train2017/` for `instances_train2017.json`, `images/`, or the root itself."""
    split = path.stem.removeprefix("instances_")
    name = next(iter(images.values()))["file_name"] if images else ""
    places = (root / split, root / "images" / split, root / "images", root)
    return next(
        (place for place in places if name and (place / name).is_file()),
        root / split if (root / split).is_dir() else root,
    )


COCO = Source("coco", "COCO: annotations/instances_*.json, or any COCO json beside images", _units, _read)
