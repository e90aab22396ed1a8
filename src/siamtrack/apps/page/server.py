"""The page's server: the page itself, uploads, downloads, and a socket over which frames and boxes go."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from siamtrack.apps.page.guard import Guard
from siamtrack.apps.page.places import Kind, Places, TooLargeError, WrongKindError
from siamtrack.apps.page.session import Frames, Session
from siamtrack.errors import InputError, SiamtrackError, printable
from siamtrack.tracking.interface import Engine
from siamtrack.video.boxes import FORMATS, UNNAMED, BoxRow, Clip, pack_boxes

FILES = Path(__file__).parent / "files"
"""The page: HTML, CSS and JavaScript modules."""

LARGEST_MESSAGE = 1 << 16
"""Bytes of one message of a page."""

_MOST_PAGES = 4
_MOST_UPLOADS = 2
_MOST_DOWNLOADS = 2  # a run of `_LARGEST_RUN` takes some 600 MB while it is made into a file
_PATIENCE = 30.0  # seconds without a byte of a body, after which whoever sends it is taken to have left
_LARGEST_RUN = 64 << 20  # bytes of the boxes that a page wants as a file: some 500,000 rows
_WIDEST = 1280  # pixels across of the pictures that a page gets; the tracker sees the frames as they are


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: int


class _Open(_Message):
    do: Literal["open"]
    kind: Kind
    name: str = Field("", max_length=2000)


_Number = Annotated[int, Field(ge=0, lt=1 << 40)]
_Coordinate = Annotated[float, Field(allow_inf_nan=False)]


class _Show(_Message):
    do: Literal["show"]
    number: _Number


class _Given(BaseModel):
    key: _Number
    box: tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate]


class _Step(_Message):
    do: Literal["step"]
    number: _Number
    given: list[_Given] = Field(max_length=64)
    kept: list[_Number] = Field(max_length=64)


_MESSAGES: TypeAdapter[_Open | _Show | _Step] = TypeAdapter(Annotated[_Open | _Show | _Step, Field(discriminator="do")])


_Fraction = Annotated[float, Field(ge=0, le=1)]


class _Run(BaseModel):
    """The boxes of a run, and the clip that they belong to; see `siamtrack.video.boxes`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=2000)
    size: tuple[_Number, _Number]
    fps: float = Field(gt=0, le=1e6)
    count: _Number | None
    images: list[str]
    labels: list[Annotated[str, Field(max_length=200)]] = Field([UNNAMED], min_length=1, max_length=10_000)
    rows: list[
        tuple[
            _Number, Annotated[int, Field(ge=1, lt=1 << 20)],
            tuple[_Coordinate, _Coordinate, _Coordinate, _Coordinate],
            _Fraction, _Fraction, Literal["tracking", "uncertain", "lost"],
        ]
    ]  # fmt: skip

    def packed(self, kind: str) -> tuple[str, bytes]:
        """One file's name and content; raises `InputError` for an unknown format."""
        clip = Clip(self.name, self.size, self.fps, self.count, self.images, self.labels)
        return pack_boxes([BoxRow(*row) for row in self.rows], clip, kind)


@dataclass(frozen=True)
class Settings:
    """What the server offers.

    Attributes:
        model: the model's name, to be shown.
        names: host names that the server goes by besides its addresses.
        token: a secret that every request must carry, or None.
        labels: classes of targets to choose from, the first one that of new targets.
    """

    model: str
    places: Places
    names: Sequence[str] = ()
    token: str | None = None
    labels: Sequence[str] = (UNNAMED,)


def make_app(engine: Engine[Any], settings: Settings) -> Starlette:
    """The ASGI application of one engine, whose network all pages share."""
    server = _Server(engine, settings)
    return Starlette(
        routes=[
            Route("/page.json", server.describe),
            Route("/uploads", server.upload, methods=["POST"]),
            Route("/boxes/{kind}", server.download, methods=["POST"]),
            WebSocketRoute("/follow", server.follow),
            Mount("/", StaticFiles(directory=FILES, html=True)),
        ],
        middleware=[Middleware(Guard, names=settings.names, token=settings.token)],
    )


@dataclass
class _Server:
    engine: Engine[Any]
    settings: Settings
    pages: int = 0
    uploads: int = 0
    downloads: int = 0

    async def describe(self, request: Request) -> Response:
        places = self.settings.places
        about = {
            "engine": "server",
            "model": printable(self.settings.model),
            "given": places.given and printable(places.given),
            "files": await asyncio.to_thread(places.files),
            "upload_limit": places.uploads.limit,
            "formats": list(FORMATS),
            "labels": list(map(printable, self.settings.labels)),
        }
        return JSONResponse(about)

    async def upload(self, request: Request) -> Response:
        """Take one file as the body of a POST; `?into=ID` adds an image to an upload."""
        store = self.settings.places.uploads
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > store.limit:
            return JSONResponse({"error": f"expected at most {store.limit >> 20} MB"}, 413)
        if self.uploads >= _MOST_UPLOADS:
            return JSONResponse({"error": "other uploads are under way; try again in a moment"}, 429)
        self.uploads += 1
        try:
            return JSONResponse({"id": await store.take(_body(request), request.query_params.get("into"))})
        except TooLargeError as error:
            return JSONResponse({"error": str(error)}, 413)
        except WrongKindError as error:
            return JSONResponse({"error": str(error)}, 415)
        except SiamtrackError as error:
            return JSONResponse({"error": self.settings.places.told(error)}, 400)
        except (ClientDisconnect, asyncio.CancelledError):  # the page left, or the server ends
            return Response(status_code=400)  # which nobody reads any more
        finally:
            self.uploads -= 1

    async def download(self, request: Request) -> Response:
        """Turn the boxes that are posted into a file of a format."""
        if self.downloads >= _MOST_DOWNLOADS:
            return JSONResponse({"error": "other downloads are under way; try again in a moment"}, 429)
        self.downloads += 1
        try:
            body = bytearray()
            async for chunk in _body(request):
                body += chunk
                if len(body) > _LARGEST_RUN:
                    return JSONResponse({"error": f"expected at most {_LARGEST_RUN >> 20} MB of boxes"}, 413)
            run = await asyncio.to_thread(_Run.model_validate_json, bytes(body))
            name, data = await asyncio.to_thread(run.packed, request.path_params["kind"])
        except ValidationError as error:
            return JSONResponse({"error": _first(error)}, 400)
        except SiamtrackError as error:
            return JSONResponse({"error": str(error)}, 400)
        except (ClientDisconnect, asyncio.CancelledError):  # the page left, or the server ends
            return Response(status_code=400)  # which nobody reads any more
        finally:
            self.downloads -= 1
        return Response(data, headers={"content-disposition": f'attachment; filename="{name}"'})

    async def follow(self, socket: WebSocket) -> None:
        """Serve one page until it leaves: each message is answered before the next one is read."""
        await socket.accept()
        if self.pages >= _MOST_PAGES:
            await socket.close(1013, "too many pages are open")
            return
        self.pages += 1
        page = _Page(self.engine, self.settings.places)
        coming = asyncio.ensure_future(socket.receive_text())
        answers: list[asyncio.Future[bytes]] = []
        try:
            while True:
                text = await coming
                coming = asyncio.ensure_future(socket.receive_text())
                answers = [asyncio.ensure_future(asyncio.to_thread(page.answer, text))]
                # A stream that stands still is waited for as long as the page is there, and the server.
                either: list[asyncio.Future[Any]] = [coming, *answers]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if coming.done() and coming.exception() is not None:
                    break
                await socket.send_bytes(await answers[0])
        except (WebSocketDisconnect, KeyError):  # KeyError: bytes where text belongs
            pass
        finally:
            self.pages -= 1
            coming.cancel()
            await asyncio.to_thread(page.leave)
            await asyncio.gather(coming, *answers, return_exceptions=True)
            await asyncio.to_thread(page.close)


class _Page:
    """One open page and its run; used by one thread at a time."""

    def __init__(self, engine: Engine[Any], places: Places) -> None:
        self.engine = engine
        self.places = places
        self.session: Session | None = None

    def answer(self, text: str) -> bytes:
        """Answer one message: a length of 4 bytes, little endian, that much JSON, and a JPEG or nothing."""
        try:
            message = _MESSAGES.validate_json(text)
        except ValidationError as error:
            return _packed({"id": None, "error": _first(error)})
        try:
            about, frame = self._do(message)
        except (SiamtrackError, OSError) as error:
            return _packed({"id": message.id, "error": self.places.told(error)})
        return _packed({"id": message.id, **about}, frame)

    def leave(self) -> None:
        """End an `answer` that another thread waits for, if it is the next frame of a camera or stream."""
        session = self.session
        if session is not None and session.frames.live:
            self.session = None
            session.frames.close()

    def close(self) -> None:
        """Close the source; no `answer` may be under way."""
        if self.session is not None:
            self.session.frames.close()
            self.session = None

    def _do(self, message: _Open | _Show | _Step) -> tuple[dict[str, Any], np.ndarray | None]:
        if isinstance(message, _Open):
            source = self.places.find(message.kind, message.name)
            before = None if self.session is None else self.session.frames
            if before is not None and before.live and str(before.source) == str(source):
                self.close()  # a camera cannot be opened twice
            frames = Frames(source)  # where that fails, the source before stays open
            self.close()
            self.session = Session(self.engine, frames)
            clip = frames.clip
            width, height = clip.size
            about = {"name": printable(clip.name), "width": width, "height": height, "fps": clip.fps}
            return {**about, "count": clip.count, "images": list(clip.images), "live": frames.live}, None
        session = self.session
        if session is None:
            raise InputError("open a source first")
        if isinstance(message, _Step):
            given = {begun.key: begun.box for begun in message.given}
            stepped = session.step(message.number, given, message.kept)
            if stepped is None:
                return {"end": True}, None
            frame, found, seconds = stepped
            rows = [[key, *r.box, r.score, r.presence, r.status] for key, r in found.items()]
            return {"found": rows, "seconds": seconds}, frame
        shown = session.frames.at(message.number)
        return ({"end": True} if shown is None else {}), shown


async def _body(request: Request) -> AsyncIterator[bytes]:
    """The chunks of a request's body; raises `ClientDisconnect` where no more come."""
    chunks = request.stream()
    try:
        while (chunk := await asyncio.wait_for(anext(chunks, None), _PATIENCE)) is not None:
            yield chunk
    except TimeoutError:
        raise ClientDisconnect from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"not a message of this page: {'.'.join(map(str, first['loc']))}: {first['msg']}"


def _packed(about: dict[str, Any], frame: np.ndarray | None = None) -> bytes:
    text, jpeg = json.dumps(about).encode(), io.BytesIO()
    if frame is not None:
        picture = Image.fromarray(frame)
        if picture.width > _WIDEST:
            size = _WIDEST, round(picture.height * _WIDEST / picture.width)
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        picture.save(jpeg, "JPEG", quality=88)
    return len(text).to_bytes(4, "little") + text + jpeg.getvalue()
