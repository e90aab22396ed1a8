"""The page's server against requests that try to get what they should not."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from footage import moving_patches, write_mp4

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from siamtrack.apps.page.guard import is_loopback
from siamtrack.apps.page.places import Places, Uploads
from siamtrack.apps.page.server import Settings, make_app
from siamtrack.errors import InputError
from siamtrack.video.boxes import FORMATS, BoxRow, Clip, pack_boxes

LIMIT = 1 << 20
HOME = "http://127.0.0.1:8447"


class NoEngine:
    """An engine for tests in which nothing is followed."""

    def start(self, frame: np.ndarray, boxes: np.ndarray) -> Any:
        raise InputError("nothing is followed here")

    step = start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the server offers, beside what it does not."""
    offered = tmp_path / "offered"
    (offered / "images").mkdir(parents=True)
    write_mp4(offered / "clip.mp4", moving_patches(5)[0])
    cv2.imwrite(str(offered / "images" / "0.png"), np.zeros((20, 30, 3), np.uint8))
    (offered / "notes.txt").write_text("nothing to see")
    (tmp_path / "secret").mkdir()
    write_mp4(tmp_path / "secret" / "clip.mp4", moving_patches(5)[0])
    (offered / "link.mp4").symlink_to(tmp_path / "secret" / "clip.mp4")
    (offered / "linked").symlink_to(tmp_path / "secret")
    (offered / "circle.mp4").symlink_to(offered / "circle.mp4")
    return offered


def client(folder: Path | None, uploads: Path, token: str | None = None) -> TestClient:
    uploads.mkdir(exist_ok=True)
    places = Places(None, folder, Uploads(uploads, LIMIT))
    return TestClient(make_app(NoEngine(), Settings("none", places, token=token)), base_url=HOME)


@pytest.fixture
def page(folder: Path, tmp_path: Path) -> TestClient:
    return client(folder, tmp_path / "uploads")


def ask(page: TestClient, *messages: dict[str, Any] | str) -> list[tuple[dict[str, Any], bytes]]:
    """The answers to messages over one socket, each with its picture."""
    found = []
    with page.websocket_connect("/follow", headers={"origin": HOME, "host": "127.0.0.1:8447"}) as socket:
        for message in messages:
            socket.send_text(message if isinstance(message, str) else json.dumps(message))
            data = socket.receive_bytes()
            length = int.from_bytes(data[:4], "little")
            found.append((json.loads(data[4 : 4 + length]), data[4 + length :]))
    return found


def test_names_that_a_page_cannot_show_are_left_out(folder: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd.mkdir()
    for name in (b"caf\xe9.mp4", b"plain.mp4"):
        shutil.copy(folder / "clip.mp4", os.fsencode(odd) + b"/" + name)
    assert client(odd, tmp_path / "uploads").get("/page.json").json()["files"] == ["plain.mp4"]


def test_a_page_opens_what_is_offered_and_gets_its_frames(page: TestClient) -> None:
    assert page.get("/page.json").json()["files"] == ["clip.mp4", "images"]
    opened, shown, end = ask(
        page,
        {"id": 1, "do": "open", "kind": "file", "name": "clip.mp4"},
        {"id": 2, "do": "show", "number": 4},
        {"id": 3, "do": "show", "number": 5},
    )
    assert opened[0] == {
        "id": 1, "name": "clip.mp4", "fps": 25, "count": 5, "live": False, "width": 160, "height": 120,
        "images": [],
    }  # fmt: skip
    picture = cv2.imdecode(np.frombuffer(shown[1], np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(picture[..., ::-1].astype(int) - moving_patches(5)[0][4]).mean() < 6
    assert end == ({"id": 3, "end": True}, b"")


@pytest.mark.parametrize(
    "name",
    [
        "../secret/clip.mp4", "images/../../secret/clip.mp4", "link.mp4", "linked", "linked/clip.mp4", "..", "", ".",
        "/etc/passwd", "notes.txt", "file:clip.mp4", "nothing.mp4", "a\0b.mp4", "x" * 1999, "..\\secret\\clip.mp4",
        "concat:clip.mp4|clip.mp4", "%2e%2e/secret/clip.mp4", "clip.mp4/../../secret",
        "circle.mp4",
    ],
)  # fmt: skip
def test_a_path_never_leaves_its_folder(page: TestClient, folder: Path, name: str) -> None:
    outside = str(folder.parent / "secret" / "clip.mp4")
    for wanted in (name, outside):
        [(answer, picture)] = ask(page, {"id": 1, "do": "open", "kind": "file", "name": wanted})
        assert "has no video or images" in answer["error"] and picture == b""
    assert "\n" not in answer["error"]


@pytest.mark.parametrize(
    "name",
    ["file:///etc/passwd", "http://127.0.0.1/", "concat:a|b", "/dev/video0", "rtsp", "", "ftp://x", "RTSPfile:/x"],
)
def test_a_page_names_no_stream_but_rtsp(page: TestClient, name: str) -> None:
    [(answer, _)] = ask(page, {"id": 1, "do": "open", "kind": "stream", "name": name})
    assert "rtsp://" in answer["error"]


@pytest.mark.parametrize("name", ["-1", "100", "0x1", "/dev/video0", "", "²", "1e1"])
def test_a_camera_is_a_small_number(page: TestClient, name: str) -> None:
    [(answer, _)] = ask(page, {"id": 1, "do": "open", "kind": "camera", "name": name})
    assert "camera's number" in answer["error"]


def test_a_server_without_a_folder_opens_none(tmp_path: Path) -> None:
    page = client(None, tmp_path / "uploads")
    for kind in ("given", "file", "upload"):
        [(answer, _)] = ask(page, {"id": 1, "do": "open", "kind": kind, "name": str(tmp_path)})
        assert "error" in answer


@pytest.mark.parametrize("path", ["/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "//etc/passwd", "/.git"])
def test_only_the_files_of_the_page_are_served(page: TestClient, path: str) -> None:
    assert page.get(path).status_code == 404


@pytest.mark.parametrize(
    "host", ["127.0.0.1:x", "evil.example", "evil.example:8447", "127.0.0.1.evil.example", "", "[::1", "localhost.evil"]
)
def test_a_foreign_name_is_refused(page: TestClient, host: str) -> None:
    """A page of another site can make its own name point to this machine: DNS rebinding."""
    assert page.get("/page.json", headers={"host": host}).status_code == 421
    with pytest.raises(WebSocketDisconnect), page.websocket_connect("/follow", headers={"host": host, "origin": HOME}):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1:8447", "localhost:8447", "[::1]:8447", "LOCALHOST"])
def test_its_own_names_are_taken(page: TestClient, host: str) -> None:
    assert page.get("/page.json", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null", "", "file://", None])
def test_pages_of_other_sites_can_neither_connect_nor_upload(page: TestClient, origin: str | None) -> None:
    headers = {"host": "127.0.0.1:8447"} | ({} if origin is None else {"origin": origin})
    with pytest.raises(WebSocketDisconnect), page.websocket_connect("/follow", headers=headers):
        pass
    assert page.post("/uploads", content=b"\xff\xd8\xff", headers=headers).status_code == 403


def test_with_a_token_nothing_is_had_without_it(folder: Path, tmp_path: Path) -> None:
    page = client(folder, tmp_path / "uploads", token="s3cret")
    for path in ("/", "/page.json", "/main.js", "/?token=", "/?token=wrong", "/?token=s3cre", "/?token=s3cret%00"):
        assert page.get(path).status_code == 401
    for cookie in ("siamtrack-8447=wrong", "siamtrack=s3cret", "siamtrack-8448=s3cret"):
        assert page.get("/", headers={"cookie": cookie}).status_code == 401
    assert page.post("/uploads", content=b"x", headers={"origin": HOME}).status_code == 401
    with pytest.raises(WebSocketDisconnect):
        ask(page, {"id": 1, "do": "show", "number": 0})
    reply = page.get("/?token=s3cret", follow_redirects=False)
    assert reply.status_code == 303 and reply.headers["location"] == "/"
    assert "HttpOnly" in reply.headers["set-cookie"] and "SameSite=strict" in reply.headers["set-cookie"]
    assert page.get("/page.json").status_code == 200  # the cookie is kept
    headers = {"origin": HOME, "host": "127.0.0.1:8447"}
    with page.websocket_connect(
        "/follow", headers=headers | {"cookie": "siamtrack-8447=s3cret; siamtrack-8448=other"}
    ) as socket:
        socket.send_text('{"id": 1, "do": "show", "number": 0}')
        assert b"open a source first" in socket.receive_bytes()


def post(page: TestClient, content: Any, query: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
    reply = page.post(f"/uploads{query}", content=content, headers={"origin": HOME, **headers})
    return reply.status_code, reply.json()


def left(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]


def test_uploads_are_bounded(page: TestClient, folder: Path, tmp_path: Path) -> None:
    def chunks() -> Any:  # of a length that is not told before
        yield (folder / "clip.mp4").read_bytes()
        for _ in range(20):
            yield bytes(1 << 17)

    assert post(page, chunks())[0] == 413
    assert post(page, b"\xff\xd8\xff" + bytes(LIMIT))[0] == 413
    assert post(page, b"\xff\xd8\xff", **{"content-length": "99999999999"})[0] == 413
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"#EXTM3U\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"<svg/>", b"PK\3\4",
        b"GIF89a", b"RIFF\0\0\0\0WAVE", b"\x7fELF", b"#!/bin/sh\n",
    ],
)  # fmt: skip
def test_uploads_are_videos_or_images_by_their_first_bytes(page: TestClient, tmp_path: Path, content: bytes) -> None:
    assert post(page, content)[0] == 415
    assert left(tmp_path) == []


def test_an_upload_is_opened_by_its_id_alone(page: TestClient, folder: Path, tmp_path: Path) -> None:
    status, reply = post(page, (folder / "clip.mp4").read_bytes(), "?name=../../x.mp4")
    assert status == 200
    assert [path.relative_to(tmp_path / "uploads").parts for path in left(tmp_path)] == [(reply["id"], "000000.mp4")]
    [(opened, _)] = ask(page, {"id": 1, "do": "open", "kind": "upload", "name": reply["id"]})
    assert opened["count"] == 5
    for name in ("", "..", ".", f"../uploads/{reply['id']}", f"{reply['id']}/000000.mp4", str(folder)):
        [(answer, _)] = ask(page, {"id": 1, "do": "open", "kind": "upload", "name": name})
        assert "error" in answer
    image = cv2.imencode(".png", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    assert post(page, image, f"?into={reply['id']}/../x")[0] == 400
    assert post(page, (folder / "clip.mp4").read_bytes(), f"?into={reply['id']}")[0] == 415


def test_errors_do_not_tell_where_uploads_and_files_lie(page: TestClient, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    broken = post(page, (folder / "broken.mp4").read_bytes())[1]["id"]
    for kind, name in (("upload", broken), ("file", "broken.mp4")):
        [(answer, _)] = ask(page, {"id": 1, "do": "open", "kind": kind, "name": name})
        assert ".mp4" in answer["error"] and str(tmp_path) not in answer["error"]


def test_old_uploads_make_place_for_new_ones(page: TestClient, tmp_path: Path) -> None:
    image = b"\xff\xd8\xff" + bytes(LIMIT // 3)
    ids = [post(page, image)[1]["id"] for _ in range(3)]
    assert len(left(tmp_path)) == 2
    assert "again" in ask(page, {"id": 1, "do": "open", "kind": "upload", "name": ids[0]})[0][0]["error"]


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"\xff\xd8\xff" + bytes(600)
        raise ClientDisconnect

    store = Uploads(tmp_path, LIMIT)
    with pytest.raises(ClientDisconnect):
        asyncio.run(store.take(broken()))
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "message",
    [
        "", "[]", "null", "{", "[" * 30_000, '{"id": 1}', '{"id": 1, "do": "eval"}',
        '{"id": 1, "do": "show", "number": -1}',
        '{"id": 1, "do": "show", "number": 1e99}', '{"id": 1, "do": "show", "number": NaN}',
        '{"id": "x", "do": "show"}',
        '{"id": 1, "do": "step", "number": 0, "given": [{"key": 1, "box": [1, 2, 3]}], "kept": []}',
        '{"id": 1, "do": "step", "number": 0, "given": [{"key": 1, "box": [1, 2, 3, Infinity]}], "kept": []}',
        json.dumps({"id": 1, "do": "step", "number": 0, "given": [], "kept": list(range(65))}),
        '{"id": 1, "do": "open", "kind": "shell", "name": "ls"}', '{"id": 1, "do": "show", "number": 0, "more": 1}',
    ],
)  # fmt: skip
def test_messages_that_are_none_are_answered_and_the_page_goes_on(page: TestClient, message: str) -> None:
    wrong, right = ask(page, message, {"id": 2, "do": "show", "number": 0})
    assert "not a message of this page" in wrong[0]["error"] and "\n" not in wrong[0]["error"]
    assert right[0] == {"id": 2, "error": "open a source first"}


@pytest.fixture
def stalled(tmp_path: Path) -> Iterator[str]:
    """The address of a stream that stands still after its first frames, and whenever it is opened again."""
    path = tmp_path / "live.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(50):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8))
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    ended, sent = threading.Event(), []

    class Stream(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            if not sent:
                sent.append(path)
                self.wfile.write(path.read_bytes())
            ended.wait(60)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/live.ts"
        ended.set()
        server.shutdown()


def test_a_page_that_leaves_does_not_wait_for_a_stream_that_stands_still(stalled: str, tmp_path: Path) -> None:
    app = make_app(NoEngine(), Settings("none", Places(stalled, None, Uploads(tmp_path, LIMIT))))
    texts = ['{"id": 1, "do": "open", "kind": "given"}', '{"id": 2, "do": "show", "number": 1000}']
    coming = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": text} for text in texts)]
    sent: list[Any] = []

    async def receive() -> Any:
        if coming:
            return coming.pop(0)
        while len(sent) < 2:  # until the page has the answer to its first message
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        return {"type": "websocket.disconnect", "code": 1001}

    async def send(message: Any) -> None:
        sent.append(message)

    async def followed() -> None:
        headers = [(b"host", b"127.0.0.1:8447"), (b"origin", HOME.encode())]
        scope = {"type": "websocket", "path": "/follow", "headers": headers, "query_string": b"", "root_path": ""}
        await asyncio.wait_for(app(scope, receive, send), 10)  # the stream is tried for a minute

    asyncio.run(followed())
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send"]
    assert b'"live": true' in sent[1]["bytes"]


def test_pages_beyond_a_number_are_turned_away(page: TestClient) -> None:
    headers = {"origin": HOME, "host": "127.0.0.1:8447"}
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(page.websocket_connect("/follow", headers=headers))
        fifth = stack.enter_context(page.websocket_connect("/follow", headers=headers))
        with pytest.raises(WebSocketDisconnect) as told:
            fifth.receive_bytes()
        assert told.value.reason == "too many pages are open"
    assert ask(page, {"id": 1, "do": "show", "number": 0})


def test_what_cannot_be_done_leaves_the_source_open(page: TestClient) -> None:
    *_, nothing, no_target, shown = ask(
        page,
        {"id": 1, "do": "open", "kind": "file", "name": "clip.mp4"},
        {"id": 2, "do": "open", "kind": "file", "name": "nothing.mp4"},
        {"id": 3, "do": "step", "number": 0, "given": [], "kept": []},
        {"id": 4, "do": "show", "number": 3},
    )
    assert "has no video" in nothing[0]["error"]
    assert no_target[0] == {"id": 3, "error": "expected a target to follow, in `given` or `kept`; got none"}
    assert shown[0] == {"id": 4} and shown[1]


def test_what_is_this_machine_alone() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.7", "example.org", "", "localhost.evil")))


def test_a_choice_is_found_without_a_server(folder: Path, tmp_path: Path) -> None:
    places = Places("rtsp://camera/1", folder, Uploads(tmp_path, LIMIT))
    assert places.find("given") == "rtsp://camera/1"
    assert places.find("camera", "7") == 7
    assert places.find("file", "images") == folder / "images"


RUN = {
    "name": "clip.mp4", "size": [160, 120], "fps": 25.0, "count": 3, "images": [],
    "rows": [
        [0, 1, [1, 2, 3, 4], 1, 1, "tracking"],
        [1, 1, [0.03125, 2.00005, 3, 4], 0.5, 0.75, "uncertain"],
        [2, 1, [1, 2, 3, 4], 0.1, 0.2, "lost"],
        [2, 2, [5, 6, 7, 8], 1, 1, "tracking"],
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", list(FORMATS))
def test_boxes_come_back_as_the_files_that_track_writes(page: TestClient, kind: str) -> None:
    reply = page.post(f"/boxes/{kind}", json=RUN, headers={"origin": HOME})
    rows = [BoxRow(*row) for row in RUN["rows"]]
    name, data = pack_boxes(rows, Clip("clip.mp4", (160, 120), 25.0, 3), kind)
    assert (reply.status_code, reply.content) == (200, data)
    assert reply.headers["content-disposition"] == f'attachment; filename="{name}"'
    labels = ["fish", "crab"]
    reply = page.post(f"/boxes/{kind}", json=RUN | {"labels": labels}, headers={"origin": HOME})
    assert reply.content == pack_boxes(rows, Clip("clip.mp4", (160, 120), 25.0, 3, labels=labels), kind)[1]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("exe", {}), ("csv", {"rows": [[0, 1, [1, 2, 3], 1, 1, "tracking"]]}), ("csv", {"fps": 0}),
        ("csv", {"rows": [[0, 1, [1, 2, 3, 4], 1, 1, "<script>"]]}), ("csv", {"rows": 1}), ("csv", {"more": 1}),
        ("csv", {"rows": [[0, 0, [1, 2, 3, 4], 1, 1, "lost"]]}), ("csv", {"images": [1]}),
        ("csv", {"labels": []}), ("csv", {"labels": [1]}), ("csv", {"labels": ["x" * 300]}),
    ],
)  # fmt: skip
def test_boxes_that_are_none_are_refused_in_one_line(page: TestClient, kind: str, change: dict[str, Any]) -> None:
    reply = page.post(f"/boxes/{kind}", json=RUN | change, headers={"origin": HOME})
    assert reply.status_code == 400 and "\n" not in reply.json()["error"]
    assert page.post("/boxes/csv", content=b"[" * 100_000, headers={"origin": HOME}).status_code == 400
