"""The study of centre bias in tiny steps, and its measures on networks whose bias is known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from siamtrack.apps.cli.main import run
from siamtrack.config import Preset
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import DataError
from siamtrack.geometry.grid import grid_points, grid_positions
from siamtrack.models.siamese import Candidates
from siamtrack.studies.center_bias import heat_map, hold_out, measure
from training_toys import write_sequence, write_shard

CELLS = 25


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> ResidentSet:
    return ResidentSet.load(write_shard(tmp_path_factory.mktemp("study") / "data", tracks=12, frames=1))


class Known(nn.Module):
    """A network that always answers the middle, or finds the made patch by its place in the crop."""

    def __init__(self, blind: bool) -> None:
        super().__init__()
        self.blind = blind

    def embed(self, patch: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        return (patch,)

    def match(self, template: tuple[Tensor, ...], patch: Tensor, sizes: Tensor) -> Candidates:
        points = grid_points(CELLS, 8, patch.shape[-1])
        centres = self.wanted(patch)
        scores = torch.exp(-((points[None] - centres[:, None]) ** 2).sum(-1) / 200)
        return Candidates(points.expand(len(patch), -1, -1), None, scores, grid_positions(CELLS), CELLS, stride=8)

    def wanted(self, patch: Tensor) -> Tensor:
        middle = torch.full((len(patch), 2), patch.shape[-1] / 2)
        if self.blind:
            return middle
        # The patch is all that changes fast: the centre of its edges is its own.
        edges = (patch[..., 1:, 1:] - patch[..., :-1, :-1]).abs().sum(1)
        edges = torch.where(edges > 90, edges, 0.0)
        line = torch.arange(edges.shape[-1]) + 1.0
        total = edges.sum((1, 2)).clamp(min=1)
        return torch.stack([(edges.sum(1) * line).sum(1) / total, (edges.sum(2) * line).sum(1) / total], 1)


def test_the_measures_tell_a_biased_network_from_one_that_looks(crops: ResidentSet) -> None:
    preset = Preset("known")
    blind = measure(Known(blind=True), preset, crops, 64)
    looks = measure(Known(blind=False), preset, crops, 64)
    assert blind.crops == looks.crops == 64 and len(blind.heat) == CELLS
    assert blind.middle > 5 > 2 > looks.middle
    assert blind.hits[0] == 1 and blind.hits[1:] == [0, 0]
    assert min(looks.hits) > 0.6
    assert sum(map(sum, blind.heat)) == pytest.approx(1, abs=1e-3)
    assert measure(Known(blind=True), preset, crops, 64, stop=lambda: True) is None


def test_heat_maps_keep_the_best_of_a_cell_in_its_place() -> None:
    places = grid_positions(3)
    scores = torch.arange(18.0).view(1, 18)
    maps = heat_map(Candidates(torch.zeros(1, 18, 2), None, scores, torch.cat([places, places])))
    assert torch.equal(maps[0], torch.arange(9.0, 18).view(3, 3))


def test_held_out_objects_are_not_trained_on(crops: ResidentSet) -> None:
    kept, tested = hold_out(crops, 0.25)
    assert len(kept) == 9 and len(tested) == 3 and len(kept.keys) == len(kept.images)
    assert not set(kept.tracks.tolist()) & set(tested.tracks.tolist())
    with pytest.raises(DataError, match="too few"):
        hold_out(crops, 0.01)


def test_the_command_in_two_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    write_shard(tmp_path / "data", tracks=10, frames=1)
    write_sequence(tmp_path / "val", frames=3)
    tiny = [
        "model.backbone=mobilenetv2",
        "model.width=16",
        "model.tower=0",
        "train.precision=float32",
        "train.from_scratch=true",
    ]
    tiny += [
        "train.steps=2",
        "train.batch=2",
        "crops.template=63",
        "crops.search=127",
        "train.frozen_stages=2",
    ]
    arguments = ["study", "center-bias", "--data", tmp_path / "data", "--out", tmp_path / "out", "--crops", 6]
    arguments += [part for text in tiny for part in ("--set", text)]
    two = ["--shift", 0, "--shift", 16, "--processes", 2, "--out", tmp_path / "two"]
    for extra in (["--shift", 0], ["--shift", 16, "--val", tmp_path / "val"], two):
        monkeypatch.setattr(sys, "argv", ["siamtrack", *map(str, [*arguments, *extra])])
        try:
            run()
        except SystemExit as end:
            assert not end.code
    results = [json.loads((tmp_path / f"out/shift-{s}/result.json").read_text()) for s in (0, 16)]
    assert [r["shift"] for r in results] == [0, 16] and [r["crops"] for r in results] == [6, 6]
    assert results[0]["success"] is None and 0 <= results[1]["success"] <= 1
    for alone in results:  # two processes measure what one does
        shared = json.loads((tmp_path / f"two/shift-{alone['shift']}/result.json").read_text())
        assert shared | {"success": None} == alone | {"success": None}
    assert (tmp_path / "out" / "center_bias.png").read_bytes().startswith(b"\x89PNG")
    assert "success" in capsys.readouterr().out
