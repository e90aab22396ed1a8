"""`docs/papers.md` states the presets' scores, and names settings and studies that exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from siamtrack.config import Crops, Data, Track, Train, load_preset
from siamtrack.models.families import family_class, family_names
from siamtrack.presets import preset_names
from siamtrack.studies.papers import STUDIES

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "papers.md").read_text(encoding="utf-8")
TOKENS = set(re.findall(r"`([^`\n]+)`", PAGE))


def test_published_scores_are_those_of_the_presets() -> None:
    table = PAGE.partition("## Published scores")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:2] == "| "]
    stated = {tuple(row) for row in rows if row[0] != "preset"}
    presets = {
        (f"`{name}`", score.benchmark, score.metric, f"{score.value:g}", score.source)
        for name in preset_names()
        for score in load_preset(name).published
    }
    assert stated == presets


def test_named_settings_exist() -> None:
    sections = [("crops", Crops), ("track", Track), ("data", Data), ("train", Train)]
    families = [("model", family_class(name)) for name in family_names()]
    known = {f"{section}.{field.name}" for section, kind in sections + families for field in fields(kind)}
    found = [re.match(r"(crops|track|data|train|model)\.\w+", token) for token in TOKENS]
    named = {match[0] for match in found if match}
    assert len(named) > 40
    assert named - known == set()


def test_named_studies_exist() -> None:
    named = set(re.findall(r"\b(?:siamrpnpp|siamcar|sasiam|spm)-[a-z]+\d*[a-z]?\b", PAGE))
    assert len(named) > 20
    assert named - {name for study in STUDIES.values() for name in (study.name, *study.aliases)} == set()
