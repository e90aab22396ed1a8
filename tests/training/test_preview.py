"""What a dry run says of a recipe is what training then draws and does."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch

from made_crops import make_set
from siamtrack.apps.cli.main import run
from siamtrack.config import Data, Jitter, Preset, Train, load_preset
from siamtrack.data.pair_source import ResidentPairs, open_pairs
from siamtrack.data.pictures import draw_pairs
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError, DataError
from siamtrack.training.loop import build_network, check_start
from siamtrack.training.parameters import learning_rate
from siamtrack.training.preview import (
    check_gaps,
    measure_pace,
    measure_pairs,
    stages,
    trained_stages,
)
from siamtrack.training.trial import check_step, try_step
from training_toys import write_preset, write_shard


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preview")
    write_shard(folder / "data")
    write_preset(folder)
    return folder


@pytest.fixture(scope="module")
def crops() -> ResidentSet:
    """Three objects with frames 10 apart, one with frames 500 apart, four stills; crops of 368 pixels."""
    moving = [
        ("film", "dog", (0, 10, 20)),
        ("film", "cat", (0, 10, 20)),
        ("film", "cat", (5, 15)),
        ("slow", "d", (0, 500)),
    ]
    return make_set([*moving, *(("shots", f"c{i}", (0,)) for i in range(4))])


def preset_with(**data: object) -> Preset:
    return Preset("made", data=Data(**data))  # type: ignore[arg-type]


def test_what_is_measured_is_what_is_drawn(crops: ResidentSet):
    preset = preset_with(negative=0.25, negative_same="any", frames_weight=1.0, gap=10)
    drawn = measure_pairs(ResidentPairs(crops, preset.crops, preset.data), preset, 20_000)
    assert drawn.count == 20_000 and list(drawn.sources) == ["shots", "film", "slow"]
    assert list(drawn.sources.values()) == pytest.approx([4 / 8, 3 / 8, 1 / 8], abs=0.015)
    assert drawn.negative == pytest.approx(0.25, abs=0.01)
    # Of three frames the outer ones see two within the gap and the middle one three; of the pair each sees both; the
    # slow object's frames are never paired. Among objects with several frames, film : slow is 3 : 1.
    film = (2 * (2 / 3 / 2 + 1 / 3 / 3) + 1 / 2) / 3
    assert drawn.video_one_frame == pytest.approx((3 * film + 1) / 4, abs=0.015)
    assert drawn.one_frame == pytest.approx((3 * film + 1 + 4) / 8, abs=0.015)
    assert drawn.distance == (10, 10, 10)
    assert drawn.others == 0


def test_jitter_is_measured_in_search_pixels(crops: ResidentSet):
    search = Jitter(shift=64, scale=0.5, aspect=0.44)
    preset = preset_with(search=search, flip=0.5)
    drawn = measure_pairs(ResidentPairs(crops, preset.crops, preset.data), preset, 20_000)
    # Scale and aspect are uniform in the log; the larger of two uniform shifts up to 64 has the quantiles 64 sqrt(q).
    square = preset_with(search=replace(search, aspect=0.0), flip=0.5)
    shift = measure_pairs(ResidentPairs(crops, square.crops, square.data), square, 20_000).shift
    for found, expected in (
        (shift, [64 * q**0.5 for q in (0.05, 0.5, 0.95)]),
        (drawn.scale, [1.5 ** (2 * q - 1) for q in (0.05, 0.5, 0.95)]),
        (drawn.aspect, [1.44 ** (2 * q - 1) for q in (0.05, 0.5, 0.95)]),
    ):
        assert list(found) == pytest.approx(expected, rel=0.03)
    assert drawn.fill > 0.3
    inside = replace(preset, data=replace(preset.data, search=replace(search, inside=True)))
    assert measure_pairs(ResidentPairs(crops, inside.crops, inside.data), inside, 4000).fill == 0


def test_the_training_crops_show_no_fill_with_the_default_recipe(shared: Path):
    """36% of the search crops did, before the default preset kept its regions inside of the stored crops."""
    preset = load_preset("siamcar_lite0")
    pairs = ResidentPairs(ResidentSet.load(shared / "data" / "train" / "train-00.tar"), preset.crops, preset.data)
    drawn = measure_pairs(pairs, preset)
    assert drawn.fill == drawn.template_fill == 0
    loose = replace(preset.data, search=replace(preset.data.search, inside=False))
    assert measure_pairs(ResidentPairs(pairs.crops, preset.crops, loose), preset).fill > 0.2


def test_a_look_changes_nothing_and_a_stream_is_measured_too(home: Path):
    preset = load_preset(home / "tiny.toml")
    for memory in (0, 8192):
        data = replace(preset.data, resident_memory=memory)
        looked, plain = (open_pairs(home / "data", preset.crops, data) for _ in range(2))
        drawn = measure_pairs(looked, preset, 64)
        assert drawn.sources == {"made": 1.0} and drawn.video_one_frame < 1
        for step in range(2):
            assert torch.equal(looked.draw(4, 0, 0, step)[0].search, plain.draw(4, 0, 0, step)[0].search)
        looked.close()
        plain.close()


def test_gaps_that_cannot_be_met_are_refused(crops: ResidentSet):
    preset = preset_with(gap=10)
    with pytest.raises(ConfigError, match=r"cannot be met in 'slow'.* 500 apart.*data\.gaps\.slow=1000"):
        check_gaps(ResidentPairs(crops, preset.crops, preset.data), preset)
    wide = preset_with(gap=10, gaps={"slow": 500})
    check_gaps(ResidentPairs(crops, wide.crops, wide.data), wide)


def test_stages_are_epochs_or_tenths():
    train = Train(steps=100, epochs=20, lr=0.1, unfreeze_at=0.5, warmup=0.25)
    by_epoch = stages(train)
    assert [stage.step for stage in by_epoch] == list(range(0, 100, 5))
    assert [stage.backbone for stage in by_epoch] == [False] * 10 + [True] * 10
    assert [stage.rate for stage in by_epoch] == [learning_rate(train, step) for step in range(0, 100, 5)]
    paper = load_preset("siamrpn_r50").train  # 53,571 steps do not divide into 20 epochs
    assert [stage.backbone for stage in stages(paper)] == [False] * 10 + [True] * 10
    assert len({stage.rate for stage in stages(paper)}) == 20
    assert len(stages(Train(steps=1000))) == 10 and len(stages(Train(steps=3))) == 3
    assert all(stage.backbone for stage in stages(replace(train, from_scratch=True)))


def test_the_pace_leaves_no_trace(home: Path):
    preset = load_preset(home / "tiny.toml", {"train.from_scratch": False, "train.batch": 2})
    pairs = ResidentPairs(ResidentSet.load(home / "data"), preset.crops, preset.data)
    pace = measure_pace(pairs, preset, torch.device("cpu"), 1)
    assert pace.frozen > 0 and pace.whole > 0 and pace.memory > 10**7
    first = round(preset.train.unfreeze_at * preset.train.steps)
    assert pace.hours * 3600 == pytest.approx(first * pace.frozen + (preset.train.steps - first) * pace.whole)
    assert pace.pairs == pace.trial.pairs == 2


def test_a_batch_that_does_not_fit_is_timed_in_parts(home: Path, monkeypatch: pytest.MonkeyPatch):
    preset = load_preset(home / "tiny.toml", {"train.from_scratch": True, "train.batch": 10_000})
    pairs = ResidentPairs(ResidentSet.load(home / "data"), preset.crops, preset.data)
    net = build_network(preset, torch.device("cpu"))
    needed = try_step(net, preset, pairs, 10_000).needed
    monkeypatch.setattr("siamtrack.training.trial.available_memory", lambda device: needed * 4 / 10_000)
    pace = measure_pace(pairs, preset, torch.device("cpu"), 1)
    assert 1 <= pace.pairs <= 3 and pace.trial.count == 10_000 and pace.memory == int(needed)
    assert pace.hours * 3600 == pytest.approx(preset.train.steps * pace.whole)
    with pytest.raises(ConfigError, match=rf"needs .* GB of memory, .*train\.batch={pace.pairs} or less"):
        check_step(net, preset, pairs, 10_000)


def test_the_stages_are_named_and_missing_weights_told():
    never, then = trained_stages(load_preset("siamrpn_r50"))
    assert never == ["conv1 to bn1", "layer1"] and then == ["layer2", "layer3", "layer4"]
    assert trained_stages(load_preset("siamrpn_r50_paper"))[0] == []
    assert trained_stages(load_preset("siamrpn_mobilev2"))[0][0] == "features.0"
    assert trained_stages(load_preset("sa_siam"))[1]
    check_start(load_preset("siamfc"), None, False)
    for name, backbone in (("siamrpn_r50", "resnet50"), ("sa_siam", "alexnet_relu")):
        with pytest.raises(ConfigError, match=rf"ImageNet weights.*{backbone}|{backbone}.*ImageNet weights"):
            check_start(load_preset(name), None, False)


def test_the_page_has_the_boxes(home: Path, tmp_path: Path):
    preset = load_preset(home / "tiny.toml", {"data.negative": 0.5})
    pairs = ResidentPairs(ResidentSet.load(home / "data"), preset.crops, preset.data)
    draw_pairs(pairs, preset, tmp_path / "page.png", 5)
    page = cv2.imread(str(tmp_path / "page.png"))
    assert page.shape == (2 * (127 + 18), 4 * (63 + 127 + 6), 3)
    for colour in ((0, 220, 0), (0, 0, 255)):  # positive and negative pairs
        assert (abs(page.astype(int) - colour).sum(2) < 60).sum() > 100
    with pytest.raises(DataError, match=r"\.png or \.jpg"):
        draw_pairs(pairs, preset, tmp_path / "page.txt", 5)


def test_the_command(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["siamtrack", "train", *map(str, [home / "tiny.toml", *arguments])])
        with pytest.raises(SystemExit) as end:
            run()
        return int(end.value.code or 0), *capsys.readouterr()

    data = ["--data", home / "data"]
    code, said, _ = call(*data, "--dry-run", "--picture", tmp_path / "p.jpg")
    assert code == 0 and (tmp_path / "p.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert "80 pairs: 20 steps of 4" in said and "made 100%" in said and said.count("learning rate") == 10
    assert re.search(r"on cpu: [\d.]+ s a step \(backbone trained\); about [\d.]+ hours and [\d.]+ GB", said)
    assert "refuse" not in said and all(f"\n  {name} " in said for name in ("search", "template", "lighting", "blur"))
    assert list(tmp_path.iterdir()) == [tmp_path / "p.jpg"]
    code, said, _ = call(*data, "--out", tmp_path / "out", "--steps", 1)
    assert code == 0 and re.search(r"\d+% of the positive pairs show one frame twice .* show flat fill", said)
    write_shard(tmp_path / "far", frames=2)
    code, _, errors = call(*data, "--out", tmp_path / "no", "--set", "data.gap=0")
    assert code == 0, errors  # asked for: every pair from one frame
    assert call(*data)[0] == 2  # neither --out nor --dry-run
    for given in (data, ["--data", tmp_path / "none"]):
        code, said, errors = call(*given, "--dry-run", "--out", tmp_path / "p.jpg")
        assert (code, said) == (2, "") and "--out expects a folder" in errors and errors.count("\n") == 1
    code, _, errors = call("--data", tmp_path / "none", "--dry-run", "--out", tmp_path / "out")
    assert code == 2 and "found none" in errors and errors.count("\n") == 1
    code, _, errors = call(*data, "--dry-run", "--out", tmp_path / "out")
    assert code == 0 and "training would not begin" in errors and "already holds a run" in errors


def test_a_step_that_cannot_be_computed_is_refused_and_changes_nothing(home: Path):
    preset = load_preset(home / "tiny.toml", {"train.from_scratch": True})
    pairs = open_pairs(home / "data", preset.crops, preset.data)
    net = build_network(preset, torch.device("cpu"))
    before, random = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    check_step(net, preset, pairs, 4)
    with pytest.raises(ConfigError, match=r"needs .* GB of memory, and .* train\.batch=\d+ or less"):
        check_step(net, preset, pairs, 10**9)
    check_step(net, preset, pairs, 10**9, check_memory=False)
    small = replace(preset, crops=replace(preset.crops, template_crop=1))
    with pytest.raises(ConfigError, match=r"does not take crops of 1 \(template\) and 127 pixels"):
        check_step(net, small, open_pairs(home / "data", small.crops, small.data), 4)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
