from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from siamtrack.apps.cli.options import parse_settings
from siamtrack.config import Crops, Preset, Track, changed_preset, load_preset, preset_from_json, preset_to_json
from siamtrack.errors import ConfigError
from siamtrack.models.families import SiamCar
from siamtrack.models.weights import read_metadata
from siamtrack.presets import packaged_weights, preset_names


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model]\nfamily = 'siamcar'\nwdth = 64", "model.*wdth.*width"),
        ("[track]\nwindw = 0.3", r"track\.windw.*window"),
        ("[train]\nlr = 'fast'", r"train\.lr"),
        ("[train]\nsteps = -4", r"train\.steps"),
        ("[train]\nlr = 1e308", r"train\.lr.* less than or equal to 10+;"),
        ("[train]\nweight_decay = 1e308", r"train\.weight_decay"),
        ("[data.source_weights]\nmine = 1e308", "source_weights and source_counts are 0 to 1000000000"),
        ("[data.search]\nshfit = 3", r"data\.search\.shfit.*shift"),
        ("[model]\nfamily = 'siamcat'", "siamc"),
        ("crops = 3", "crops"),
        ("colour = 3", "colour"),
        ("[track\n", "TOML"),
        ("a = " + "[" * 9999, "TOML"),
        ("extends = 'siamcar_lite'", "siamcar_lite0"),
        ("extends = 'siamcar_lite0'\ndata = 3", "data"),
        ("extends = 3", "extends: expected a preset's name"),
        ("extends = 'siamcar_lite0'\nclear = 'track'", "clear: expected a list of keys"),
        ("extends = 'siamcar_lite0'\nclear = ['data.source_weight']", "siamcar_lite0 does not set.*source_weights"),
        ("extends = 'siamcar_lite0'\nclear = ['data.gap.x']", r"does not set 'data\.gap\.x'"),
        ("clear = ['data']", "needs 'extends'"),
        ("extends = 'mine.toml'", r"circle: .*mine\.toml -> .*mine\.toml"),
        ("[track]\nstatus_lost_below = 0.6", "status_lost_below is at most sure_over; got 0.6 and 0.3"),
        ("[track]\nlost_search = 400\nfound_above = 0.5", "search_lost_below is at most found_above; got 0.85 and 0.5"),
        ("[track]\nlost_search = 127", "lost_search is 0 or at least crops.search; got 127 and 255"),
        ("name = " + repr("x" * 999), "name: .*up to 100 characters"),
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
    with pytest.raises(ConfigError, match="stored preset: expected JSON: nested too deep"):
        preset_from_json("[" * 99999)
    long = json.dumps({"name": "mine", "crops": ["x"] * 999})
    with pytest.raises(ConfigError, match="crops") as caught:
        preset_from_json(long)
    assert len(str(caught.value)) < 300


def test_a_preset_has_the_values_of_the_one_that_it_extends(tmp_path: Path) -> None:
    """All sections, over several files; what is a preset's own is not inherited."""
    write(tmp_path, "extends = 'siamcar_r50_got10k'\ndescription = 'first'\n[track]\nwindow = 0.2", "first.toml")
    child = load_preset(write(tmp_path, "extends = 'first.toml'\n[data.search]\nshift = 32\n[train]\nsteps = 7"))
    parent = load_preset("siamcar_r50_got10k")
    assert (child.name, child.description, child.published) == ("mine", "", ())
    assert parent.published and child.model == parent.model and child.crops == parent.crops
    assert (child.track.window, child.track.rate, child.track.select) == (0.2, parent.track.rate, "upsampled")
    assert child.data.search == replace(parent.data.search, shift=32)
    assert child.train.steps == 7 and child.train.lr == parent.train.lr


def test_another_family_starts_from_its_own_defaults(tmp_path: Path) -> None:
    child = load_preset(write(tmp_path, "extends = 'siamcar_lite0'\n[model]\nfamily = 'siamfc'"))
    assert child.model.family == "siamfc" and child.model.backbone == "alexnet_siamfc"
    same = load_preset(write(tmp_path, "extends = 'siamcar_lite0'\n[model]\nfamily = 'siamcar'"))
    assert same.model == load_preset("siamcar_lite0").model


def test_inherited_sections_tables_and_keys_can_be_cleared(tmp_path: Path) -> None:
    text = "extends = 'siamcar_lite0'\nclear = ['track', 'data.source_weights', 'train.ema']\n[track]\nwindow = 0.1"
    parent, child = load_preset("siamcar_lite0"), load_preset(write(tmp_path, text))
    assert parent.data.source_weights and child.data.source_weights == {}
    assert (child.track.window, child.track.select, child.train.ema) == (0.1, "best", 0.0)
    assert child.data.distract == parent.data.distract and child.train.lr == parent.train.lr


def test_presets_that_extend_each_other_are_named(tmp_path: Path) -> None:
    write(tmp_path, "extends = 'mine.toml'", "other.toml")
    with pytest.raises(ConfigError, match=r"circle: .*mine\.toml -> .*other\.toml -> .*mine\.toml") as caught:
        load_preset(write(tmp_path, "extends = 'other.toml'"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in preset_names() if packaged_weights(name)])
def test_shipped_weights_track_alike_by_name_and_by_file(name: str) -> None:
    """Otherwise a copy of the file would be another tracker; `scripts/export` brings them together."""
    path = packaged_weights(name)
    assert path is not None
    text = read_metadata(path)["preset"]
    stored, preset = preset_from_json(text), load_preset(name)
    assert replace(stored, data=preset.data, train=preset.train) == preset
    assert preset_to_json(stored) == text


def test_a_preset_is_changed_by_dotted_keys() -> None:
    preset = load_preset("siamcar_lite0")
    changed = changed_preset(preset, {"track.window": 1, "data.source_weights.lasot": 3}, "--set")
    assert changed.track.window == 1.0 and changed.data.source_weights["lasot"] == 3 and changed.model == preset.model
    assert changed_preset(preset, {}, "--set") == preset
    with pytest.raises(ConfigError, match=r"--set: unknown key 'track\.windw'.*window"):
        changed_preset(preset, {"track.windw": 1}, "--set")


@pytest.mark.parametrize(("key", "meant"), [("window", "track"), ("lr", "train"), ("width", "model"), ("gap", "data")])
def test_a_key_without_its_section_is_answered_with_it(key: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"--set: unknown key '{key}'; did you mean '{meant}\.{key}'\?"):
        changed_preset(load_preset("siamcar_lite0"), {key: 1}, "--set")


def test_a_setting_in_a_section_that_was_set_to_something_else_is_told() -> None:
    with pytest.raises(ConfigError, match=r"cannot set 'track\.window': track is 7, not a section"):
        load_preset("siamcar_pico", {"track": 7, "track.window": 0.3})


def test_settings_are_toml_and_bare_words_are_text() -> None:
    texts = [
        "train.lr=1e-3",
        "model.levels=[3, 4]",
        "train.optimiser=sgd",
        'a.b="x=y"',
        "train.compile = true",
    ]
    assert parse_settings(texts) == {
        "train.lr": 1e-3,
        "model.levels": [3, 4],
        "train.optimiser": "sgd",
        "a.b": "x=y",
        "train.compile": True,
    }
    for wrong in ("train.lr", "=3", "train.lr=", "train.lr=[1,", "train.lr=1 2", "train.lr=1\nx = 2"):
        with pytest.raises(ConfigError, match="--set"):
            parse_settings([wrong])


def test_a_key_of_any_length_makes_a_short_message():
    for key in ("train." + "x" * 5000, "x" * 5000 + ".y.z"):
        with pytest.raises(ConfigError, match="unknown key") as found:
            load_preset("siamcar_lite0", {key: 1})
        assert len(str(found.value)) < 500


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Preset(), "Preset: the key 'name' is missing"),
        (lambda: Preset(3), "Preset: name: Input should be a valid string; got 3"),
        (lambda: Preset(name="x", crops=5), "Preset: crops: .*; got 5"),
        (lambda: Preset(name="x", track=Track(lost_search=5)), "Preset: track.lost_search is 0 or at least"),
        (lambda: Crops(tmplate=63), "Crops: unknown key 'tmplate'"),
        (lambda: Track(window=float("nan")), "Track: window: Input should be a finite number; got nan"),
        (lambda: SiamCar("siamcar", None), "SiamCar: backbone: .*; got None"),
        (lambda: replace(load_preset("siamcar_pico"), data=[]), "Preset: data: "),
    ],
)
def test_sections_that_are_made_in_python_refuse_what_files_may_not_hold(make, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}") as found:
        make()
    assert "\n" not in str(found.value)
