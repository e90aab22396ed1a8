"""SiamCAR's targets and losses against those of its published code, values and gradients."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from siamtrack.models.families.siamcar import SidesCoder, SideTargets, car_loss

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
    return SidesCoder().encode(boxes, present, CELLS, 255, points=recorded["locations"])


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
    targets = SidesCoder().encode(torch.tensor([[30.0, 30, 90, 90]] * 2), absent, 9, 127)
    terms = car_loss(maps, targets)
    background = -maps["cls"].log_softmax(1)[:, 0].mean() / 2
    torch.testing.assert_close(terms["cls"], background)
    assert not terms["cen"].any() and not terms["loc"].any()
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(torch.isfinite(m.grad).all() for m in maps.values())


def test_one_positive_cell_counts() -> None:
    maps = _maps(1)
    box = torch.tensor([[60.0, 60, 68, 68]])
    targets = SidesCoder().encode(box, torch.ones(1, dtype=torch.bool), 9, 127)
    assert int(targets.positive.sum()) == 1
    logits = maps["cls"].detach().log_softmax(1).flatten(2)
    place = int(targets.positive[0].nonzero())
    rest = (logits[0, 0].sum() - logits[0, 0, place]) / 80
    expected = -0.5 * (logits[0, 1, place] + rest)
    torch.testing.assert_close(car_loss(maps, targets)["cls"].detach(), expected)


def test_a_perfect_prediction_costs_little() -> None:
    targets = SidesCoder().encode(torch.tensor([[33.0, 40, 95, 88]]), torch.ones(1, dtype=torch.bool), 9, 127)
    sure = torch.where(targets.positive, 20.0, -20.0).view(1, 1, 9, 9)
    loc = targets.sides.clamp(min=1e-3).log().transpose(1, 2).reshape(1, 4, 9, 9)
    cen = targets.centreness.clamp(1e-6, 1 - 1e-6).logit().view(1, 1, 9, 9)
    terms = car_loss({"cls": torch.cat([-sure, sure], 1), "loc": loc, "cen": cen}, targets)
    assert float(terms["cls"]) < 1e-6 and float(terms["loc"]) == pytest.approx(0, abs=1e-5)
    entropy = [-(c * math.log(c) + (1 - c) * math.log(1 - c)) if 0 < c < 1 else 0.0
               for c in targets.centreness[targets.positive].tolist()]  # fmt: skip
    assert float(terms["cen"]) == pytest.approx(float(np.mean(entropy)), rel=1e-4, abs=1e-4)
