"""Single parts against recorded inputs and outputs of the reference implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from references import spread_error
from siamtrack.geometry.boxes import cxcywh_to_xyxy
from siamtrack.geometry.grid import cosine_window, grid_positions
from siamtrack.models.correlation import cross, depthwise, up_channel
from siamtrack.models.families.siamcar import CarHead
from siamtrack.models.families.siamfc import ScoreHead, siamfc_labels, siamfc_loss
from siamtrack.models.heads import AnchorCoder, AnchorTargets, RpnHead, rpn_loss
from siamtrack.models.importing import import_state_dict

Arrays = dict[str, Tensor]


def load(shared: Path, name: str) -> Arrays:
    with np.load(shared / "golden" / "blocks" / f"block_{name}.npz") as recorded:
        return {key: torch.from_numpy(recorded[key]) for key in recorded.files}


class _OnlyHead(nn.Module):
    """A head where a network has it, so that the import can name its parameters."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head


def import_head(
    head: nn.Module, arrays: Arrays, prefix: str, source: str = "pysot", root: str = "rpn_head."
) -> nn.Module:
    state = {root + key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    import_state_dict(state, source, _OnlyHead(head))
    return head.eval()


# ------------------------------------------------------------------------------------------------ anchors
def test_anchors(shared: Path) -> None:
    recorded = load(shared, "pysot_anchors")
    coder = AnchorCoder()
    base = recorded["base_xyxy"]
    assert torch.equal(coder.shapes(), base[:, 2:] - base[:, :2])
    ours = coder.anchors(25, 255)
    # The reference counts from the middle of the first pixel, we from its edge.
    theirs = recorded["all_center"].flatten(1).T + torch.tensor([0.5, 0.5, 0, 0])
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(cxcywh_to_xyxy(ours), recorded["all_corner"].flatten(1).T + 0.5, atol=1e-5)


@pytest.mark.parametrize("name", ["pysot_siamrpn_alex_dwxcorr", "pysot_siamrpn_r50_l234_dwxcorr"])
def test_tracking_anchors_and_window(shared: Path, name: str) -> None:
    cells, size = {"pysot_siamrpn_alex_dwxcorr": (21, 287), "pysot_siamrpn_r50_l234_dwxcorr": (25, 255)}[name]
    with np.load(shared / "golden" / "networks" / f"{name}.npz") as recorded:
        anchors = torch.from_numpy(recorded["anchors_cxcywh"])
        window = torch.from_numpy(recorded["window"])
    ours = AnchorCoder().anchors(cells, size)
    assert torch.allclose(ours - torch.tensor([size / 2, size / 2, 0, 0]), anchors, atol=1e-5)
    assert torch.allclose(cosine_window(grid_positions(cells)).repeat(5).double(), window, atol=1e-6)


@pytest.mark.parametrize("index", range(6))
def test_anchor_targets(shared: Path, index: int) -> None:
    recorded = load(shared, "pysot_anchor_target")
    theirs = {key.removesuffix(f"_{index}"): value for key, value in recorded.items() if key.endswith(f"_{index}")}
    box = recorded["boxes"][index : index + 1].float() + 0.5
    coder = AnchorCoder()
    overlap = coder.overlaps(box, 25, 255).reshape(5, 25, 25)
    assert torch.allclose(overlap, theirs["overlap"], atol=1e-5)
    assert torch.equal(overlap > coder.high, theirs["all_pos"])
    assert torch.equal(overlap < coder.low, theirs["all_neg"])
    generator = torch.Generator().manual_seed(0)
    targets = coder.encode(box, torch.tensor([True]), 25, 255, generator)
    assert torch.allclose(targets.deltas[0], theirs["delta"], atol=1e-5)
    labels = targets.labels[0]
    assert not (labels == 1)[~theirs["all_pos"]].any()
    assert not (labels == 0)[~theirs["all_neg"]].any()
    for value in (0, 1):
        assert int((labels == value).sum()) == int((theirs["cls"] == value).sum())
    assert torch.allclose(targets.weights[0][labels == 1], theirs["weight"][theirs["cls"] == 1], atol=1e-5)
    assert not targets.weights[0][labels != 1].any()


@pytest.mark.parametrize("index", range(6))
def test_anchor_targets_of_a_negative_pair(shared: Path, index: int) -> None:
    recorded = load(shared, "pysot_anchor_target")
    theirs = recorded[f"negcls_{index}"]
    box = recorded["boxes"][index : index + 1].float() + 0.5
    coder = AnchorCoder()
    around = coder.around(box, 25, 255).reshape(5, 25, 25)
    assert around[theirs == 0].all()
    assert int(around.sum()) == 5 * 49
    targets = coder.encode(box, torch.tensor([False]), 25, 255, torch.Generator().manual_seed(0))
    assert int((targets.labels == 0).sum()) == int((theirs == 0).sum()) == 16
    assert not (targets.labels == 1).any()
    assert not targets.weights.any()


# ------------------------------------------------------------------------------------ correlations and heads
def test_correlations(shared: Path) -> None:
    recorded = load(shared, "pysot_xcorr_heads")
    assert spread_error(depthwise(recorded["dw_k"], recorded["dw_x"]), recorded["dw_out"]) < 1e-5
    assert spread_error(up_channel(recorded["fast_k"], recorded["dw_x"]), recorded["fast_out"]) < 1e-5


@pytest.mark.parametrize("prefix", ["up", "dwr", "mr"])
def test_proposal_heads(shared: Path, prefix: str) -> None:
    recorded = load(shared, "pysot_xcorr_heads")
    z, x = recorded[f"{prefix}_z"], recorded[f"{prefix}_x"]
    heads = {
        "up": RpnHead((16,), 5, "up"),
        "dwr": RpnHead((16,), 5, "depthwise", hidden=24),
        "mr": RpnHead((16, 16, 16), 5, "depthwise", "weighted"),
    }
    head = import_head(heads[prefix], recorded, f"{prefix}.")
    levels = 3 if prefix == "mr" else 1
    with torch.inference_mode():
        maps = head(_levels(z, levels), _levels(x, levels))
    assert spread_error(maps["cls"], recorded[f"{prefix}_cls"]) < 1e-5
    assert spread_error(maps["loc"], recorded[f"{prefix}_loc"]) < 1e-5


def test_weights_without_a_gain_answer_the_same_in_a_network_that_has_one(shared: Path) -> None:
    recorded = load(shared, "pysot_xcorr_heads")
    head = import_head(RpnHead((16,), 5, "up", gain=0.001), recorded, "up.")
    with torch.inference_mode():
        maps = head((recorded["up_z"],), (recorded["up_x"],))
    assert spread_error(maps["cls"], recorded["up_cls"]) < 1e-5
    assert spread_error(maps["loc"], recorded["up_loc"]) < 1e-5


def _levels(features: Tensor, levels: int) -> tuple[Tensor, ...]:
    return tuple(features) if features.ndim == 5 else (features,) * levels


def test_siamcar_head(shared: Path) -> None:
    recorded = load(shared, "siamcar_losses")

    class Given(nn.Module):
        def forward(self, template: tuple[Tensor, ...], search: tuple[Tensor, ...]) -> Tensor:
            return search[0]

    head = CarHead(Given(), 64, 4, separable=False, unit=1.0)
    import_head(head, recorded, "head.", "siamcar", "car_head.")
    with torch.inference_mode():
        maps = head((), (recorded["head_x"],))
    assert spread_error(maps["cls"], recorded["head_cls"]) < 1e-5
    assert spread_error(maps["cen"], recorded["head_cen"]) < 1e-5
    assert spread_error(maps["loc"].exp(), recorded["head_loc"]) < 1e-5


def test_siamfc_correlation(shared: Path) -> None:
    recorded = load(shared, "siamfc")
    out = ScoreHead(0.001, 0.0, False)((recorded["xc_z"],), (recorded["xc_x"],))["response"]
    assert spread_error(out, recorded["xc_out"]) < 1e-5
    one = cross(recorded["xc_z1"].expand(3, -1, -1, -1), recorded["xc_x"]) * 0.001
    assert spread_error(one, recorded["xc_out1"]) < 1e-5


# ------------------------------------------------------------------------------------------------ losses
def test_proposal_losses_and_their_gradients(shared: Path) -> None:
    recorded = load(shared, "pysot_losses")
    maps = {"cls": recorded["cls_raw"].requires_grad_(), "loc": recorded["loc"].requires_grad_()}
    targets = AnchorTargets(recorded["label_cls"], recorded["label_loc"], recorded["label_weight"])
    terms = rpn_loss(maps, targets)
    assert torch.allclose(terms["cls"], recorded["cls_loss"], rtol=1e-5)
    assert torch.allclose(terms["loc"], recorded["loc_loss"], rtol=1e-5)
    (terms["cls"] + 1.2 * terms["loc"]).backward()
    assert spread_error(maps["cls"].grad, recorded["grad_cls"]) < 1e-4
    assert spread_error(maps["loc"].grad, recorded["grad_loc"]) < 1e-4


def test_proposal_loss_without_a_positive_and_with_one(shared: Path) -> None:
    recorded = load(shared, "pysot_losses")
    logits = recorded["cls_raw"][:1]

    def loss(labels: Tensor) -> Tensor:
        shape = labels.shape
        empty = AnchorTargets(labels, torch.zeros(shape[0], 4, *shape[1:]), torch.zeros(shape))
        return rpn_loss({"cls": logits, "loc": torch.zeros(1, 20, 25, 25)}, empty)["cls"]

    assert torch.allclose(loss(recorded["label_nopos"]), recorded["cls_loss_nopos"], rtol=1e-5)
    # The reference forgets a single positive: what it recorded is the negative half alone.
    one = recorded["label_onepos"]
    surprise = -logits.unflatten(1, (2, 5)).log_softmax(1)[:, 1][one == 1]
    assert len(surprise) == 1
    assert torch.allclose(loss(one), recorded["cls_loss_onepos"] + 0.5 * surprise[0], rtol=1e-5)


@pytest.mark.parametrize("cells", [15, 17])
def test_siamfc_labels(shared: Path, cells: int) -> None:
    theirs = load(shared, "siamfc")[f"labels_{cells}"]
    centred = torch.tensor([[87.5, 107.5, 167.5, 147.5]]).expand(2, -1)
    ours = siamfc_labels(centred, torch.tensor([True, True]), cells, 255)
    assert torch.equal(ours.float().reshape(2, 1, cells, cells), theirs)


def test_siamfc_loss_and_its_gradient(shared: Path) -> None:
    recorded = load(shared, "siamfc")
    response = recorded["resp"].requires_grad_()
    terms = siamfc_loss({"response": response}, recorded["labels_15"].flatten(1).bool())
    assert torch.allclose(terms["cls"], recorded["balanced_loss"], rtol=1e-5)
    terms["cls"].backward()
    assert spread_error(response.grad, recorded["balanced_grad"]) < 1e-4
