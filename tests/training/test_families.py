"""The loop trains every family: a few steps on made crops, and the weights load."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from siamtrack.config import load_preset
from siamtrack.data.pair_source import ResidentPairs
from siamtrack.data.resident import ResidentSet
from siamtrack.models.weights import load_weights
from siamtrack.training.loop import train
from training_toys import FAMILIES, family_preset, write_shard


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> ResidentSet:
    return ResidentSet.load(write_shard(tmp_path_factory.mktemp("families")))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains(family: str, crops: ResidentSet, tmp_path: Path) -> None:
    preset = load_preset(family_preset(tmp_path, family, frozen_stages=1))
    path = train(preset, ResidentPairs(crops, preset.crops, preset.data), tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all(math.isfinite(row["total"]) and row["norm"] > 0 for row in rows)
    net = preset.model.build()
    load_weights(path, net)
