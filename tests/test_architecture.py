"""The house: rooms import from the ground up, and none of them holds too much."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import siamtrack

PACKAGE = Path(siamtrack.__file__).parent

ROOMS = (
    ("errors",),
    ("arguments",),
    ("io",),
    ("storage",),
    ("geometry",),
    ("models",),
    ("presets",),
    ("config",),
    ("tracking",),
    ("runtime",),
    ("zoo",),
    ("export",),
    ("video",),
    ("formats",),
    ("metrics",),
    ("evaluation",),
    ("report",),
    ("data",),
    ("training",),
    ("tuning", "studies"),
    ("integrations",),
    ("apps",),
)
"""From the ground up; docs/design.md says what each holds. A room imports from rooms before it, and from its own."""

OUTSIDE = {"__init__", "__main__"}
"""The front door fetches its names when they are first used, and starts the program."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below it, packages with a final `__init__`."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


def imported(module: str, path: Path) -> list[tuple[int, str]]:
    """Line and dotted name below the package of everything a module imports from it, inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            # `from siamtrack.room import module` names a module as well as `import siamtrack.room.module`
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [(node.lineno, n.partition(".")[2]) for n in names if n == "siamtrack" or n.startswith("siamtrack.")]
    return found


def height(room: str) -> int:
    return next(level for level, rooms in enumerate(ROOMS) if room in rooms)


def test_every_room_is_listed() -> None:
    found = {name.partition(".")[0] for name in modules()} - OUTSIDE
    assert found <= {room for rooms in ROOMS for room in rooms}


def test_rooms_import_from_rooms_below_them() -> None:
    wrong = []
    for module, path in modules().items():
        room = module.partition(".")[0]
        if room in OUTSIDE:
            continue
        for line, target in imported(module, path):
            other = target.partition(".")[0]
            if other in siamtrack.__all__:  # the front door's names come from these rooms
                other = siamtrack._HOMES[other].split(".")[1]
            if other in ("", "__version__", room):
                continue
            if height(other) > height(room) or (height(other) == height(room) and other != room):
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {target}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = modules()
    names = set(files)

    def resolved(target: str) -> str | None:
        """The module that a dotted name lies in."""
        for name in (target, target.rpartition(".")[0]):
            for candidate in (name, f"{name}.__init__"):
                if candidate in names:
                    return candidate
        return None

    needs = {
        name: {found for _, target in imported(name, path) if (found := resolved(target)) and found != name}
        for name, path in files.items()
        if name not in OUTSIDE
    }
    while leaves := [name for name, below in needs.items() if not below & needs.keys()]:
        for name in leaves:
            del needs[name]
    while roots := needs.keys() - {name for below in needs.values() for name in below}:
        for name in roots:
            del needs[name]
    circle = "\n".join(f"{name} -> {', '.join(sorted(below & needs.keys()))}" for name, below in sorted(needs.items()))
    assert not circle, f"\n{circle}"


def test_the_design_page_names_rooms_and_places_that_exist() -> None:
    page = (PACKAGE.parents[1] / "docs" / "design.md").read_text()
    for room in {name.partition(".")[0] for name in modules()} - OUTSIDE:
        assert f"`{room}/`" in page or f"`{room}.py`" in page, f"docs/design.md has no row for {room}"
    for path, names in re.findall(r"`([a-z_0-9/]+\.py)`((?:,?\s+`\w+`)*)", page):
        if path.startswith("tests/"):
            continue
        text = (PACKAGE / path).read_text()
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(?:def|class) {name}\b|^{name}(:|\s*=)", text, re.M), f"{path} defines no {name}"


@pytest.mark.parametrize("limit", [0.2])
def test_no_room_holds_more_than_its_share(limit: float) -> None:
    lines: dict[str, int] = {}
    for module, path in modules().items():
        room = module.partition(".")[0]
        lines[room] = lines.get(room, 0) + len(path.read_text().splitlines())
    total = sum(lines.values())
    large = {room: f"{count / total:.0%}" for room, count in lines.items() if count > limit * total}
    assert not large
