"""The code of the documentation's pages: Python snippets, and commands as a shell would get them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")], key=lambda path: path.name.lower()
)

_SHELL = ("sh", "bash")


class Block(NamedTuple):
    """A block of code: its language ("" where none is named) and its lines without their common indentation."""

    language: str
    lines: list[str]


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page in their order: fenced ones, at any depth, and those that four blanks indent."""
    found: list[Block] = []
    fence: str | None = None
    before_blank = True
    for line in page.read_text().splitlines():
        opened = re.match(r"^(\s*)```+\s*(\w*)", line)
        if fence is not None:
            if opened and not opened[2] and opened[1] == fence:
                fence = None
            else:
                found[-1].lines.append(line.removeprefix(fence))
        elif opened:
            fence = opened[1]
            found.append(Block(opened[2], []))
        elif line.startswith("    ") and (before_blank or (found and found[-1].language == "indented")):
            if before_blank or not found or found[-1].language != "indented":
                found.append(Block("indented", []))
            found[-1].lines.append(line[4:])
        elif line.strip():
            found.append(Block("text", []))
        before_blank = not line.strip()
    return [block for block in found if block.lines]


def python_snippets(page: Path) -> list[str]:
    """The Python blocks of a page, without those that show a file of `examples/`, which have tests of their own."""
    found = ["\n".join(block.lines) for block in blocks(page) if block.language == "python"]
    return [text for text in found if not text.startswith("--8<--")]


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `siamtrack` command that a page's blocks show, without those that leave something out."""
    found = []
    for block in blocks(page):
        if block.language not in (*_SHELL, "indented"):
            continue
        for line in "\n".join(block.lines).replace("\\\n", " ").splitlines():
            for part in re.split(r"\s&&\s", line):
                try:
                    words = shlex.split(part, comments=True)
                except ValueError:  # no command: another program's input or output
                    continue
                left_out = any(word == "..." or word.startswith("[") for word in words)
                if "siamtrack" in words and words[0] in ("siamtrack", "torchrun", "timeout") and not left_out:
                    found.append(words[words.index("siamtrack") + 1 :])
    return found
