"""The loop trains every family: a few steps on made crops, and the weights load."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from made import write_preset, write_shard

from siamtrack.config import load_preset
from siamtrack.data.resident import ResidentSet
from siamtrack.models.weights import load_weights
from siamtrack.training.loop import train

COMMON = """
[crops]
template = 63
search = 127
wide_template = {wide}

[train]
steps = 2
batch = 2
log_every = 1
lr = 1e-3
frozen_stages = 1
loss_weights = {weights}
"""

FAMILIES = {
    "siamfc": ("backbone = 'mobilenetv2'\nlevel = 3\nwidth = 16", "[1.0]"),
    "siamrpn": ("backbone = 'mobilenetv2'\nwidth = 16\nlevel = 3", "[1.0, 1.2]"),
    "siamrpn++": ("backbone = 'mobilenetv2'\nlevels = [3, 4]\nwidth = 16", "[1.0, 1.2]"),
    "siamcar": ("backbone = 'mobilenetv2'\nlevels = [3]\nwidth = 32\ntower = 1", "[1.0, 1.0, 3.0]"),
    "spm": (
        "backbone = 'mobilenetv2'\nlevels = [3]\nfine_levels = [3]\nwidth = 16\ntemplate_cells = 7",
        "[1.0, 1.0, 2.0, 2.0]",
    ),
    "sa_siam": (
        "backbone = 'mobilenetv2'\nlevel = 3\nwidth = 16\nsemantic_backbone = 'mobilenetv2'\n"
        "semantic_levels = [3, 4]\nfused = 8\ntemplate_cells = 7",
        "[1.0, 1.0]",
    ),
}


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> ResidentSet:
    return ResidentSet.load(write_shard(tmp_path_factory.mktemp("families")))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains(family: str, crops: ResidentSet, tmp_path: Path) -> None:
    fields, weights = FAMILIES[family]
    wide = 127 if family == "sa_siam" else 0
    text = f"[model]\nfamily = '{family}'\n{fields}\n{COMMON.format(weights=weights, wide=wide)}"
    preset = load_preset(write_preset(tmp_path, text, "family"))
    path = train(preset, crops, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all(math.isfinite(row["total"]) and row["norm"] > 0 for row in rows)
    net = preset.model.build()
    load_weights(path, net)
