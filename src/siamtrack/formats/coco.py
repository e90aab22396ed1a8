"""COCO's instances: boxes x, y, w, h in continuous pixels; for own data, also tracks through the frames of videos.

Frames are image files, or frame `frame_id` (from 0) of the video file that `videos` names. A track's number is
`track_id` or `instance_id`, or, in CVAT's export, `track_id` under `attributes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from siamtrack.errors import DataError, reason
from siamtrack.formats.archive import Archive
from siamtrack.formats.layout import ObjectBox, ObjectLayout, Problem, ReportProblem, corners_of, frame_number
from siamtrack.io import VIDEO_SUFFIXES, parse_json

_NOT_INSTANCES = ("captions_", "person_keypoints_", "shards")
_LARGEST = 1 << 30  # bytes; COCO's own annotations have a half of it


def _find(archive: Archive) -> dict[str, str]:
    """Files of instances, in annotations/ or beside the images, without captions and key points."""
    found = archive.paths("annotations/*.json") or archive.paths("*.json")
    names = {member: PurePosixPath(member).stem for member in found}
    return {name: member for member, name in names.items() if not name.startswith(_NOT_INSTANCES)}


def _read(archive: Archive, stem: str, member: str, report_problem: ReportProblem) -> Iterator[ObjectBox]:
    where = archive.where(member)
    try:
        table = parse_json(archive.read(member, _LARGEST), where, _LARGEST)
        images: dict[Any, dict[str, Any]] = {image["id"]: image for image in table["images"]}
        names = {category["id"]: str(category["name"]) for category in table.get("categories", [])}
        videos = {video["id"]: str(video.get("file_name", video.get("name", ""))) for video in table.get("videos", [])}
        annotations = list(table["annotations"])
        folder = _image_folder(archive, stem, images)
    except (DataError, KeyError, TypeError, AttributeError) as error:
        report_problem(Problem("unreadable annotation", where, f"not COCO's images and annotations: {reason(error)}"))
        return
    films = {key: found for key, name in videos.items() if name and (found := _film(archive, name)) is not None}
    for annotation in annotations:
        try:
            if not annotation.get("iscrowd"):
                yield _object(annotation, stem, folder, images, names, films)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            number = annotation.get("id") if isinstance(annotation, dict) else annotation
            report_problem(Problem("unreadable annotation", where, f"annotation {str(number)[:80]}: {reason(error)}"))


def _object(
    annotation: Mapping[str, Any],
    stem: str,
    folder: str,
    images: Mapping[Any, Mapping[str, Any]],
    names: Mapping[Any, str],
    films: Mapping[Any, str],
) -> ObjectBox:
    """One annotation as a box; KeyError, TypeError, ValueError, OverflowError or AttributeError if it is malformed."""
    image = images[annotation["image_id"]]
    box = corners_of(annotation["bbox"])
    track, frame = f"{stem}/{int(annotation['id'])}", image.get("frame_id", image.get("frame_index"))
    attributes = annotation.get("attributes")
    inner = attributes.get("track_id") if isinstance(attributes, dict) else None
    followed = annotation.get("track_id", annotation.get("instance_id", inner))
    if followed is not None:
        track = f"{stem}/{image.get('video_id', 0)}/{followed}"
        if frame is None:  # CVAT numbers the files
            frame = frame_number(PurePosixPath(image["file_name"]).stem)
    film = films.get(image.get("video_id"))
    name = f"{film}#{int(frame or 0)}" if film is not None else f"{folder}{image['file_name']}"
    category = names.get(annotation.get("category_id"), "")
    return ObjectBox(name, track, int(frame or 0), box, category)


def _film(archive: Archive, name: str) -> str | None:
    """The video file of that name, with or without its extension, in the root or `videos/`; None without one."""
    files = (f"{place}{name}{ext}" for place in ("", "videos/") for ext in ("", *VIDEO_SUFFIXES))
    return next((file for file in files if file.lower().endswith(VIDEO_SUFFIXES) and archive.has(file)), None)


def _image_folder(archive: Archive, stem: str, images: Mapping[Any, Mapping[str, Any]]) -> str:
    """Where the images lie: `train2017/` for `instances_train2017.json`, `images/`, or the root itself."""
    split = stem.removeprefix("instances_")
    name = next(iter(images.values()))["file_name"] if images else ""
    places = (f"{split}/", f"images/{split}/", "images/", "")
    fallback = f"{split}/" if split in archive.folders() else ""
    return next((place for place in places if archive.has(f"{place}{name}")), fallback)


COCO = ObjectLayout("coco", "COCO: annotations/instances_*.json, or any COCO json beside images", _find, _read)
