from __future__ import annotations

import json
from pathlib import Path

import pytest

from siamtrack.config import load_preset, preset_from_json, preset_names, preset_to_json
from siamtrack.errors import ConfigError


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_read_and_survives_its_json(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert preset.description
    assert preset_from_json(preset_to_json(preset)) == preset


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model]\nfamily = 'siamcar'\nwdth = 64", "model.*wdth.*width"),
        ("[track]\nwindw = 0.3", r"track\.windw.*window"),
        ("[train]\nlr = 'fast'", r"train\.lr"),
        ("[train]\nsteps = -4", r"train\.steps"),
        ("[data.search]\nshfit = 3", r"data\.search\.shfit.*shift"),
        ("[model]\nfamily = 'siamcat'", "siamc"),
        ("crops = 3", "crops"),
        ("colour = 3", "colour"),
        ("[track\n", "TOML"),
        ("a = " + "[" * 9999, "TOML"),
        ("extends = 'siamcar_lite'", "siamcar_lite0"),
        ("extends = 'siamcar_lite0'\ndata = 3", "data"),
        ("name = " + repr("x" * 999) + "\ndata.gap = 'x'", r"data\.gap"),
        ("[[published]]\nmetric = 'auc'", r"'published\.0\.benchmark' is missing"),
    ],
)
def test_a_wrong_key_type_or_value_is_named_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_preset(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_overrides_replace_single_values_and_are_checked_too() -> None:
    assert load_preset("siamcar_lite0", {"train.lr": 0.5, "track.window": 0.1}).train.lr == 0.5
    with pytest.raises(ConfigError, match=r"train\.learning"):
        load_preset("siamcar_lite0", {"train.learning": 1})
    with pytest.raises(ConfigError, match="batch"):
        load_preset("siamcar_lite0", {"train.bath": 1})


def test_an_unknown_preset_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="siamcar_lite0"):
        load_preset("siamcar_lite")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        load_preset(tmp_path / "nothing.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match=r"no preset file .*folder\.toml"):
        load_preset(tmp_path / "folder.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match="not a text file"):
        load_preset(tmp_path / "binary.toml")
    with pytest.raises(ConfigError, match="name too long"):
        load_preset("n" * 999 + ".toml")


def test_stored_presets_are_read_strictly() -> None:
    text = preset_to_json(load_preset("siamcar_lite0"))
    with pytest.raises(ConfigError):
        preset_from_json(text.replace('"window"', '"widow"'))
    with pytest.raises(ConfigError):
        preset_from_json("{")
    with pytest.raises(ConfigError):
        preset_from_json("[1]")
    with pytest.raises(ConfigError, match="is not JSON"):
        preset_from_json("[" * 99999)
    long = json.dumps({"name": "mine", "crops": ["x"] * 999})
    with pytest.raises(ConfigError, match="crops") as caught:
        preset_from_json(long)
    assert len(str(caught.value)) < 300
