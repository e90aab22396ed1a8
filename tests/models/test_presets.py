"""The presets of published trackers: their size, and their numbers against the recorded configurations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from references import REFERENCES
from siamtrack.config import load_preset, preset_from_json, preset_to_json
from siamtrack.models.fields import SearchPyramid
from siamtrack.presets import preset_names

PARAMETERS = {
    "siamrpn_alex_otb": 6_251_102,
    "siamrpn_r50_lt": 60_018_336,
    "siamrpn_r50_otb": 53_950_618,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name: str) -> None:
    """Of variants; test_parity_portable.py counts the others. `siamrpn_r50_otb` has no fusion weights."""
    with torch.device("meta"):
        net = load_preset(name).model.build()
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", preset_names())
def test_presets_survive_json_and_build(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name and preset.description
    assert preset_from_json(preset_to_json(preset)) == preset
    with torch.device("meta"):
        net = preset.model.build()
    frozen = preset.train.frozen_stages
    assert frozen < len(net.backbone.stages())


@pytest.mark.parametrize("name", [name for name in REFERENCES if name.startswith("pysot")])
def test_tracking_numbers_are_the_recorded_ones(shared: Path, name: str) -> None:
    config = json.loads((shared / "golden" / "networks" / f"{name}.json").read_text())["config"]
    preset = load_preset(REFERENCES[name].preset)
    track = config["TRACK"]
    assert (preset.crops.template, preset.crops.search) == (track["EXEMPLAR_SIZE"], track["INSTANCE_SIZE"])
    assert preset.crops.context == track["CONTEXT_AMOUNT"]
    ours = preset.track
    assert (ours.window, ours.penalty, ours.rate) == (
        track["WINDOW_INFLUENCE"],
        track["PENALTY_K"],
        track["LR"],
    )


def test_numbers_of_siamcar_and_siamfc_are_the_recorded_ones(shared: Path) -> None:
    networks = shared / "golden" / "networks"
    car = json.loads((networks / "siamcar_r50.json").read_text())
    ours = load_preset("siamcar_r50").track
    assert {"lr": ours.rate, "penalty_k": ours.penalty, "window_lr": ours.window} == car["hp"]
    names = {"otb": "OTB100", "got10k": "GOT10K", "uav": "UAV123", "lasot": "LaSOT"}
    for suffix, key in names.items():
        tuned = load_preset(f"siamcar_r50_{suffix}").track
        assert [tuned.rate, tuned.penalty, tuned.window] == car["config"]["HP_SEARCH"][key]
    fc = json.loads((networks / "siamfc.json").read_text())["config"]
    ours, search = load_preset("siamfc").track, load_preset("siamfc").model
    assert isinstance(search, SearchPyramid)
    assert (ours.window, ours.rate, search.scale_penalty) == (
        fc["window_influence"],
        fc["scale_lr"],
        fc["scale_penalty"],
    )
    assert search.scales == pytest.approx([fc["scale_step"] ** i for i in (-1, 0, 1)])
