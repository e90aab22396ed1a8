"""Requests of labelling tools, answered as commands: what a service refuses is one line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from siamtrack.errors import SiamtrackError
from siamtrack.integrations import cvat, labelstudio
from siamtrack.io import read_bytes
from siamtrack.zoo import load_multi, open_engine

__all__ = ["answer_request", "is_request"]


def answer_cvat(words: list[str], port: int) -> None:
    """CVAT through Nuclio: `answer-cvat REQUEST.json MODEL`."""
    context = SimpleNamespace(user_data=SimpleNamespace(engine=open_engine(words[1])), Response=SimpleNamespace)
    found = cvat.handler(context, SimpleNamespace(body=read_bytes(Path(words[0]))))
    _end(found.status_code, found.body)


def answer_labelstudio(words: list[str], port: int) -> None:
    """Label Studio: `answer-labelstudio REQUEST.json MODEL`."""
    from starlette.testclient import TestClient

    client = TestClient(labelstudio.backend(load_multi(words[1]), Path()))
    found = client.post("/predict", content=read_bytes(Path(words[0])).replace(b"PORT", b"%d" % port))
    _end(found.status_code, found.text)


def _end(status: int, said: str) -> None:
    if status == 400:
        with suppress(OSError):  # as `siamtrack` does, whose errors may go nowhere
            print(f"siamtrack: {said}", file=sys.stderr, flush=True)
        sys.exit(2)
    assert status == 200, f"status {status}: {said[:200]}"
    with suppress(OSError):  # nobody reads what this test prints; a service prints nothing
        print(said[:200], flush=True)


def answer_request(words: list[str], port: int) -> None:
    """Answer by the first word; a model or request that cannot be read is told as `siamtrack` tells it."""
    try:
        _SERVICES[words[0]](words[1:], port)
    except SiamtrackError as error:
        _end(400, str(error))


_SERVICES: dict[str, Callable[[list[str], int], None]] = {
    "answer-cvat": answer_cvat,
    "answer-labelstudio": answer_labelstudio,
}


def is_request(argv: list[str]) -> bool:
    """Whether that is none of siamtrack's commands, but for `answer_request`."""
    return argv[0] in _SERVICES
