"""The training recipes of the published presets, value by value, against what papers and public code state.

`<name>` follows the authors' code and `<name>_paper` the paper's text where the two differ. Beside each value stands
where it is stated; files are those of the repository named above the table.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from siamtrack.config import Preset, load_preset
from siamtrack.training.parameters import backbone_trains, learning_rate

Recipe = dict[str, Any]

# STVIR/pysot: pysot/core/models/siamrpn_r50_l234_dwxcorr_8gpu/config.yaml ("yaml") and pysot/core/config.py ("config").
PYSOT_DATA: Recipe = {
    "data.sampling": "videos",  # pysot/datasets/dataset.py
    "crops.template": 127,  # yaml TRACK.EXEMPLAR_SIZE; SiamRPN++, section 4.1
    "crops.search": 255,  # yaml TRACK.INSTANCE_SIZE; SiamRPN++, section 4.1
    "data.template.shift": 4,  # yaml DATASET.TEMPLATE.SHIFT
    "data.template.scale": 0.05,  # yaml DATASET.TEMPLATE.SCALE
    "data.search.shift": 64,  # yaml DATASET.SEARCH.SHIFT; SiamRPN++, section 3.1
    "data.search.scale": 0.18,  # yaml DATASET.SEARCH.SCALE
    "data.template.law": "uniform",  # pysot/datasets/augmentation.py
    "data.search.law": "uniform",  # as above
    "data.blur": 0.2,  # yaml DATASET.SEARCH.BLUR
    "data.blur_law": "cross",  # pysot/datasets/augmentation.py
    "data.blur_templates": False,  # config DATASET.TEMPLATE.BLUR
    "data.lighting": 1,  # config DATASET.TEMPLATE.COLOR, DATASET.SEARCH.COLOR
    "data.flip": 0,  # yaml DATASET.SEARCH.FLIP
    "data.grey": 0,  # yaml DATASET.GRAY
    "data.negative_same": "any",  # get_random_target in pysot/datasets/dataset.py
    "data.frames_weight": 1,  # objects are drawn alike, however many frames they have
    "data.gap": 100,  # config DATASET.*.FRAME_RANGE of the other sets
    "data.gaps.vid": 100,  # config DATASET.VID.FRAME_RANGE
    "data.gaps.youtubebb": 3,  # config DATASET.YOUTUBEBB.FRAME_RANGE
    "data.source_counts.vid": 100_000,  # config DATASET.VID.NUM_USE
    "train.momentum": 0.9,  # config TRAIN.MOMENTUM; SiamRPN++, section 4.2
    "train.clip": 10,  # config TRAIN.GRAD_CLIP
    "train.backbone_rate": 0.1,  # yaml BACKBONE.LAYERS_LR; SiamRPN++, section 3.2
}
SIAMRPN: Recipe = PYSOT_DATA | {
    "model.ratios": (0.33, 0.5, 1, 2, 3),  # yaml ANCHOR.RATIOS
    "model.scale": 8,  # yaml ANCHOR.SCALES
    "model.loss_weights": (1, 1.2),  # yaml TRAIN.CLS_WEIGHT, TRAIN.LOC_WEIGHT
    "model.smooth_l1": False,  # weight_l1_loss in pysot/models/loss.py
    "data.negative": 0.2,  # yaml DATASET.NEG
    "train.batch": 8 * 28,  # yaml TRAIN.BATCH_SIZE, on 8 GPUs
    "train.epochs": 20,  # yaml TRAIN.EPOCH
    "pairs an epoch": 600_000,  # config DATASET.VIDEOS_PER_EPOCH
    "rate in epoch 1": 0.001,  # yaml TRAIN.LR_WARMUP.KWARGS.start_lr
    "rate in epoch 3": 0.001 * 5**0.4,  # LR_WARMUP.TYPE "step": geometric from 0.001 towards 0.005 in 5 epochs
    "rate in epoch 6": 0.005,  # yaml TRAIN.LR.KWARGS.start_lr
    "rate in epoch 20": 0.0005,  # yaml TRAIN.LR.KWARGS.end_lr
    "epochs of the heads alone": 10,  # yaml BACKBONE.TRAIN_EPOCH
    "train.frozen_stages": 2,  # stem and layer1: yaml BACKBONE.TRAIN_LAYERS names layer2 to layer4
    "train.weight_decay": 1e-4,  # config TRAIN.WEIGHT_DECAY
}
# siamrpn_alex_dwxcorr_16gpu/config.yaml of the same repository
SIAMRPN_ALEX: Recipe = PYSOT_DATA | {
    "crops.search": 287,  # yaml TRACK.INSTANCE_SIZE
    "data.negative": 0.05,  # yaml DATASET.NEG
    "data.source_counts": {"vid": 100_000},  # config DATASET.*.NUM_USE
    "train.backbone_rate": 1,  # yaml BACKBONE.LAYERS_LR
    "pairs an epoch": 600_000,  # config DATASET.VIDEOS_PER_EPOCH
}
# siamrpn_r50_l234_dwxcorr_lt/config.yaml of the same repository ("yaml"), whose training was not published.
SIAMRPN_LT: Recipe = SIAMRPN | {
    "model.width": (128, 256, 512),  # yaml ADJUST.ADJUST_CHANNEL
    "track.penalty": 0.05,  # yaml TRACK.PENALTY_K
    "track.window": 0.28,  # yaml TRACK.WINDOW_INFLUENCE
    "track.rate": 0.22,  # yaml TRACK.LR
    "track.lost_search": 831,  # config TRACK.LOST_INSTANCE_SIZE
    "track.search_lost_below": 0.8,  # yaml TRACK.CONFIDENCE_LOW
    "track.found_above": 0.998,  # yaml TRACK.CONFIDENCE_HIGH
}
# siamrpn_r50_l234_dwxcorr_otb/config.yaml of the same repository
SIAMRPN_OTB: Recipe = {key: value for key, value in PYSOT_DATA.items() if key != "data.grey"} | {
    "model.fusion": "mean",  # yaml RPN.WEIGHTED
    "track.penalty": 0.24,  # yaml TRACK.PENALTY_K
    "track.window": 0.5,  # yaml TRACK.WINDOW_INFLUENCE
    "track.rate": 0.25,  # yaml TRACK.LR
    "pairs an epoch": 600_000,  # config DATASET.VIDEOS_PER_EPOCH
}
# siamrpn_mobilev2_l234_dwxcorr/config.yaml of the same repository
SIAMRPN_MOBILE: Recipe = SIAMRPN | {
    "model.backbone": "mobilenetv2_140",  # yaml BACKBONE.TYPE, BACKBONE.KWARGS.width_mult
    "model.fusion": "mean",  # yaml RPN.WEIGHTED
    "track.penalty": 0.04,  # yaml TRACK.PENALTY_K
    "track.window": 0.4,  # yaml TRACK.WINDOW_INFLUENCE
    "track.rate": 0.5,  # yaml TRACK.LR
}
# SiamRPN, CVPR 2018. How pairs are drawn and moved is not in the text: PySOT's.
SIAMRPN_FIRST: Recipe = {
    "crops.template": 127,  # section 3.1
    "crops.search": 255,  # section 3.1
    "model.correlation": "up",  # section 3.2
    "model.ratios": (0.33, 0.5, 1, 2, 3),  # section 3.2
    "model.smooth_l1": True,  # section 3.2
    **{key: PYSOT_DATA[key] for key in PYSOT_DATA if key.startswith(("data.template.", "data.search."))},
    "data.sampling": "videos",
    "data.gap": 100,
    "data.gaps.youtubebb": 3,
    "data.negative": 0.0,  # section 5.1: both of one video
    "data.source_weights": dict.fromkeys(("coco", "det", "got10k", "lasot", "citypersons", "widerface"), 0),  # 5.1
    "train.epochs": 50,  # section 5.1
    "pairs an epoch": 50_000,  # not in the text
    "rate in epoch 1": 0.01,  # section 5.1
    "rate in epoch 50": 0.000001,  # section 5.1
    "epochs of the heads alone": 0,  # section 5.1: the last two convolutions learn from the beginning
    "train.frozen_stages": 3,  # section 5.1
    "train.backbone_rate": 1,  # section 5.1 names one rate
}
# DaSiamRPN, ECCV 2018, on top of it.
DASIAMRPN: Recipe = SIAMRPN_FIRST | {
    "data.negative": 0.2,  # section 3.2 has negative pairs, in a share that it does not name
    "data.flip": 0.5,
    "data.grey": 0.1,
    "data.blur": 0.2,  # section 3.2: motion blur
    "data.source_weights": dict.fromkeys(("got10k", "lasot", "citypersons", "widerface"), 0) | {"coco": 1, "det": 1},
    "track.lost_search": 767,  # section 4.1
    "track.lost_step": 128,  # section 3.4 has steps of one length, section 4.1 no number
    "track.search_lost_below": 0.8,  # section 4.1
    "track.found_above": 0.95,  # section 4.1
}
# SiamRPN++, CVPR 2019: the text, where it differs.
SIAMRPN_PAPER: Recipe = {
    "model.loss_weights": (1, 1),  # section 4.2, "sum of classification loss and ..."
    "model.smooth_l1": True,  # section 4.2
    "train.batch": 128,  # section 4.2
    "rate in epoch 3": 0.001,  # section 4.2
    "epochs of the heads alone": 5,  # section 4.2
    "train.frozen_stages": 0,  # section 4.2, "the whole network"
    "train.weight_decay": 5e-4,  # section 4.2
}

# ohhhyeahhh/SiamCAR: experiments/siamcar_r50/config.yaml ("yaml") and pysot/core/config.py ("config").
SIAMCAR: Recipe = PYSOT_DATA | {
    "model.loss_weights": (1, 1, 3),  # yaml TRAIN.CLS_WEIGHT, CEN_WEIGHT, LOC_WEIGHT; SiamCAR, section 3.2
    "model.shrink": 0.6,  # compute_targets_for_locations in pysot/models/loss_car.py
    "model.plain_loss": False,  # select_cross_entropy_loss and IOULoss in pysot/models/loss_car.py
    "track.select": "upsampled",  # pysot/tracker/siamcar_tracker.py
    "track.smallest_side": 1,  # bbox_clip from 0 in pysot/tracker/siamcar_tracker.py; a box has a pixel at least
    "track.window": 0.4,  # hp in tools/demo.py
    "track.penalty": 0.04,  # as above
    "track.rate": 0.3,  # as above
    "data.negative": 0.0,  # config DATASET.NEG, since June 2020; the yaml of before has 0.2
    "data.gaps.got10k": 50,  # config DATASET.GOT.FRAME_RANGE
    "data.gaps.lasot": 100,  # config DATASET.LaSOT.FRAME_RANGE
    "data.source_counts": dict.fromkeys(("vid", "got10k", "lasot"), 100_000),  # config DATASET.*.NUM_USE
    "train.batch": 80,  # yaml TRAIN.BATCH_SIZE
    "train.epochs": 20,  # yaml TRAIN.EPOCH; SiamCAR, section 4.1
    "pairs an epoch": 600_000,  # config DATASET.VIDEOS_PER_EPOCH
    "rate in epoch 1": 0.001,  # yaml TRAIN.LR_WARMUP.KWARGS.start_lr
    "rate in epoch 6": 0.005,  # yaml TRAIN.BASE_LR
    "rate in epoch 20": 0.0005,  # yaml TRAIN.LR.KWARGS.end_lr
    "epochs of the heads alone": 10,  # yaml BACKBONE.TRAIN_EPOCH; SiamCAR, section 4.1
    "train.frozen_stages": 2,  # yaml BACKBONE.TRAIN_LAYERS; SiamCAR, section 4.1, "the last 3 blocks"
    "train.weight_decay": 1e-4,  # config TRAIN.WEIGHT_DECAY
}
# SiamCAR, CVPR 2020: the text, where it differs.
SIAMCAR_PAPER: Recipe = {
    "model.shrink": 0.0,  # equation 5
    "model.plain_loss": True,  # section 3.2 and equation 4
    "track.select": "neighbours_weighted",  # equation 9 and section 3.3
    # None in the text: siamcar/core/config.py of the code published first, which averages boxes too, HP_SEARCH.OTB
    "track.penalty": 0.1,
    "track.rate": 0.15,
    "track.smallest_side": 10,  # _bbox_clip in its siamcar/tracker/siamcar_tracker.py
    "train.batch": 96,  # section 4.1
    "rate in epoch 1": 0.001,  # section 4.1
    "rate in epoch 6": 0.001 * 0.1 ** (5 / 19),  # no warm-up in section 4.1; the fall is the code's
    "rate in epoch 20": 0.0001,  # as above
}

# huanglianghua/siamfc-pytorch: siamfc/siamfc.py.
SIAMFC: Recipe = {
    "crops.template": 127,  # exemplar_sz
    "crops.search": 255,  # instance_sz
    "crops.context": 0.5,  # context
    "model.gain": 0.001,  # out_scale
    "track.window": 0.176,  # window_influence
    "track.rate": 0.59,  # scale_lr
    "model.scale_penalty": 0.9745,  # scale_penalty
    "model.enlarge": 16,  # response_up
    "data.sampling": "ordered",  # siamfc/datasets.py
    "train.batch": 8,  # batch_size
    "train.epochs": 50,  # epoch_num
    "pairs an epoch": 9_335 // 8 * 8,  # drop_last, of GOT-10k's training sequences
    "rate in epoch 1": 0.01,  # initial_lr
    "rate in epoch 50": 0.01 * 0.001 ** (49 / 50),  # ultimate_lr, after 50 epochs
    "train.momentum": 0.9,  # momentum
    "train.weight_decay": 5e-4,  # weight_decay
    "train.from_scratch": True,  # ops.init_weights
}

# microsoft/SA-Siam: configuration.py.
SA_SIAM: Recipe = {
    "crops.template": 127,  # z_image_size; SA-Siam, section 4.1
    "crops.template_crop": 255,  # SA-Siam, section 4.1
    "crops.search": 255,  # x_image_size; SA-Siam, section 4.1
    "model.appearance_weight": 0.3,  # SA-Siam, section 4.1
    "data.sampling": "spaced",  # datasets/vid.py of SiamFC-TensorFlow
    "data.gap": 100,  # max_frame_dist
    "data.template.shift": 4,  # CenterCrop(247), RandomCrop(239) in datasets/dataloader.py
    "data.search.shift": 4,  # as above
    "data.grey": 0,  # preprocessing_name siamese_fc_color; SA-Siam, section 4.1, "only color images"
    "data.negative": 0,  # pairs of one track in datasets/dataloader.py
    "train.batch": 8,  # batch_size
    "train.epochs": 30,  # epoch; SA-Siam, section 4.1
    "pairs an epoch": 53_200,  # num_examples_per_epoch
    "rate in epoch 1": 0.01,  # initial_lr; SA-Siam, section 4.1
    "rate in epoch 25": 0.01,  # num_epochs_per_decay, staircase; SA-Siam, section 4.1
    "rate in epoch 26": 0.001,  # lr_decay_factor; SA-Siam, section 4.1
    "epochs of the heads alone": 0,  # A-Net from scratch; SA-Siam, section 3.1
    "train.from_scratch": True,  # SA-Siam, section 3.1
    "train.momentum": 0,  # optimizer_config: SGD
    "train.weight_decay": 5e-4,  # embed_config.weight_decay
}
# SA-Siam, CVPR 2018: the text, where it differs.
SA_SIAM_PAPER: Recipe = {
    "data.sampling": "objects",  # section 4.1
    "data.distinct_frames": True,  # section 4.1: "a pair of images"
    "data.gap": 10_000,  # section 4.1: any two images of a tracklet
    "data.template.shift": 0,  # section 4.1: the target in the middle
    "data.search.shift": 0,  # section 4.1
    "data.template.scale": 0,  # section 4.1
    "data.search.scale": 0,  # section 4.1
    "data.template.law": "log",  # section 4.1: no change that a law would shape
    "data.search.law": "log",  # as above
}

# SPM-Tracker, CVPR 2019; names in capitals are those of siam_tracker/spm_tracker/config.py of microsoft/SPM-Tracker,
# which publishes settings of the training but no training.
SPM: Recipe = {
    "crops.template": 127,  # section 4.1
    "crops.template_crop": 271,  # init_tracker in siam_tracker/spm_tracker/inference.py
    "model.fine": "relation_3x3",  # SiamFeatFusion in siam_tracker/spm_tracker/modules/spm_tracker_fm.py
    "model.cls_weight": 0.5,  # INFERENCE.FM_SCORE_INFLUENCE of configs/spm_tracker/alexnet_c42_otb.yaml
    "model.box_weight": 3,  # INFERENCE.FM_BBOX_INFLUENCE, as above; section 4.3: 2 or 3
    "model.low_score": 0.1,  # INFERENCE.SCORE_THRESH_FACTOR, as above
    "track.window": 0.5,  # INFERENCE.WINDOWS_INFLUENCE, as above
    "track.rate": 0.5,  # INFERENCE.LR, as above
    "track.lost_search": 271,  # as the usual side: a lost target is searched for as any other
    "track.search_lost_below": 0.2,  # INFERENCE.MAX_SCORE_THRESHOLD, as above
    "track.found_above": 0.2,  # as above
    "track.smallest_side": 10,  # linear_inter in siam_tracker/spm_tracker/inference.py
    "crops.search": 271,  # section 4.3
    # Section 4.3: 0.33, 0.5, 1, 2 and 3, rounded by _ratio_enum in siam_tracker/utils/rpn.py.
    "model.ratios": ((14, 5), (11, 6), (8, 8), (6, 12), (5, 15)),
    "model.scale": 8,  # MODEL.ANCHOR_SCALES
    "model.template_cells": 6,  # section 4.1
    "model.fine_levels": (2, 4),  # section 4.1
    "model.loss_weights": (1, 2, 1, 1),  # section 4.2; TRAIN.CM_BBOX_LOSS_WEIGHT
    "model.smooth_l1": True,  # section 4.2
    "model.overlap": 0.5,  # section 4.3
    "model.proposals": 9,  # section 4.3
    "model.correlation_gain": 0.001,  # MODEL.CM_CLS_SCALE_FACTOR, CM_BBOX_SCALE_FACTOR
    # Neither names gaps, blur and lighting: PySOT's.
    "data.blur": 0.2,
    "data.blur_law": "cross",
    "data.blur_templates": False,
    "data.lighting": 1,
    "data.gap": 100,
    "data.gaps.youtubebb": 3,
    "data.video_share": 0.8,  # section 4.2: 4 : 1
    "data.negative": 0.5,  # section 4.2: 2 : 1 : 1, of which the half is of two objects
    "data.negative_same": 0.5,  # section 4.2: and the half of those of one category
    "data.same_category": True,  # section 3.2
    "data.source_weights": {"got10k": 0, "lasot": 0},  # section 4.2 names the other six
    "train.epochs": 50,  # section 4.2
    "pairs an epoch": 160_000,  # section 4.2
    "rate in epoch 1": 0.01,  # section 4.2
    "rate in epoch 50": 0.0001,  # section 4.2
    "epochs of the heads alone": 0,  # section 4.2: end-to-end
    "train.frozen_stages": 0,  # section 4.2
}

# SPM-Tracker, CVPR 2019: the text, where it differs.
SPM_PAPER: Recipe = {
    "crops.template_crop": 0,  # section 4.1
    "model.fine": "relation",  # section 3.3
    "track.lost_search": 0,  # section 4.3 keeps no box
}

# hqucv/siamban: experiments/siamban_r50_l234/config.yaml ("yaml") and siamban/core/config.py ("config").
SIAMBAN: Recipe = PYSOT_DATA | {
    "model.loss_weights": (1, 1),  # yaml TRAIN.CLS_WEIGHT, TRAIN.LOC_WEIGHT
    "track.smallest_side": 10,  # _bbox_clip in siamban/tracker/siamban_tracker.py
    "data.negative": 0.2,  # yaml DATASET.NEG
    "data.gaps.got10k": 100,  # config DATASET.GOT10K.FRAME_RANGE
    "data.gaps.lasot": 100,  # config DATASET.LASOT.FRAME_RANGE
    "data.source_counts.youtubebb": 200_000,  # config DATASET.YOUTUBEBB.NUM_USE
    "data.source_counts.coco": 100_000,  # config DATASET.COCO.NUM_USE
    "data.source_counts.det": 200_000,  # config DATASET.DET.NUM_USE
    "data.source_counts.got10k": 200_000,  # config DATASET.GOT10K.NUM_USE
    "data.source_counts.lasot": 200_000,  # config DATASET.LASOT.NUM_USE
    "train.batch": 8 * 28,  # yaml TRAIN.BATCH_SIZE, on 8 GPUs
    "train.epochs": 20,  # yaml TRAIN.EPOCH
    "pairs an epoch": 1_000_000,  # yaml DATASET.VIDEOS_PER_EPOCH
    "rate in epoch 1": 0.001,  # yaml TRAIN.LR_WARMUP.KWARGS.start_lr
    "rate in epoch 6": 0.005,  # yaml TRAIN.LR.KWARGS.start_lr
    "rate in epoch 20": 0.00005,  # yaml TRAIN.LR.KWARGS.end_lr
    "epochs of the heads alone": 10,  # yaml BACKBONE.TRAIN_EPOCH
    "train.frozen_stages": 2,  # yaml BACKBONE.TRAIN_LAYERS
    "train.weight_decay": 1e-4,  # config TRAIN.WEIGHT_DECAY
}

TWINS = {
    "siamrpn_r50": (SIAMRPN, SIAMRPN_PAPER),
    "siamcar_r50": (SIAMCAR, SIAMCAR_PAPER),
    "sa_siam": (SA_SIAM, SA_SIAM_PAPER),
    "spm": (SPM, SPM_PAPER),
}
OTHERS = {
    "siamban_r50": SIAMBAN, "siamrpn_alex": SIAMRPN_ALEX, "siamrpn_r50_lt": SIAMRPN_LT, "siamrpn_r50_otb": SIAMRPN_OTB,
    "siamrpn_mobilev2": SIAMRPN_MOBILE, "siamrpn": SIAMRPN_FIRST, "dasiamrpn": DASIAMRPN, "siamfc": SIAMFC,
}  # fmt: skip
RECIPES = OTHERS | {
    name: recipe
    for base, (code, paper) in TWINS.items()
    for name, recipe in ((base, code), (f"{base}_paper", code | paper))
}
# What a twin may set besides what its recipe names: what the values above are computed from.
FOLLOWS = {"train.steps", "train.lr", "train.warmup", "train.warmup_shape", "train.unfreeze_at", "track.published_rate"}


def stated(preset: Preset, key: str) -> Any:
    """A value of a recipe as the resolved preset has it."""
    train = preset.train
    starts = [-(-train.steps * epoch // train.epochs) for epoch in range(train.epochs)]
    if key.startswith("rate in epoch "):
        return learning_rate(train, starts[int(key.rpartition(" ")[2]) - 1])
    if key == "pairs an epoch":
        return train.steps * train.batch / train.epochs
    if key == "epochs of the heads alone":
        return sum(not backbone_trains(train, step + 1) for step in starts)
    value = asdict(preset)
    for part in key.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize("name", RECIPES)
def test_a_preset_has_the_stated_values(name: str) -> None:
    preset = load_preset(name)
    found = {key: stated(preset, key) for key in RECIPES[name]}
    # Steps are whole, so that an epoch may have a few pairs more or fewer; a drop's share has 4 digits.
    assert found.pop("pairs an epoch") == pytest.approx(RECIPES[name]["pairs an epoch"], rel=1e-4)
    for key, value in found.items():
        expected = RECIPES[name][key]
        assert value == (pytest.approx(expected) if isinstance(expected, float) else expected), key


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_differs_in_what_the_text_says_and_in_nothing_else(name: str) -> None:
    code, paper = (asdict(load_preset(twin)) for twin in (name, f"{name}_paper"))
    differing = {
        key
        for section in ("model", "crops", "track", "data", "train")
        for key, value in _flat(section, code[section]).items()
        if _flat(section, paper[section]).get(key) != value
    }
    named = {key for key in TWINS[name][1] if "." in key}
    assert named <= differing <= named | FOLLOWS
    assert all(TWINS[name][0].get(key) != value for key, value in TWINS[name][1].items() if key != "rate in epoch 1")


# HP_SEARCH of siamcar/core/config.py, the code published first: rate, penalty, window.
@pytest.mark.parametrize(("benchmark", "numbers"), [("got10k", (0.6, 0.04, 0.1)), ("lasot", (0.33, 0.04, 0.4))])
def test_a_benchmark_s_twin_is_the_text_s_recipe_with_the_benchmark_s_numbers(
    benchmark: str, numbers: tuple[float, float, float]
) -> None:
    code, text = load_preset(f"siamcar_r50_{benchmark}"), load_preset("siamcar_r50_paper")
    twin = load_preset(f"siamcar_r50_{benchmark}_paper")
    assert (twin.model, twin.crops, twin.train, twin.data) == (text.model, text.crops, text.train, code.data)
    rate, penalty, window = numbers
    assert twin.track == replace(text.track, rate=rate, penalty=penalty, window=window)


def _flat(prefix: str, table: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(f"{prefix}.{key}", value) if isinstance(value, dict) else {f"{prefix}.{key}": value}
    return flat
