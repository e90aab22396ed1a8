"""A family in a package of its own: named in a preset, trained, stored with its weights, and loaded again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import siamtrack
from siamtrack.apps.cli.main import run
from siamtrack.config import load_preset, preset_from_json, preset_to_json
from siamtrack.errors import ConfigError
from training_toys import write_sequence, write_shard

CODE = '''
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from siamtrack.models.backbones import build_backbone, normalisation
from siamtrack.models.fields import SearchPyramid
from siamtrack.models.families.siamfc import PointCoder, ScoreHead, response_labels, siamfc_loss
from siamtrack.models.losses import weighted
from siamtrack.models.necks import FuseLevels
from siamtrack.models.siamese import SiameseNet


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Plain(SearchPyramid):
    """The smallest family that tracks: one level, one correlation."""

    family: Literal["plain"] = "plain"
    backbone: str = "mobilenetv2"
    width: int = 16

    def build(self):
        backbone = build_backbone(self.backbone, (3,))
        neck = FuseLevels(backbone.channels, self.width)
        head = ScoreHead(0.01, 0.0, True)
        return SiameseNet(normalisation(self.backbone), backbone, neck, head, PointCoder(float(backbone.stride), 1))

    def loss(self, net, batch, rngs):
        maps = net.respond(net.embed(batch.template, batch.template_sizes), batch.search)
        return weighted(siamfc_loss(maps, response_labels(maps, batch, net.coder.stride)), (1.0,))


broken = None
'''
PRESET = """
[model]
family = "plain"
width = 8
scales = [0.96, 1.0, 1.04]

[crops]
template = 63
search = 127

[train]
steps = 2
batch = 2
from_scratch = true
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as pip leaves it: a module, and what it says of itself."""
    home = tmp_path / "site"
    about = home / "plain_tracker-0.1.dist-info"
    about.mkdir(parents=True)
    (home / "plain_tracker.py").write_text(CODE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-tracker\nVersion: 0.1\n")
    lines = ["[siamtrack.families]", "plain = plain_tracker:Plain", "none = plain_tracker:broken", "gone = no_module:X"]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(home)
    yield home
    sys.modules.pop("plain_tracker", None)


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["siamtrack", *map(str, words)])
    try:
        run()
    except SystemExit as end:
        assert not end.code


def test_a_family_of_another_package_trains_and_tracks(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(PRESET)
    preset = load_preset(tmp_path / "mine.toml")
    assert type(preset.model).__module__ == "plain_tracker" and preset.model.width == 8
    assert preset_from_json(preset_to_json(preset)) == preset
    write_shard(tmp_path / "data")
    out = tmp_path / "out"
    command(monkeypatch, "train", tmp_path / "mine.toml", "--data", tmp_path / "data", "--out", out)
    tracker = siamtrack.load(out / "mine.safetensors")
    frame = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    tracker.init(frame, (40, 40, 30, 30))
    assert 0 <= tracker.update(frame).score <= 1
    # Worker processes find it as well.
    write_sequence(tmp_path / "clips")
    words = ["--suite", "folder", "--data", tmp_path / "clips", "--out", tmp_path / "results", "--processes", 1]
    command(monkeypatch, "eval", out / "mine.safetensors", *words)
    assert (tmp_path / "results" / "mine" / "folder" / "scores.json").exists()


def test_settings_of_another_package_are_as_strict(package: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(PRESET)
    with pytest.raises(ConfigError, match=r"unknown key 'model\.widht'.*'width'"):
        load_preset(tmp_path / "mine.toml", {"model.widht": 9})
    with pytest.raises(ConfigError, match=r"model\.width: .*valid integer"):
        load_preset(tmp_path / "mine.toml", {"model.width": "wide"})
    with pytest.raises(ConfigError, match=r"unknown key 'track\.windw'"):
        load_preset(tmp_path / "mine.toml", {"track.windw": 0.1})


def test_what_is_no_family_is_told_in_one_line(package: Path, tmp_path: Path) -> None:
    for name, said in (("none", "is no tracker family"), ("gone", "cannot be imported.*no_module")):
        (tmp_path / "mine.toml").write_text(PRESET.replace('"plain"', f'"{name}"'))
        with pytest.raises(ConfigError, match=said):
            load_preset(tmp_path / "mine.toml")


def test_without_the_package_its_name_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(PRESET)
    with pytest.raises(ConfigError, match="'plain'"):
        load_preset(tmp_path / "mine.toml")
    (tmp_path / "mine.toml").write_text(PRESET.replace('"plain"', '"os:path"'))  # no code by its path
    with pytest.raises(ConfigError, match="'os:path'"):
        load_preset(tmp_path / "mine.toml")
