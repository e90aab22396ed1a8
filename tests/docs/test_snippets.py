"""What the documentation shows can be done: commands are parsed by the command line itself, snippets are run."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from doc_pages import PAGES, ROOT, blocks, commands, python_snippets
from siamtrack.apps.cli.main import app
from siamtrack.apps.cli.options import parse_settings
from siamtrack.config import load_preset
from siamtrack.evaluation.suites import find_suite
from siamtrack.presets import preset_names

SHOWN = [(page.name, words) for page in PAGES for words in commands(page)]

PRELUDE = """
import shutil
from pathlib import Path

import numpy as np

from siamtrack.presets import packaged_export

shutil.copy("siamtrack-demo/clip.mp4", "clip.mp4")
shutil.copy(packaged_export("siamcar_pico"), "tracker.onnx")
truth_boxes = np.loadtxt("siamtrack-demo/clip.txt", delimiter=",")
my_boxes = truth_boxes + 1
"""
"""What the pages speak of and their Python does not make: the reader's own video and boxes, an exported model."""


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command's name and its arguments, as typer reads them; raises what it would complain about."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("siamtrack", list(words))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return context.info_name, context.params


def test_there_are_commands_and_snippets_to_check() -> None:
    assert len(SHOWN) > 30 and sum(len(python_snippets(page)) for page in PAGES) > 5


@pytest.mark.parametrize(("page", "words"), SHOWN, ids=[" ".join(words)[:60] for _, words in SHOWN])
def test_a_shown_command_is_one_that_siamtrack_knows(page: str, words: list[str]) -> None:
    name, options = parsed(words)
    if options.get("suite"):
        find_suite(options["suite"])
    if name == "train" and options["preset"] in preset_names():
        load_preset(options["preset"], parse_settings(options["settings"] or []))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which README's set-up was done: the demo was run."""
    folder = tmp_path_factory.mktemp("reader")
    run(folder, "-m", "siamtrack", "demo", "--end", "20")
    run(folder, "-m", "siamtrack", "data", "pack", "siamtrack-demo", "-o", "shards")
    return folder


def run(folder: Path, *arguments: str) -> str:
    """What a Python process prints that ran to its end."""
    out = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, f"{arguments}\n{out.stdout}\n{out.stderr}"
    return out.stdout


@pytest.mark.parametrize("page", [p for p in PAGES if python_snippets(p)], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, workspace: Path) -> None:
    script = "\n\n".join([PRELUDE, *python_snippets(page)])
    printed = run(workspace, "-c", script).splitlines()
    promised = [line.split("  # ")[1] for line in script.splitlines() if re.match(r"print\(.*\)  # \(", line)]
    assert [line for line in promised if line not in printed] == []  # `print(shape)  # (32, 3)` is what it prints


def test_installs_name_extras_that_exist_and_what_is_there() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    lines = [(page.name, line) for page in PAGES for line in page.read_text().splitlines() if "pip install" in line]
    named = [(page, name) for page, line in lines for found in re.findall(r"\.\[([\w,]+)\]", line)
             for name in found.split(",")]  # fmt: skip
    assert len(named) > 8 and [(page, name) for page, name in named if name not in extras] == []
    # from a clone: a package index need not have it
    assert [(page, line) for page, line in lines if re.search(r"install [^`]*\bsiamtrack\b", line)] == []


def test_no_command_is_left_to_be_filled_in() -> None:
    shown = [(page.name, line) for page in PAGES for block in blocks(page) for line in block.lines
             if block.language in ("sh", "bash", "indented")]  # fmt: skip
    assert [(page, line) for page, line in shown if re.search(r"<(this|your|the)\b[^>]*>|git clone <", line)] == []
