"""Losses that count positives: two processes with a part each have the mean loss and gradient of the joint batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing import spawn  # type: ignore[attr-defined]

from siamtrack.models.families.siamfc import siamfc_loss
from siamtrack.models.families.spm import FineSamples, fine_loss
from siamtrack.models.heads import AnchorTargets, rpn_loss

PAIRS, CELLS, SAMPLES = 4, 5, 6
Terms = dict[str, Tensor]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def thinned(shape: tuple[int, ...], seed: int) -> Tensor:
    """Marks that are many in the first pair, fewer in the next, and none in the last two: each part differs."""
    share = torch.tensor([0.5, 0.2, 0, 0]).reshape(PAIRS, *[1] * (len(shape) - 1))
    return random(*shape, seed=seed) < share


def coarse(values: Tensor, rows: slice) -> Terms:
    positive = thinned((PAIRS, 5, CELLS, CELLS), 1)
    labels = torch.where(positive, 1, torch.where(thinned(tuple(positive.shape), 2), 0, -1))
    weights = positive / positive.flatten(1).sum(1).clamp(min=1)[:, None, None, None]
    deltas = random(PAIRS, 4, 5, CELLS, CELLS, seed=3)
    maps = {"cls": values[rows, :250].reshape(-1, 10, CELLS, CELLS), "loc": values[rows].reshape(-1, 20, CELLS, CELLS)}
    return rpn_loss(maps, AnchorTargets(labels[rows], deltas[rows], weights[rows]))


def fine(values: Tensor, rows: slice) -> Terms:
    positive, used = thinned((PAIRS, SAMPLES), 4), random(PAIRS, SAMPLES, seed=5) < 0.6
    offsets = random(PAIRS, SAMPLES, 4, seed=6)
    samples = FineSamples(offsets[rows], (positive & used)[rows], used[rows], offsets[rows])
    logits = values[rows, : 2 * SAMPLES].reshape(-1, SAMPLES, 2)
    return fine_loss(logits, 9 * values[rows, : 4 * SAMPLES].reshape(-1, SAMPLES, 4), samples)


def response(values: Tensor, rows: slice) -> Terms:
    labels = thinned((PAIRS, CELLS**2), 7)
    return siamfc_loss({"response": values[rows, : CELLS**2].reshape(-1, 1, CELLS, CELLS)}, labels[rows])


LOSSES: tuple[Callable[[Tensor, slice], Terms], ...] = (coarse, fine, response)


def answer(rows: slice) -> dict[str, tuple[float, Tensor]]:
    """Each term's value for some of the pairs, and its gradient."""
    found = {}
    for loss in LOSSES:
        values = random(PAIRS, 500, seed=8).requires_grad_()
        for name, term in loss(values, rows).items():
            (gradient,) = torch.autograd.grad(term, values, retain_graph=True)
            found[f"{loss.__name__}.{name}"] = (float(term.detach()), gradient)
    return found


def part(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        torch.save(answer(slice(2 * rank, 2 * rank + 2)), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    spawn(part, (str(tmp_path),), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    whole = answer(slice(None))
    assert len(whole) == 5
    for name, (value, gradient) in whole.items():
        values, gradients = zip(*(half[name] for half in halves), strict=True)
        assert sum(values) / 2 == pytest.approx(value, rel=1e-5), name
        torch.testing.assert_close(sum(gradients) / 2, gradient, msg=name)
        assert value > 0 and values[0] != pytest.approx(values[1]), name
