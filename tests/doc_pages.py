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


class Line(NamedTuple):
    """A line of a shell block: its text, and the arguments of `siamtrack` where it calls that."""

    text: str
    siamtrack: list[str]


def shell_lines(page: Path) -> list[Line]:
    """Every command that a page's blocks show, one of several that `&&` joins at a time, without comments."""
    found = []
    for block in blocks(page):
        if block.language not in (*_SHELL, "indented"):
            continue
        joined = "\n".join(block.lines).replace("\\\n", " ").replace("|\n", "| ")
        for line in joined.splitlines():
            for part in re.split(r"\s&&\s", re.sub(r"(^|\s+)#.*", "", line)):
                words = shlex.split(part)
                while words and re.match(r"[A-Z]+=", words[0]):
                    words.pop(0)
                if part.strip():
                    found.append(Line(part.strip(), words[1:] if words[0] == "siamtrack" else []))
    return found


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `siamtrack` command of a page's blocks, also of those that other programs start."""
    found = []
    for line in shell_lines(page):
        words = line.siamtrack
        if line.text.startswith(("torchrun ", "timeout ")):
            words = shlex.split(line.text)
            words = words[words.index("siamtrack") + 1 :]
        if words:
            found.append(words)
    return found
