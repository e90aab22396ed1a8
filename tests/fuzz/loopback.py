"""A server on this machine whose answers are a subject's files: what comes from a network is broken as any file is.

A file `answers/NAME.http` holds an answer byte for byte: status, headers and body. `GET /a/b?c` gets `a,b.http`; RTSP's
methods get `describe.rtsp.http` and so on. Before the status may stand a line with one of `WAYS`.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["PORT", "WAYS", "answer", "answering"]

PORT = "PORT"
"""What stands in a command for the server's port."""
WAYS = (b"#slow\n", b"#silent\n", b"#endless\n", b"#reset\n")
"""Byte after byte; nothing more after the answer, but the connection stays; the answer again and again; broken off."""


def answer(body: bytes, kind: str, status: str = "HTTP/1.1 200 OK", **headers: object) -> bytes:
    """An answer as a server gives it; of `headers` underscores are dashes."""
    fields = {"Content-Type": kind, "Content-Length": len(body), **headers}
    lines = [status, *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def answering(folder: Path) -> Iterator[int]:
    """Answer from a folder in a process of its own while the block runs; gives the port, 0 without such a folder."""
    if not folder.is_dir():
        yield 0
        return
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        port: int = listening.getsockname()[1]
        child = os.fork()
        if child == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
                while True:
                    connection, _ = listening.accept()
                    if os.fork() == 0:  # each connection has its own: none waits for another
                        listening.close()
                        signal.alarm(30)
                        with suppress(OSError), connection:
                            _converse(connection, folder)
                        os._exit(0)
                    connection.close()
            finally:
                os._exit(1)
        try:
            yield port
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _converse(connection: socket.socket, folder: Path) -> None:
    """Answer requests until the other side is gone."""
    kept = b""
    while True:
        while b"\r\n\r\n" not in kept:
            part = connection.recv(1 << 16)
            if not part:
                return
            kept += part
        request, _, kept = kept.partition(b"\r\n\r\n")
        method, target = (*request.split(b"\r\n")[0].decode("latin-1").split(" "), "", "")[:2]
        name = f"{method.lower()}.rtsp" if target.startswith("rtsp") else target.partition("?")[0].strip("/")
        try:
            said = (folder / f"{name.replace('/', ',')}.http").read_bytes()
        except OSError:
            said = answer(b"nothing here", "text/plain", "HTTP/1.1 404 Not Found")
        way = next((way for way in WAYS if said.startswith(way)), b"")
        said = said.removeprefix(way)
        if method == "HEAD":
            said = said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        if way == b"#slow\n":
            for byte in said:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        while way == b"#endless\n":
            connection.sendall(said)
        if way == b"#reset\n":
            connection.sendall(said[: len(said) // 2])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        if way != b"#slow\n":
            connection.sendall(said)
        if way == b"#silent\n":
            time.sleep(30)
        if b"content-length" not in said.partition(b"\r\n\r\n")[0].lower() and not name.endswith(".rtsp"):
            return
