"""The page's server, as a program of its own, against bytes that no browser sends."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from footage import moving_patches, write_mp4

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs limits of processes and /proc")

SECRET = "a line that no page may have"
_DESCRIPTORS = 200


@dataclass
class Server:
    """A running server, and where what it says is kept."""

    program: subprocess.Popen[str]
    port: int
    said: Path

    def send(self, data: bytes, seconds: float = 2.0) -> bytes:
        """Send bytes, and return what comes until the server closes or is silent."""
        found = b""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), seconds) as peer:
            with contextlib.suppress(OSError):
                peer.sendall(data)
            peer.settimeout(0.5)
            while len(found) < 1 << 20 and (chunk := peer.recv(1 << 16)):
                found += chunk
        return found

    def send_all(self, requests: Iterable[bytes]) -> None:
        """Send each over a connection of its own, some at a time: of most nothing but silence comes back."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.send, requests))

    def begin(self, place: str, part: bytes) -> socket.socket:
        """Post the beginning of a body of 1,000 bytes, and leave the rest open."""
        peer = socket.create_connection(("127.0.0.1", self.port), 10)
        ours = f"127.0.0.1:{self.port}"
        head = f"POST {place} HTTP/1.1\r\nHost: {ours}\r\nOrigin: http://{ours}\r\nContent-Length: 1000\r\n\r\n"
        peer.sendall(head.encode() + part)
        return peer

    def check(self) -> None:
        """It still answers, holds little memory, and has shown no traceback."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/page.json", timeout=20) as reply:
            assert json.load(reply)["files"] == ["clip.mp4"]
        pages = int(Path(f"/proc/{self.program.pid}/statm").read_text().split()[1])
        assert pages * os.sysconf("SC_PAGESIZE") < 512 << 20
        assert "Traceback" not in self.said.read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("page")
    (home / "offered").mkdir()
    write_mp4(home / "offered" / "clip.mp4", moving_patches(5)[0])
    (home / "secret.txt").write_text(SECRET)
    command = [sys.executable, "-m", "siamtrack", "app", "--no-browser", "--model", "siamcar_pico", "--upload-limit",
               "1", "--files", str(home / "offered")]  # fmt: skip

    def few_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))

    said = home / "said"
    with said.open("w") as errors, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=errors, text=True, preexec_fn=few_descriptors
    ) as program:  # fmt: skip
        assert program.stdout is not None
        told = re.search(r":(\d+)/", program.stdout.readline())
        assert told is not None
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(told[1])), 5):
                break
            time.sleep(0.1)
        found = Server(program, int(told[1]), said)
        yield found
        with contextlib.closing(found.begin("/uploads", b"\xff\xd8\xff")), contextlib.closing(
            found.begin("/boxes/csv", b"{")
        ):  # fmt: skip
            program.send_signal(signal.SIGINT)  # while somebody still sends
            assert program.wait(30) == 0
        assert "Traceback" not in said.read_text()


def test_paths_that_lead_out_of_the_page_are_not_followed(server: Server) -> None:
    steps = ["/../", "/%2e%2e/", "/..%2f", "/%2e%2e%2f", "/..\\", "/%5c..%5c", "/./../", "//", "/%00/../", "/....//"]
    for step in steps:
        for name in ("secret.txt", "etc/passwd", "offered/clip.mp4"):
            for target in (step * 6 + name, f"http://127.0.0.1{step * 6}{name}", f"{step}{name}"):
                request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
                answer = server.send(request.encode())
                assert SECRET.encode() not in answer and b"root:" not in answer and b"ftyp" not in answer
    server.check()


def test_requests_that_are_none_end_nothing(server: Server) -> None:
    head = b"Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
    requests = [
        b"", b"\0", b"\r\n" * 1000, b"GET", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\0" + b"\xff" * 500,
        b"GET / HTTP/1.1\r\n" + head + b"X: " + b"a" * (1 << 20) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 50_000 + b"\r\n",
        b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n" + head + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: " + b"siamtrack=\"\\777" * 100 + b"\r\n\r\n",
        b"GET /?token=%ff%00&token HTTP/1.1\r\n" + head + b"\r\n",
        b"GET /page.json HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://[\r\n\r\n",
        b"POST /uploads HTTP/1.1\r\n" + head + b"Content-Length: -1\r\n\r\n",
        b"POST /uploads HTTP/1.1\r\n" + head + b"Content-Length: 99999999999999999999\r\n\r\nabc",
        b"POST /uploads HTTP/1.1\r\n" + head + "Content-Length: ٣\r\n\r\nabc".encode(),
        b"POST /uploads?into=../../x HTTP/1.1\r\n" + head + b"Content-Length: 3\r\n\r\nabc",
        b"POST /uploads HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"POST /uploads HTTP/1.1\r\n" + head + b"Content-Type: multipart/form-data; boundary=\r\n"
        b"Content-Length: 40\r\n\r\n------\r\nContent-Disposition: \0\r\n\r\n",
        b"POST /boxes/csv HTTP/1.1\r\n" + head + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000,
        b"POST /boxes/..%2f HTTP/1.1\r\n" + head + b"Content-Length: 2\r\n\r\n{}",
        b"POST /boxes/json HTTP/1.1\r\n" + head + b"Content-Length: 4\r\n\r\n\xff\xfe{}",
        b"TRACE / HTTP/1.1\r\n" + head + b"\r\n", b"OPTIONS * HTTP/1.1\r\n" + head + b"\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + head + b"\r\n",
    ]  # fmt: skip
    server.send_all(requests)
    draw, changed = random.Random(0), []
    for _ in range(40):
        whole = bytearray(draw.choice(requests[6:]))
        for _ in range(draw.choice([1, 5, 50])):
            whole[draw.randrange(min(len(whole), 300))] = draw.randrange(256)
        changed.append(bytes(whole))
    server.send_all(changed)
    server.check()


def test_bodies_without_end_are_not_held(server: Server) -> None:
    chunk = b"10000\r\n" + b"\xff\xd8\xff" + b"0" * (65536 - 3) + b"\r\n"
    for place, size in (("/uploads", 100 << 20), ("/boxes/csv", 200 << 20)):
        head = f"POST {place} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin: http://127.0.0.1:{server.port}\r\n"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 10) as peer:
            peer.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            for _ in range(size >> 16):
                peer.sendall(chunk)
            peer.settimeout(5)
            assert b" 413 " in peer.recv(100)
        server.check()


def test_bodies_that_are_left_unfinished_keep_no_place(server: Server) -> None:
    for place, part in (("/uploads", b"\xff\xd8\xff"), ("/boxes/csv", b"{")):
        held = [server.begin(place, part) for _ in range(3)]
        held[2].settimeout(20)
        assert b" 429 " in held[2].recv(100)
        for peer in held:
            peer.close()
        server.check()
        for _ in range(50):
            with contextlib.closing(server.begin(place, b"x" * 1000)) as peer:
                peer.settimeout(20)
                if b" 429 " not in peer.recv(100):
                    break
            time.sleep(0.1)
        else:
            pytest.fail(f"{place} is still taken")


def test_sockets_with_garbage_are_closed(server: Server) -> None:
    draw, requests = random.Random(1), []
    for number in range(25):
        key = base64.b64encode(draw.randbytes(16)).decode()
        head = (
            f"GET /follow HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin: http://127.0.0.1:{server.port}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
        frames = [draw.randbytes(200), b"\x81\xff" + b"\x7f" + b"\xff" * 7 + b"\0" * 4, b"\x81\x80\0\0\0\0",
                  b"\x82\x83\0\0\0\0abc", b"\x81\x83\0\0\0\0\xff\xfe\xfd", b"\x88\x80\0\0\0\0",
                  b"\xc1\x80\0\0\0\0"]  # fmt: skip
        requests.append(head + frames[number % len(frames)] * draw.choice([1, 3]))
    server.send_all(requests)
    server.check()


def test_more_connections_than_it_has_descriptors(server: Server) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(3 * _DESCRIPTORS):
            with contextlib.suppress(OSError):
                peer = held.enter_context(socket.create_connection(("127.0.0.1", server.port), 0.05))
                peer.sendall(b"GET / HTTP/1.1\r\n")
    time.sleep(2)  # asyncio listens again after a second
    server.check()
