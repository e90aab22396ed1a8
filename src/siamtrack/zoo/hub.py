"""Models from the Hugging Face Hub: `hf:owner/name`, by huggingface-hub, which keeps what it has fetched."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from siamtrack.errors import ConfigError, WeightsError, is_installed, reason, require
from siamtrack.io import first_names, parse_json

HUB = "hf:"
_PART = r"[A-Za-z0-9][\w.-]*"
_NAME = re.compile(rf"hf:(?P<repo>{_PART}/{_PART})(@(?P<revision>[\w./-]+))?(:(?P<file>[\w./ -]+))?")
_KINDS = (".safetensors", ".onnx")
_PATIENCE = 12.0  # seconds
_LARGEST_LIST = 8 << 20  # bytes of JSON: some 100,000 files
_LARGEST_MODEL = 2 << 30  # bytes


def fetch_model(name: str) -> Path:
    """Fetch a model's file, or find it among those that were fetched before.

    Args:
        name: `hf:owner/name`, with `@revision` for a branch, tag or commit, and with `:file` where the repository
            has several models. Without a file, its only .safetensors file is taken, or else its only .onnx file;
            where torch is not installed the other way round.

    Raises:
        ConfigError: another form of name, or huggingface-hub is not installed.
        WeightsError: no such repository or file, several of them, or no connection.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ConfigError(f"expected hf:owner/name, with @revision and :file where they are needed; got '{name}'")
    hub = require("huggingface_hub", "a model of the Hugging Face Hub", "huggingface-hub", "hub")
    constants: Any = import_module("huggingface_hub.constants")
    repo, revision, file = found["repo"], found["revision"], found["file"]
    kept = Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}")

    def fetch() -> Path:
        wanted = file
        if wanted is None:
            wanted = _only(name, _list_files(f"{constants.ENDPOINT}/api/models/{repo}", revision))
        return Path(hub.hf_hub_download(repo, wanted, revision=revision))

    try:
        return _while_it_grows(fetch, kept)
    except WeightsError:
        raise
    except Exception as error:  # the library and what it calls have errors of many kinds
        raise WeightsError(f"cannot fetch '{name}': {reason(error).splitlines()[0][:300]}") from None


def _list_files(address: str, revision: str | None) -> list[str]:
    """Return the names of a repository's models. The library would read an answer of any length into memory."""
    headers: dict[str, str] = import_module("huggingface_hub.utils").build_hf_headers()
    request = Request(f"{address}/revision/{quote(revision, safe='')}" if revision else address)
    for key, value in headers.items():
        request.add_unredirected_header(key, value)  # a token is for the Hub alone
    with urlopen(request, timeout=_PATIENCE) as answer:
        told = parse_json(answer.read(_LARGEST_LIST + 1), f"the list of files at {address}", _LARGEST_LIST)
    found = told.get("siblings")
    if not isinstance(found, list):
        raise WeightsError(f"{address} answers without a list of files; expected that of a hub")
    names = [file.get("rfilename") for file in found if isinstance(file, dict)]
    return [name for name in names if isinstance(name, str) and name.endswith(_KINDS)]


def _while_it_grows(fetch: Callable[[], Path], folder: Path) -> Path:
    """Call `fetch`, which writes into a folder, and give up when that has not grown for `_PATIENCE` seconds.

    The library itself tries again, waits for as long as a server says, and takes as much as one sends.
    """
    found: Future[Path] = Future()

    def work() -> None:
        try:
            found.set_result(fetch())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    before, size, since = _size(folder), 0, time.monotonic()
    while not wait([found], timeout=0.5).done:
        now = _size(folder)
        if now > before + _LARGEST_MODEL:
            raise OSError(f"more than {_LARGEST_MODEL >> 30} GB came, which no model has")
        if now > size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > _PATIENCE:
            raise TimeoutError(f"nothing came for {_PATIENCE:.0f} seconds; try again later")
    return found.result()


def _size(folder: Path) -> int:
    """Bytes of all files below a folder, which may come and go."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def _only(name: str, files: list[str]) -> str:
    for kind in _KINDS if is_installed("torch") else reversed(_KINDS):
        some = [file for file in files if file.endswith(kind)]
        if len(some) == 1:
            return some[0]
        if some:
            raise WeightsError(f"'{name}' has several models ({first_names(some)}); say which: {name}:{some[0]}")
    raise WeightsError(f"'{name}' has no .safetensors and no .onnx file, so it holds no model of siamtrack")
