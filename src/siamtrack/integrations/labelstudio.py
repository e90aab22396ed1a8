"""A machine learning backend for Label Studio: follows the rectangles that an annotator drew in a video.

    python -m siamtrack.integrations.labelstudio --files VIDEOS --port 9090

Connect the address to a project whose template is the one for video object tracking. Each region's key frames are the
target's given boxes; the answer has its box in every frame from the first of them on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from siamtrack.errors import InputError, SiamtrackError, reason, require
from siamtrack.io import parse_json
from siamtrack.presets import DEFAULT_MODEL
from siamtrack.storage import PATIENCE, check_pace
from siamtrack.tracking.tracker import MultiTracker
from siamtrack.video.boxes import BoxRow, render_boxes
from siamtrack.video.keyed import follow_keys
from siamtrack.video.reader import open_source
from siamtrack.zoo import load_multi

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_VERSION = "siamtrack"
_LARGEST_REQUEST = 32 << 20  # bytes
_LARGEST_VIDEO = 16 << 30  # bytes of one that is fetched
_NUMBERS = ("x", "y", "width", "height", "rotation")
_STRANGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)


def follow_regions(tracker: MultiTracker, source: str | Path, regions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Follow Label Studio's video rectangles through a video file.

    A rectangle is followed from each of its key frames to the next ones; after one whose `enabled` is false only from
    the next one on, as Label Studio draws it. Of a turned rectangle the bounds are taken. Regions of other types are
    left alone.

    Returns:
        A prediction: `model_version`, `score` and `result`, the regions under their old ids.

    Raises:
        InputError: a video or region that cannot be used.
    """
    drawn = [region for region in regions if region.get("type") == "videorectangle"]

    def read(start: int, end: int | None) -> Iterator[np.ndarray]:
        with open_source(source, start, end) as frames:
            yield from frames

    with open_source(source) as frames:
        clip = frames.clip([_label(region) for region in drawn] or ["object"])
    rows: list[BoxRow] = []
    for target, region in enumerate(drawn, 1):
        for keys, end in _stretches(region, clip.size):
            for frame, found in follow_keys(tracker, read, keys, min(keys), end).items():
                rows.append(BoxRow(frame, target, found.box, found.score, found.presence, found.status))
    rows.sort(key=lambda row: (row.frame, row.target))
    task = json.loads(render_boxes(rows, clip, "labelstudio")["boxes.json"])[0]
    prediction: dict[str, Any] = task["predictions"][0]
    for region in prediction["result"]:
        given = drawn[int(region["id"].rpartition("-")[2]) - 1]
        region.update({key: given[key] for key in ("id", "from_name", "to_name") if key in given})
    return prediction


def _label(region: Mapping[str, Any]) -> str:
    labels = region.get("value", {}).get("labels") or ["object"]
    return str(labels[0])


_Box = tuple[float, float, float, float]


def _stretches(region: Mapping[str, Any], size: tuple[int, int]) -> list[tuple[dict[int, _Box], int | None]]:
    """The boxes of a region's key frames in pixels, by frame from 0: a stretch ends with a key that is not enabled.

    Each comes with the first frame behind its stretch; None for the end of the video.
    """
    try:
        sequence = region["value"]["sequence"]
        entries = {
            int(entry["frame"]) - 1: (_bounds(entry, size), bool(entry.get("enabled", True))) for entry in sequence
        }
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(
            f"a video rectangle has a sequence of frame, x, y, width, height as numbers: {reason(error)}"
        ) from None
    if not entries or min(entries) < 0:
        raise InputError("a video rectangle has key frames, counted from 1; got none, or one before the first frame")
    found: list[tuple[dict[int, _Box], int | None]] = []
    keys: dict[int, _Box] = {}
    for frame, (box, enabled) in sorted(entries.items()):
        keys[frame] = box
        if not enabled:
            found.append((keys, frame + 1))
            keys = {}
    return [*found, (keys, None)] if keys else found


def _bounds(entry: Mapping[str, Any], size: tuple[int, int]) -> _Box:
    """The box x, y, w, h in pixels around a key frame's rectangle, which is turned about its corner x, y."""
    x, y, w, h, angle = (float(entry.get(key) or 0) if key == "rotation" else float(entry[key]) for key in _NUMBERS)
    x, w, y, h = x * size[0] / 100, w * size[0] / 100, y * size[1] / 100, h * size[1] / 100
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    if not sine and cosine == 1:
        return x, y, w, h
    across, down = (0, w * cosine, -h * sine, w * cosine - h * sine), (0, w * sine, h * cosine, w * sine + h * cosine)
    return x + min(across), y + min(down), max(across) - min(across), max(down) - min(down)


def backend(tracker: MultiTracker, files: Path) -> Starlette:
    """Make the web application that Label Studio speaks to: /health, /setup, /predict and /webhook.

    Args:
        tracker: follows one request after the other.
        files: the folder of the videos that Label Studio serves from local files; nothing outside is read. Other
            videos are fetched from their URL, those of Label Studio itself from LABEL_STUDIO_URL with
            LABEL_STUDIO_API_KEY.
    """
    require("starlette", "the backend for Label Studio", "starlette uvicorn", "app")
    from threading import Lock

    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    turn = Lock()

    def answer(body: Mapping[str, Any]) -> list[dict[str, Any]]:
        context = (body.get("params") or {}).get("context") or {}
        with turn:
            return [_predict(tracker, files, task, context.get("result")) for task in body["tasks"]]

    async def predict(request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST_REQUEST:
                return JSONResponse({"detail": f"expected at most {_LARGEST_REQUEST} bytes"}, status_code=413)
        try:
            found = await run_in_threadpool(answer, parse_json(bytes(body), "the request"))
        except SiamtrackError as error:
            return JSONResponse({"detail": str(error)}, status_code=400)
        except _STRANGE as error:
            return JSONResponse({"detail": f"expected Label Studio's tasks: {reason(error)}"}, status_code=400)
        return JSONResponse({"results": found, "model_version": _VERSION})

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "UP", "model_class": "siamtrack"})

    async def setup(request: Request) -> Response:
        return JSONResponse({"model_version": _VERSION})

    async def webhook(request: Request) -> Response:
        return JSONResponse({"status": "nothing to train"}, status_code=201)

    return Starlette(
        routes=[
            Route("/", health),
            Route("/health", health),
            Route("/setup", setup, methods=["POST"]),
            Route("/predict", predict, methods=["POST"]),
            Route("/webhook", webhook, methods=["POST"]),
        ]
    )


def _predict(tracker: MultiTracker, files: Path, task: Mapping[str, Any], drawn: Any) -> dict[str, Any]:
    """Answer for one task: by the regions of the request, else of the newest annotation or draft."""
    kept = [entry for key in ("annotations", "drafts") for entry in task.get(key) or [] if entry.get("result")]
    regions = drawn or (kept[-1]["result"] if kept else [])
    if not regions:
        return {"model_version": _VERSION, "score": 0.0, "result": []}
    address = str(task["data"].get("video") or next(iter(task["data"].values()), ""))
    if not address:
        raise InputError("a task's data have the address of its video; got none")
    with tempfile.TemporaryDirectory(prefix="siamtrack-") as folder:
        return follow_regions(tracker, _fetched(address, files, Path(folder)), regions)


def _fetched(address: str, files: Path, folder: Path) -> Path:
    """The video of a task as a file: one below `files`, or fetched into `folder`."""
    parts = urlsplit(address)
    if parts.path.startswith("/data/local-files"):
        address = parse_qs(parts.query).get("d", [""])[0]
    elif parts.scheme in ("http", "https") or address.startswith("/data/"):
        host, key = os.environ.get("LABEL_STUDIO_URL", "").rstrip("/"), os.environ.get("LABEL_STUDIO_API_KEY", "")
        url = address if parts.scheme else f"{host}{address}"
        own = bool(host) and url.startswith(f"{host}/")
        path = folder / (Path(parts.path).name or "video")
        try:
            request = urllib.request.Request(url)
            if own and key:  # for Label Studio alone, not for the storage that it may send us on to
                request.add_unredirected_header("Authorization", f"Token {key}")
            began = time.monotonic()
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer, path.open("wb") as file:
                while block := answer.read1(1 << 20):
                    file.write(block)
                    check_pace(file.tell(), began)
                    if file.tell() > _LARGEST_VIDEO:
                        raise InputError(f"the video {url[:200]} has more than {_LARGEST_VIDEO} bytes")
        except (OSError, ValueError, HTTPException) as error:
            raise InputError(f"cannot fetch the video {url[:200]}: {reason(error)}") from error
        return path
    # Path.resolve raises for a link that leads to itself, and Path.is_file for names that are too long
    path = Path(os.path.realpath(files / address))
    if not path.is_relative_to(os.path.realpath(files)) or not os.path.isfile(path):  # noqa: PTH113
        raise InputError(f"no such video below {files}: {address[:200]}")
    return path


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m siamtrack.integrations.labelstudio", description=__doc__)
    parser.add_argument("--files", type=Path, default=Path(), help="the folder of the videos")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a shipped model's name or a weights file")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9090)
    given = parser.parse_args()
    try:
        if not given.files.is_dir():
            raise InputError(f"--files expects a folder; got '{given.files}'")
        uvicorn = require("uvicorn", "the backend for Label Studio", "starlette uvicorn", "app")
        app = backend(load_multi(given.model, given.device), given.files)
    except SiamtrackError as error:
        parser.exit(2, f"siamtrack: {error}\n")
    uvicorn.run(app, host=given.host, port=given.port)


if __name__ == "__main__":
    main()
