"""SiamCAR's targets and losses against those of its published code, values and gradients."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from siamtrack.models.families.siamcar import SiamCar, SidesCoder, SideTargets, car_loss
from siamtrack.models.losses import TrainingBatch

CELLS = 25
WEIGHTS = {"cls": 1.0, "cen": 1.0, "loc": 3.0}


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, Tensor]:
    arrays = np.load(shared / "golden" / "blocks" / "block_siamcar_losses.npz")
    return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays}


@pytest.fixture(scope="module")
def targets(recorded: dict[str, Tensor]) -> SideTargets:
    boxes = recorded["boxes_xyxy"].float()
    present = torch.ones(len(boxes), dtype=torch.bool)
    return SidesCoder(8.0).encode(boxes, present, CELLS, 255, points=recorded["locations"])


def test_targets(recorded: dict[str, Tensor], targets: SideTargets) -> None:
    assert torch.equal(targets.positive, recorded["labels"] == 1)
    assert torch.equal(targets.sides, recorded["reg_targets"])
    found = targets.centreness[targets.positive]
    torch.testing.assert_close(found, recorded["centerness_targets_pos"], rtol=1e-6, atol=1e-7)


def test_losses_and_gradients(recorded: dict[str, Tensor], targets: SideTargets) -> None:
    maps = {name: recorded[name].clone().requires_grad_() for name in ("cls", "loc", "cen")}
    # The reference's `loc` is recorded after its exp.
    terms = car_loss({**maps, "loc": maps["loc"].log()}, targets)
    for name, term in terms.items():
        torch.testing.assert_close(term.detach(), recorded[f"{name}_loss"], rtol=1e-6, atol=0)
    total = torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
    torch.testing.assert_close(total.detach(), recorded["total"], rtol=1e-6, atol=0)
    total.backward()
    for name, value in maps.items():
        torch.testing.assert_close(value.grad, recorded[f"grad_{name}"], rtol=1e-4, atol=1e-8)


def _maps(batch: int, cells: int = 9) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(batch, channels, cells, cells, generator=rng).requires_grad_()
        for name, channels in (("cls", 2), ("loc", 4), ("cen", 1))
    }


def test_a_batch_without_positives_trains_the_background_alone() -> None:
    maps = _maps(2)
    absent = torch.zeros(2, dtype=torch.bool)
    targets = SidesCoder(8.0).encode(torch.tensor([[30.0, 30, 90, 90]] * 2), absent, 9, 127)
    terms = car_loss(maps, targets)
    background = -maps["cls"].log_softmax(1)[:, 0].mean() / 2
    torch.testing.assert_close(terms["cls"], background)
    assert not terms["cen"].any() and not terms["loc"].any()
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(torch.isfinite(m.grad).all() for m in maps.values())


def test_one_positive_cell_counts() -> None:
    maps = _maps(1)
    box = torch.tensor([[60.0, 60, 68, 68]])
    targets = SidesCoder(8.0).encode(box, torch.ones(1, dtype=torch.bool), 9, 127)
    assert int(targets.positive.sum()) == 1
    logits = maps["cls"].detach().log_softmax(1).flatten(2)
    place = int(targets.positive[0].nonzero())
    rest = (logits[0, 0].sum() - logits[0, 0, place]) / 80
    expected = -0.5 * (logits[0, 1, place] + rest)
    torch.testing.assert_close(car_loss(maps, targets)["cls"].detach(), expected)


def test_a_perfect_prediction_costs_little() -> None:
    targets = SidesCoder(8.0).encode(torch.tensor([[33.0, 40, 95, 88]]), torch.ones(1, dtype=torch.bool), 9, 127)
    sure = torch.where(targets.positive, 20.0, -20.0).view(1, 1, 9, 9)
    loc = targets.sides.clamp(min=1e-3).log().transpose(1, 2).reshape(1, 4, 9, 9)
    cen = targets.centreness.clamp(1e-6, 1 - 1e-6).logit().view(1, 1, 9, 9)
    terms = car_loss({"cls": torch.cat([-sure, sure], 1), "loc": loc, "cen": cen}, targets)
    assert float(terms["cls"]) < 1e-6 and float(terms["loc"]) == pytest.approx(0, abs=1e-5)
    entropy = [-(c * math.log(c) + (1 - c) * math.log(1 - c)) if 0 < c < 1 else 0.0
               for c in targets.centreness[targets.positive].tolist()]  # fmt: skip
    assert float(terms["cen"]) == pytest.approx(float(np.mean(entropy)), rel=1e-4, abs=1e-4)


def test_the_papers_equations_cell_by_cell() -> None:
    """Equations 3 to 7 of SiamCAR with plain cross-entropy; the indicator of equation 5 is the whole box."""
    maps, box = _maps(1), (41.0, 37.0, 97.0, 81.0)
    here = torch.ones(1, dtype=torch.bool)
    targets = SidesCoder(8.0, shrink=0.0).encode(torch.tensor([box]), here, 9, 127)
    terms = {name: float(term.detach()) for name, term in car_loss(maps, targets, plain=True).items()}
    values = {name: value.detach().double()[0] for name, value in maps.items()}
    cls, cen, loc = [], [], []
    for row in range(9):
        for column in range(9):
            x, y = 63.5 + 8 * (column - 4), 63.5 + 8 * (row - 4)
            left, top, right, bottom = x - box[0], y - box[1], box[2] - x, box[3] - y
            inside = min(left, top, right, bottom) > 0
            cls.append(-float(values["cls"][:, row, column].log_softmax(0)[int(inside)]))
            if inside:
                width = min(left, right) / max(left, right)
                centre = math.sqrt(width * min(top, bottom) / max(top, bottom))
                guess = 1 / (1 + math.exp(-float(values["cen"][0, row, column])))
                cen.append(-(centre * math.log(guess) + (1 - centre) * math.log(1 - guess)))
                a, b, c, d = values["loc"][:, row, column].exp().tolist()
                inter = (min(a, left) + min(c, right)) * (min(b, top) + min(d, bottom))
                union = (a + c) * (b + d) + (left + right) * (top + bottom) - inter
                loc.append(-math.log(inter / union))
    assert len(loc) == 7 * 6  # of 81 cells
    for name, found in (("cls", cls), ("cen", cen), ("loc", loc)):
        assert terms[name] == pytest.approx(float(np.mean(found)), rel=1e-5), name


@pytest.mark.parametrize("change", [{}, {"shrink": 0.0}, {"plain_loss": True}])
def test_the_model_s_settings_choose_the_loss(change: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = SiamCar(backbone="mobilenetv2", levels=(3,), width=16, light=True, tower=1, unit=16.0, **change)
    net = model.build().eval()
    rng = torch.Generator().manual_seed(0)
    z, x = (torch.rand(1, 3, side, side, generator=rng) * 255 for side in (63, 127))
    box, here = torch.tensor([[41.0, 37, 97, 81]]), torch.ones(1, dtype=torch.bool)
    with torch.inference_mode():
        terms = model.loss(net, TrainingBatch(z, x, box, here, torch.tensor([[12.0, 16, 52, 48]])), [rng])
        maps = net.respond(net.embed(z, torch.tensor([[40.0, 32]])), x)
        targets = SidesCoder(8.0, shrink=change.get("shrink", 0.6)).encode(box, here, maps["cls"].shape[-1], 127)
        expected = car_loss(maps, targets, change.get("plain_loss", False))
        usual = car_loss(maps, SidesCoder(8.0).encode(box, here, maps["cls"].shape[-1], 127))
    for name in WEIGHTS:
        torch.testing.assert_close(terms[name], expected[name])
    assert bool(change) == (abs(float(usual["loc"] - terms["loc"])) > 1e-5)
