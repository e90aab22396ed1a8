"""Models from the Hugging Face Hub: `hf:owner/name`, by huggingface-hub, which keeps what it has fetched."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from siamtrack.errors import ConfigError, WeightsError, missing_package, reason
from siamtrack.io import first_names

HUB = "hf:"
_PART = r"[A-Za-z0-9][\w.-]*"
_NAME = re.compile(rf"hf:(?P<repo>{_PART}/{_PART})(@(?P<revision>[\w./-]+))?(:(?P<file>[\w./ -]+))?")
_KINDS = (".safetensors", ".onnx")


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
    try:
        hub: Any = import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise missing_package("a model of the Hugging Face Hub", "huggingface-hub", "hub") from error
    repo, revision, file = found["repo"], found["revision"], found["file"]
    try:
        if file is None:
            files = [path for path in hub.list_repo_files(repo, revision=revision) if path.endswith(_KINDS)]
            file = _only(name, files)
        return Path(hub.hf_hub_download(repo, file, revision=revision))
    except WeightsError:
        raise
    except Exception as error:  # the library and what it calls have errors of many kinds
        raise WeightsError(f"cannot fetch '{name}': {reason(error).splitlines()[0][:300]}") from None


def _only(name: str, files: list[str]) -> str:
    for kind in _KINDS if find_spec("torch") else reversed(_KINDS):
        some = [file for file in files if file.endswith(kind)]
        if len(some) == 1:
            return some[0]
        if some:
            raise WeightsError(f"'{name}' has several models ({first_names(some)}); say which: {name}:{some[0]}")
    raise WeightsError(f"'{name}' has no .safetensors and no .onnx file, so it holds no model of siamtrack")
