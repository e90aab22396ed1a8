"""What is trained and when: stages of the backbone, with and without pretrained weights; the moving average."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from siamtrack.config import Preset, Train, load_preset
from siamtrack.data.pair_source import ResidentPairs
from siamtrack.data.resident import ResidentSet
from siamtrack.training import loop
from siamtrack.training.checkpoint import latest_state
from siamtrack.training.parameters import Average, compile_frozen, prepare, unfreeze_backbone
from training_toys import SCRATCH, TINY, write_preset, write_shard


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> ResidentSet:
    return ResidentSet.load(write_shard(tmp_path_factory.mktemp("parameters")))


def changed(preset: Preset, crops: ResidentSet, out: Path) -> set[str]:
    """The backbone's tensors that one step changes."""
    loop.train(preset, ResidentPairs(crops, preset.crops, preset.data), out, loop.RunOptions(until=1))
    torch.manual_seed(preset.train.seed)
    before = preset.model.build().state_dict()
    state = latest_state(out)
    assert state is not None
    after = state["model"]
    return {name for name in after if name.startswith("backbone.") and not torch.equal(after[name], before[name])}


def test_frozen_stages_keep_what_pretraining_taught_them(
    crops: ResidentSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "load_imagenet", lambda *_: True)
    preset = load_preset(write_preset(tmp_path, TINY.replace("ema = 0.9", "")))
    assert changed(preset, crops, tmp_path / "frozen") == set()  # until unfreeze_at


def test_a_backbone_from_scratch_is_trained_whole(crops: ResidentSet, tmp_path: Path) -> None:
    """Although the preset freezes two stages for good, the others for a while, and keeps BatchNorm's statistics."""
    text = SCRATCH.replace("ema = 0.9", "").replace("backbone_norm = true", "backbone_norm = false")
    preset = load_preset(write_preset(tmp_path, text))
    moved = changed(preset, crops, tmp_path / "out")
    assert moved == {name for name in preset.model.build().state_dict() if name.startswith("backbone.")}


def test_stages_open_when_the_schedule_says_so(tmp_path: Path) -> None:
    preset = load_preset(write_preset(tmp_path))
    net = preset.model.build()
    prepare(net, preset.train)
    trains = {}
    for step in (0, 5, 6):
        unfreeze_backbone(net, preset.train, step)
        stages = net.backbone.stages()
        trains[step] = [all(p.requires_grad for p in stage.parameters()) for stage in stages]
        norms = [[m.training for m in stage.modules() if isinstance(m, torch.nn.BatchNorm2d)] for stage in stages]
        assert [all(flags) for flags in norms] == [any(flags) for flags in norms] == trains[step]
    assert not any(trains[0]) and trains[0] == trains[5]
    assert trains[6] == [False] * 2 + [True] * (len(trains[6]) - 2)


def test_without_a_compiler_nothing_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = load_preset(write_preset(tmp_path), {"train.compile": True})
    net, seen = preset.model.build(), []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: seen.append(self))
    compile_frozen(net, preset.train, torch.device("cpu"))
    assert len(seen) == (2 if shutil.which("g++") else 0)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match="needs a C"):
        compile_frozen(net, preset.train, torch.device("cpu"))
    assert len(seen) <= 2
    compile_frozen(net, Train(compile=False, frozen_stages=2), torch.device("cpu"))


def test_the_average_follows_and_begins_fast() -> None:
    net = torch.nn.BatchNorm1d(2)
    average = Average(net, 0.9)
    with torch.no_grad():
        net.weight.fill_(2.0)
        net.num_batches_tracked.fill_(7)
    average.update(0)
    assert average.values["weight"].tolist() == pytest.approx([1.9, 1.9])  # decay 1 / 10 at first
    assert int(average.values["num_batches_tracked"]) == 7
    average.update(1000)
    assert average.values["weight"].tolist() == pytest.approx([1.91, 1.91])
