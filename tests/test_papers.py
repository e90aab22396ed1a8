"""`docs/papers.md` names what exists, states what the presets state, and agrees with the docstrings."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from siamtrack.evaluation.suites import find_suite

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "siamtrack"
PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")

TOKEN = re.compile(r"`([^`]+)`")
PRESETS = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in PACKAGE.glob("presets/*.toml")}
SOURCES = {"-", "abstract", "code", "issues", "lists", "notes"}
PAPERS = ("SiamFC", "SiamRPN", "DaSiamRPN", "SA-Siam", "SPM-Tracker", "SiamRPN++", "SiamCAR")


class Row(NamedTuple):
    """One row of a paper's table."""

    paper: str
    part: str
    where: str
    run: str
    checked: str


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables() -> Iterator[tuple[str, list[str]]]:
    """Every row under its heading, without the tables' heads."""
    heading = ""
    for line in PAGE.splitlines():
        if line.startswith("## "):
            heading = line[3:].split(" (")[0]
        elif line.startswith("| ") and not line.startswith(("| part |", "| preset |", "| name |")):
            yield heading, cells(line)


ROWS = [Row(heading, *row) for heading, row in tables() if heading in PAPERS]


@cache
def defined(path: Path) -> frozenset[str]:
    """The names of a module: its own, and `Class.member`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    found.add(f"{node.name}.{member.name}")
                elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                    found.add(f"{node.name}.{member.target.id}")
    return frozenset(found)


@cache
def settings() -> frozenset[str]:
    """All keys that a preset can have, as `section.field`."""
    found = set()
    for path in [*PACKAGE.glob("config.py"), *PACKAGE.glob("config/*.py")]:
        for name in defined(path):
            section, dot, field = name.partition(".")
            if dot and section in ("Crops", "Track", "Data", "Train"):
                found.add(f"{section.lower()}.{field}")
    for path in PACKAGE.glob("models/families/*.py"):
        found.update(f"model.{name.partition('.')[2]}" for name in defined(path) if "." in name)
    return frozenset(found)


@cache
def commands() -> frozenset[str]:
    """What `siamtrack` understands: names given to `app.command` and `app.add_typer`, and functions decorated so."""
    found = set()
    for path in PACKAGE.glob("apps/cli/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for call in node.decorator_list if isinstance(node, ast.FunctionDef) else [node]:
                if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                    continue
                if call.func.attr in ("command", "add_typer"):
                    values = [*call.args, *(keyword.value for keyword in call.keywords)]
                    texts = {v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)}
                    found |= texts or ({node.name} if isinstance(node, ast.FunctionDef) else set())
    return frozenset(found)


def check_where(cell: str) -> list[str]:
    wrong, module = [], None
    for token in TOKEN.findall(cell):
        if token.endswith((".py", "/")):
            module = PACKAGE / token
            if not module.exists():
                wrong.append(f"there is no {token}")
                module = None
        elif module is None or token not in defined(module):
            wrong.append(f"{token} is not defined in the module before it")
    return wrong


def check_command(words: list[str]) -> list[str]:
    wrong = [f"there is no command '{words[1]}'"] if words[1] not in commands() else []
    if words[1] in ("data", "study") and words[2] not in commands():
        wrong.append(f"there is no command '{words[1]} {words[2]}'")
    if words[1] == "train" and words[2] not in PRESETS:
        wrong.append(f"there is no preset {words[2]}")
    if "--set" in words and words[words.index("--set") + 1].split("=")[0] not in settings():
        wrong.append(f"unknown setting in {' '.join(words)}")
    return wrong


def check_run(cell: str) -> list[str]:
    wrong = []
    for clause in cell.split(";"):
        before, suite, after = clause.partition("suite")
        for token in TOKEN.findall(after) if suite else ():
            find_suite(token)
        for token in TOKEN.findall(before):
            if token.startswith("siamtrack "):
                wrong += check_command(token.split())
            elif re.match(r"(crops|track|data|train|model)\.", token):
                if token.split(" ")[0].removesuffix(".*") not in settings():
                    wrong.append(f"there is no setting {token}")
            elif token not in PRESETS:
                wrong.append(f"there is no preset {token}")
    return wrong


def test_each_of_the_papers_has_a_table() -> None:
    assert {row.paper for row in ROWS} == set(PAPERS)
    assert len(ROWS) > 80


@pytest.mark.parametrize("paper", PAPERS)
def test_modules_names_settings_presets_and_suites_exist(paper: str) -> None:
    found = {row.part: check_where(row.where) + check_run(row.run) for row in ROWS if row.paper == paper}
    assert {part: wrong for part, wrong in found.items() if wrong} == {}


def test_a_wrong_reference_is_found() -> None:
    assert check_where("`models/siamese.py` `SiameseNet`, `models/siamese.py` `Nothing`") != []
    assert check_where("`models/nothing.py`") != []
    assert check_run("`siamnothing`") and check_run("`track.nothing`") and check_run("`siamtrack nothing`")


def test_every_row_is_built_or_not_yet_and_says_what_it_was_checked_against() -> None:
    for row in ROWS:
        ours = row.part.startswith("the same idea")
        names = {name.partition(":")[0].partition(";")[0].strip() for name in row.checked.split(",")}
        assert (row.checked == "") if ours else names <= SOURCES, row
        assert ".py`" in row.where or "not yet" in row.run or row.run == "-" or "settings of" in row.where, row


def test_published_scores_are_those_of_the_presets() -> None:
    stated = {tuple(row[:4]) for heading, row in tables() if heading == "Published scores"}
    presets = {
        (f"`{name}`", score["benchmark"], score["metric"], f"{score['value']:g}")
        for name, preset in PRESETS.items()
        for score in preset.get("published", [])
    }
    assert stated == presets


def sections_of(paper: str) -> set[str]:
    """Sections that the page has rows for; `5.2 to 5.4` are three."""
    found = set()
    for row in ROWS:
        head = re.match(r"(\d\.\d)(?:(?:, | to )(\d\.\d))?", row.part)
        if row.paper == paper and head:
            first, last = head[1], head[2] or head[1]
            found.update(f"{first[0]}.{i}" for i in range(int(first[2]), int(last[2]) + 1))
    return found


REFERENCE = re.compile(
    r"(?<![\w-])(SiamFC|SiamRPN\+\+|SiamRPN|DaSiamRPN|SA-Siam|SiamCAR)(?:'s [\w -]+)?"
    r",? \(?sections? (\d\.\d)(?: and (\d\.\d))?"
)


def test_docstrings_name_sections_that_the_page_has() -> None:
    count, wrong = 0, []
    for path in PACKAGE.rglob("*.py"):
        text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
        for paper, *numbers in REFERENCE.findall(text):
            count += 1
            missing = {number for number in numbers if number} - sections_of(paper)
            if missing:
                wrong.append(f"{path.relative_to(PACKAGE)}: {paper} {missing}")
    assert wrong == []
    assert count > 20
