"""A score is the evaluation's own, frames are decoded once, and networks are shared where they may be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from quick import QuickTracker, QuickVariants, Silent, sequences
from torch import Tensor, nn

from references import embed
from siamtrack.config import Crops, Preset, Track, preset_to_json
from siamtrack.evaluation.evaluate import run_sequence, score_store
from siamtrack.evaluation.store import Store
from siamtrack.evaluation.suites import find_suite
from siamtrack.evaluation.trackers import find_tracker
from siamtrack.formats.datasets import read_dataset
from siamtrack.geometry.grid import grid_points, grid_positions
from siamtrack.models.families import SaSiam, SiamCar
from siamtrack.models.families.sa_siam import Blend
from siamtrack.models.siamese import Candidates
from siamtrack.models.weights import fold_norms, save_weights
from siamtrack.tracking.torch_engine import TorchEngine
from siamtrack.tracking.tracker import Tracker
from siamtrack.tuning.scores import Decoded, Ledger, ModelVariants, Scorer, retuned
from siamtrack.tuning.search import make_space
from siamtrack.tuning.tune import TuningPlan, tune


@pytest.mark.parametrize("window", [0.31, 0.333333, 0.5])
def test_the_score_is_that_of_the_evaluation(tmp_path: Path, window: float) -> None:
    (one,) = sequences(tmp_path / "data", {"a": 0.4})
    preset = replace(QuickVariants().preset, track=Track(window=window, penalty=0.1))
    suite, store = find_suite("folder"), Store(tmp_path / "store", "ope")
    run_sequence(QuickTracker(preset.track), one, suite.protocol, store)
    wanted = score_store(store, suite, [one]).metrics["success_auc"]
    assert Scorer(QuickVariants()).score(preset, one) == wanted


@dataclass(frozen=True)
class Counted:
    """Frames that know how often each was decoded."""

    shape: tuple[int, int, int] = (10, 20, 3)
    reads: list[int] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        return self.shape[1], self.shape[0]

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> np.ndarray:
        self.reads.append(index)
        return np.full(self.shape, index, np.uint8)


def test_frames_are_decoded_once_as_far_as_memory_reaches() -> None:
    source = Counted()
    frames = Decoded(source, memory=3 * 600 + 599)
    for _ in range(3):
        assert [int(frames[n][0, 0, 0]) for n in range(4)] == [0, 1, 2, 3]
    assert source.reads == [0, 1, 2, 3, 3, 3] and frames.size == (20, 10) and len(frames) == 4
    with pytest.raises(ValueError, match="read-only"):
        frames[0][0] = 9


class Bright(nn.Module):
    """Scores each place by its brightness: what is whiter than the target draws it away."""

    def embed(self, patch: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        return (patch,)

    def match(self, template: tuple[Tensor, ...], patch: Tensor, sizes: Tensor) -> Candidates:
        side = patch.shape[-1]
        scores = F.avg_pool2d(patch.mean(1, keepdim=True), 31, 8)
        cells = scores.shape[-1]
        points = grid_points(cells, 8, side).expand(len(patch), -1, -1)
        sizes = torch.full_like(points, 31.75)
        return Candidates(points, sizes, scores.flatten(1) / 255, grid_positions(cells), cells)


@dataclass(frozen=True)
class BrightVariants:
    preset: Preset
    name: str = "bright"
    identity: dict[str, Any] = field(default_factory=dict)

    def open(self) -> Any:
        base = TorchEngine(Bright(), self.preset)
        return lambda preset: Tracker(retuned(base, preset))


def write_distracted(root: Path, name: str, seed: int) -> None:
    """A grey square that walks, and a white one that comes near it."""
    images = root / name / "img"
    images.mkdir(parents=True)
    rows = []
    for n in range(6):
        image = np.zeros((120, 160, 3), np.uint8)
        image[40:60, 40 + 2 * n : 60 + 2 * n] = 200
        image[40 + seed : 60 + seed, 78:98] = 255
        cv2.imwrite(str(images / f"{n:04d}.png"), image)
        rows.append(f"{40 + 2 * n},40,20,20")
    (root / name / "groundtruth.txt").write_text("\n".join(rows) + "\n")


def test_the_window_that_a_real_tracker_needs_is_found(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b", "c")):
        write_distracted(tmp_path / "data", name, 3 * seed)
    preset = Preset("bright", crops=Crops(template=63, search=127), track=Track(window=0.0, penalty=0, rate=0))
    variants = BrightVariants(preset)
    space = make_space(preset, {"track.window": [0.0, 0.5]})
    ledger = Ledger.open(tmp_path / "scores.jsonl", variants.identity)
    found = tune(variants, read_dataset("folder", tmp_path / "data"), TuningPlan(space), ledger, Silent())
    assert found.choice == (0.5,) and found.worth_it
    assert found.table[0.0,].max() < 0.5 and found.table[0.5,].min() > 0.6


def test_the_blend_of_sa_siam_is_tuned_on_the_same_weights() -> None:
    preset = Preset("sa", model=SaSiam(semantic_levels=(5,), fused=8), crops=Crops(template_crop=255))
    net = preset.model.build()
    fold_norms(net)
    base = TorchEngine(net, preset)
    other = retuned(base, make_space(preset, {"model.appearance_weight": [0.3, 0.7]}).resolve((0.7,)))
    assert retuned(base, replace(preset, track=Track(window=0.1))).net is base.net
    patch = torch.rand(1, 3, 255, 255) * 255
    with torch.inference_mode():
        before = net.respond(embed(net, patch), patch)
        after = cast(Any, other.net).respond(embed(cast(Any, other.net), patch), patch)
    assert torch.equal(before["appearance"], after["appearance"])
    assert torch.equal(before["semantic"], after["semantic"])
    torch.testing.assert_close(after["response"], 0.7 * before["appearance"] + 0.3 * before["semantic"])
    assert cast(Blend, net.head).weight == 0.3


def test_a_models_file_is_loaded_once_and_tracked_with_as_the_setting_says(tmp_path: Path) -> None:
    model = SiamCar(backbone="mobilenetv2", levels=(3,), width=16, tower=1, light=True)
    preset = Preset("tiny", model=model, crops=Crops(template=63, search=127), track=Track(window=0.2))
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_weights(path, model.build(), {"preset": preset_to_json(preset)})
    variants = ModelVariants(find_tracker(str(path)))
    assert variants.preset == preset and variants.name == "tiny" and "weights" in variants.identity
    (one,) = sequences(tmp_path / "data", {"a": 0.4})
    make = variants.open()
    near, far = (make(replace(preset, track=Track(window=window))) for window in (0.0, 1.0))
    assert cast(Any, near).engine.net is cast(Any, far).engine.net
    box = one.truth[0]
    near.init(one.frames[0], box)
    far.init(one.frames[0], box)
    x, y, w, h = far.update(one.frames[1]).box
    # with nothing but the window the middle of the region wins, whatever the untrained network says
    assert abs(x + w / 2 - box[0] - 10) < 8 and abs(y + h / 2 - box[1] - 10) < 8
    assert near.update(one.frames[1]).box != (x, y, w, h)
    assert 0 < Scorer(variants).score(preset, one) <= 1
