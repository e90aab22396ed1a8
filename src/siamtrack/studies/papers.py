"""Every table and figure of SiamRPN++, SiamCAR, SA-Siam and SPM-Tracker, as data: what it shows, and its rows to train.

A row is a preset with a few other settings and the paper's numbers; `studies.runner` trains and evaluates rows. Where a
paper's text and its authors' code differ, rows follow the code, but in what the table is about. At the
scale "small" the same comparison is made on EfficientNet-Lite0 with crops of half the side, a short schedule and the
data at hand: a row's `small` settings then stand in for its `full` ones. Numbers are those of the tables; where a
figure gives none, a row has none.

Here are the ablations and the list of all; comparisons of trackers are in `studies.comparisons`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from siamtrack.studies.comparisons import COMPARISONS
from siamtrack.studies.rows import AUC, EAO, PRECISION, Numbers, Row, Settings, Study


def _otb_vot(otb: float, vot: float) -> Numbers:
    return {("vot2018", EAO): vot, ("otb100", AUC): otb}


def _otbs(*numbers: float) -> Numbers:
    """AUC and precision on OTB-2013, OTB-50 and OTB-100."""
    suites = ("otb2013", "otb50", "otb100")
    keys = [(suite, metric) for suite in suites for metric in (AUC, PRECISION)]
    return dict(zip(keys, numbers, strict=True))


def _spm(otb: float, vot17: float, vot16: float) -> Numbers:
    return {("otb100", AUC): otb, ("vot2017", EAO): vot17, ("vot2016", EAO): vot16}


_UP = {"model.correlation": "up", "model.correlation_gain": 0.001}
_FROZEN = {"train.backbone_rate": 0.0}
# Lite0's levels have strides of 8, 16 and 32: they are merged at the finest, where anchors have 64 pixels.
_LITE = {"model.correlations": (), "model.correlation": "depthwise"}


def _levels(*levels: int) -> tuple[Settings, Settings]:
    scale = {3: 8, 4: 4, 5: 2}[levels[0]]
    return {"model.levels": levels}, {**_LITE, "model.levels": levels, "model.scale": scale}


# At the small scale conv3 is trained too: the preset's other networks keep it as ImageNet left it.
_FINE = {"train.frozen_stages": 2}


def _table1(name: str, levels: tuple[int, ...], otb: float, vot: float, up: bool = False, fine: bool = True) -> Row:
    full, small = _levels(*levels)
    extra = (_UP if up else {}) | ({} if fine else _FROZEN)
    return Row(name, {**full, **extra}, {**small, **(_FINE if fine else {}), **extra}, _otb_vot(otb, vot))


# AlexNet's one level at stride 8; small, with padding, as its template is smaller than what the other loses at the
# edges, and from random weights, as no package carries others.
_ALEXNET = {"model.backbone": "alexnet", "model.levels": (5,), "train.frozen_stages": 0}
_SCRATCH = {"train.from_scratch": True, "train.backbone_rate": 1.0, "train.unfreeze_at": 0.0}
_PADDED_ALEXNET = {**_ALEXNET, **_SCRATCH, "model.backbone": "alexnet_padded"}
_SMALL_ALEXNET = {**_LITE, **_PADDED_ALEXNET}

# A template of 63 pixels has 2 cells at stride 32, fewer than the correlation's 3 x 3 convolutions need: whole crops.
_WHOLE_CROPS: Settings = {
    "crops.template": 127, "crops.search": 255, "data.template.shift": 8, "data.search.shift": 64, "model.scale": 8,
}  # fmt: skip
_RPNPP_TABLE1 = Study(
    "siamrpnpp-table1", "SiamRPN++, table 1", "backbone, levels, fine-tuning and correlation",
    preset="siamrpn_r50", small="siamrpnpp_lite0", lighter=_WHOLE_CROPS, rows=(
        Row("AlexNet, UP", {**_ALEXNET, **_UP}, {**_SMALL_ALEXNET, **_UP}, _otb_vot(0.658, 0.332)),
        Row("AlexNet, DW", _ALEXNET, _SMALL_ALEXNET, _otb_vot(0.666, 0.355)),
        _table1("L3 L4 L5, frozen, UP", (3, 4, 5), 0.664, 0.371, up=True, fine=False),
        _table1("L3 L4 L5, UP", (3, 4, 5), 0.684, 0.390, up=True),
        _table1("L3, DW", (3,), 0.669, 0.331),
        _table1("L4, DW", (4,), 0.678, 0.374),
        _table1("L5, DW", (5,), 0.646, 0.320),
        _table1("L3 L4, DW", (3, 4), 0.677, 0.346),
        _table1("L3 L5, DW", (3, 5), 0.674, 0.336),
        _table1("L4 L5, DW", (4, 5), 0.683, 0.383),
        _table1("L3 L4 L5, frozen, DW", (3, 4, 5), 0.673, 0.395, fine=False),
        _table1("L3 L4 L5, DW", (3, 4, 5), 0.696, 0.414),
    ),
)  # fmt: skip
_RPNPP_FIGURE2 = Study(
    "siamrpnpp-figure2", "SiamRPN++, figure 2", "score by the shift of targets in training",
    preset="siamrpn_r50", small="siamrpnpp_lite0", rows=tuple(
        Row(f"shift {shift}", {"data.search.shift": shift}, {"data.search.shift": shift / 2}, paper)
        # Section 3.1 gives shifts of 0 and 64 and the score of the first; the rows train the final network.
        for shift, paper in ((0, {("vot2018", EAO): 0.14}), (16, {}), (32, {}), (64, {}), (96, {}))
    ),
)  # fmt: skip
# OTB2015 alone, where the authors' code has a training and tracking numbers of its own.
_RPNPP_FIGURE6 = Study(
    "siamrpnpp-figure6", "SiamRPN++, figure 6", "AUC on OTB2015 by backbone",
    preset="siamrpn_r50_otb", small="siamrpnpp_lite0", rows=(
        Row("AlexNet", _ALEXNET, _SMALL_ALEXNET, {("otb100", AUC): 0.666}),
        Row("ResNet-18", {"model.backbone": "resnet18"}, None),
        Row("ResNet-34", {"model.backbone": "resnet34"}, None),
        Row("ResNet-50", {}, None, {("otb100", AUC): 0.696}),
        Row("MobileNetV2", {"model.backbone": "mobilenetv2"}, None),
        Row("EfficientNet-Lite0", {"model.backbone": "efficientnet_lite0"}, _LITE),
    ),
)  # fmt: skip
# The three networks of the paper; EAO of the variants is in the figure alone ("nearly the same"). The fast ones run at
# more than 70 frames a second (section 4.4), MobileNetV2's at 70 (section 1). AlexNet is not in the figure: its EAO is
# table 1's.
_RPNPP_FIGURE8 = Study(
    "siamrpnpp-figure8", "SiamRPN++, figure 8", "EAO on VOT2018 by speed",
    preset="siamrpn_r50", small="siamrpnpp_lite0", rows=(
        Row("ResNet-50", {}, None, {("vot2018", EAO): 0.414, ("vot2018", "fps"): 35}, machine="Titan Xp"),
        Row("ResNet-18", {"model.backbone": "resnet18"}, None, {("vot2018", "fps"): 70}, machine="Titan Xp"),
        Row("MobileNetV2", {}, None, {("vot2018", "fps"): 70}, machine="Titan Xp",
            presets=("siamrpn_mobilev2", "siamrpnpp_lite0")),
        Row("AlexNet", _ALEXNET, _SMALL_ALEXNET, {("vot2018", EAO): 0.355}),
        Row("EfficientNet-Lite0", {"model.backbone": "efficientnet_lite0"}, _LITE),
    ),
)  # fmt: skip
_CAR_TABLE2 = Study(
    "siamcar-table2", "SiamCAR, table 2", "precision on UAV123 and speed by backbone",
    preset="siamcar_r50_uav", small="siamcar_lite0", rows=(
        Row("ResNet-50", {}, None, {("uav123", PRECISION): 0.76, ("uav123", "fps"): 52}, machine="RTX 2080 Ti"),
        Row("ResNet-34", {"model.backbone": "resnet34"}, None, {("uav123", PRECISION): 0.751, ("uav123", "fps"): 77},
            machine="RTX 2080 Ti"),
        Row(
            "AlexNet", {**_ALEXNET, "model.levels": (3, 4, 5)}, _PADDED_ALEXNET,
            {("uav123", PRECISION): 0.713, ("uav123", "fps"): 170}, machine="RTX 2080 Ti",
        ),
        Row("EfficientNet-Lite0", {"model.backbone": "efficientnet_lite0", "model.light": True}, {}),
        Row("EfficientNet-Lite0, short", {"model.backbone": "efficientnet_lite0_short", "model.light": True},
            {"model.backbone": "efficientnet_lite0_short"}),
    ),
)  # fmt: skip


def _nearest(k: int) -> Row:
    small = {"track.select": "neighbours_weighted", "track.averaged": k}
    return Row(f"k = {k}, weighted", {**small, "track.published_rate": False}, small, of="k = 3, weighted")


_CAR_FIGURE3 = Study(
    "siamcar-figure3", "SiamCAR, figure 3 and section 3.3", "the best box, or the average of k of its 8 neighbours",
    preset="siamcar_r50", small="siamcar_lite0", rows=(
        Row("k = 3, weighted", {"track.select": "neighbours_weighted", "track.published_rate": False},
            {"track.select": "neighbours_weighted"}),
        *(_nearest(k) for k in (1, 2, 5, 8)),
        Row("the best box alone", {"track.select": "best", "track.published_rate": False}, {"track.select": "best"},
            of="k = 3, weighted"),
        Row("k = 3, not weighted", {"track.select": "neighbours", "track.published_rate": False},
            {"track.select": "neighbours"}, of="k = 3, weighted"),
        Row("enlarged maps (code)", {}, {"track.select": "upsampled"}, of="k = 3, weighted"),
    ),
)  # fmt: skip


def _branches(branches: str, multilevel: bool, attention: bool) -> Settings:
    own = {"model.branches": branches, "model.multilevel": multilevel, "model.attention": attention}
    # One layer has the channels that two have together, as in the public code; the paper gives those of two.
    return own if multilevel else {**own, "model.fused": 256}


def _semantic(settings: Settings) -> Settings:
    """At the small scale the one semantic level is conv4, at A-Net's stride of 16; Lite0's conv5 is at 32."""
    return settings if settings["model.multilevel"] else {**settings, "model.semantic_levels": (4,)}


def _sa(name: str, settings: Settings, *numbers: float, of: str = "") -> Row:
    return Row(name, settings, _semantic(settings), _otbs(*numbers) if numbers else {}, of)


def _alone(weight: float) -> Settings:
    """One branch of the two of row 3, which the paper says are those of rows 1 and 2."""
    return {**_branches("both", False, False), "model.appearance_weight": weight}


_SA_TABLE1 = Study(
    "sasiam-table1", "SA-Siam, table 1", "branches, several levels and attention",
    preset="sa_siam", small="sasiam_lite0", rows=(
        _sa("App.", _alone(1.0), 0.599, 0.811, 0.520, 0.718, 0.585, 0.790, of="App. Sem."),
        _sa("Sem.", _alone(0.0), 0.607, 0.821, 0.517, 0.715, 0.588, 0.791, of="App. Sem."),
        _sa("App. Sem.", _branches("both", False, False), 0.649, 0.862, 0.583, 0.792, 0.637, 0.843),
        _sa("App. Sem. ML", _branches("both", True, False), 0.656, 0.865, 0.581, 0.778, 0.641, 0.841),
        _sa("App. Sem. Att.", _branches("both", False, True), 0.650, 0.861, 0.591, 0.803, 0.642, 0.849),
        _sa("App. Sem. ML Att.", _branches("both", True, True), 0.676, 0.894, 0.610, 0.823, 0.656, 0.864),
    ),
)  # fmt: skip


def _twice(branches: str, weight: float = 0.5) -> Settings:
    return {**_branches(branches, False, False), "model.appearance_weight": weight}


def _of_otb2013(auc: float, precision: float) -> Numbers:
    return {("otb2013", AUC): auc, ("otb2013", PRECISION): precision}


# A2 of the paper is the network that SiamFC's authors published; here all four are trained. The paper does not say how
# the two are weighed; here each is one half.
_SA_TABLE2 = Study(
    "sasiam-table2", "SA-Siam, table 2", "two networks of one kind, alone and blended",
    preset="sa_siam", small="sasiam_lite0", rows=tuple(
        Row(name, settings, _semantic(settings), numbers, of=of)
        for name, settings, numbers, of in (
            ("A1 A2", _twice("two_appearance"), _of_otb2013(0.608, 0.813), ""),
            ("A1", _twice("two_appearance", 1.0), _of_otb2013(0.599, 0.811), "A1 A2"),
            ("A2", _twice("two_appearance", 0.0), _of_otb2013(0.602, 0.806), "A1 A2"),
            ("S1 S2", _twice("two_semantic"), _of_otb2013(0.602, 0.811), ""),
            ("S1", _twice("two_semantic", 1.0), _of_otb2013(0.607, 0.821), "S1 S2"),
            ("S2", _twice("two_semantic", 0.0), _of_otb2013(0.606, 0.822), "S1 S2"),
        )
    ),
)  # fmt: skip
_SA_JOINT = Study(
    "sasiam-joint", "SA-Siam, section 4.3", "branches trained apart against together",
    preset="sa_siam", small="sasiam_lite0", rows=(
        _sa("apart", _branches("both", False, False), 0.649, 0.862, 0.583, 0.792, 0.637, 0.843),
        _sa("together", {**_branches("both", False, False), "model.joint": True},
            0.630, 0.831, 0.546, 0.739, 0.620, 0.819),
    ),
)  # fmt: skip

_NO_GT = {"data.same_category": False}
_SPM_TABLE1 = Study(
    "spm-table1", "SPM, table 1", "the coarse stage alone, in series, and in series and parallel",
    preset="spm", small="spm_lite0", rows=(
        Row("CM only", {**_NO_GT, "model.fine": "none"}, {**_NO_GT, "model.fine": "none"}, _spm(0.643, 0.279, 0.359)),
        Row("CM+FM, series", {**_NO_GT, "model.fusion": "series"}, {**_NO_GT, "model.fusion": "series"},
            _spm(0.632, 0.296, 0.343), of="CM+FM, series-parallel"),
        Row("CM+FM, series-parallel", _NO_GT, _NO_GT, _spm(0.670, 0.323, 0.391)),
    ),
)  # fmt: skip
# At the small scale half of the pairs are of two objects, as in the paper, with generalized training and without.
_HALF_NEGATIVE = {"data.negative": 0.5}
_SPM_TABLE2 = Study(
    "spm-table2", "SPM, table 2", "with and without generalized training",
    preset="spm", small="spm_lite0", lighter=_HALF_NEGATIVE, rows=(
        Row("S-P model", _NO_GT, _NO_GT, _spm(0.670, 0.323, 0.391)),
        Row("S-P model + GT", {}, {"data.same_category": True}, _spm(0.687, 0.338, 0.434)),
    ),
)  # fmt: skip
_SPM_FIGURE6 = Study(
    "spm-figure6a", "SPM, figure 6 (a)", "AUC by the number K of candidate boxes",
    preset="spm", small="spm_lite0", aliases=("spm-figure6",), rows=(
        Row("K = 9", {"model.proposals": 9}, {"model.proposals": 9}, {("otb100", AUC): 0.687}),
        *(
            Row(f"K = {k}", {"model.proposals": k}, {"model.proposals": k}, of="K = 9")
            for k in (1, 3, 5, 7, 11, 13)
        ),
    ),
)  # fmt: skip
_SPM_LEVELS = Study(
    "spm-levels", "SPM, section 5.3", "which levels the fine stage pools from",
    preset="spm", small="spm_lite0", rows=tuple(
        Row(name, {"model.fine_levels": full}, None if small is None else {"model.fine_levels": small},
            {("otb100", AUC): auc})
        for name, full, small, auc in (
            ("conv2", (2,), (2,), 0.666), ("conv3", (3,), (3,), 0.675), ("conv4", (4,), (4,), 0.676),
            ("conv2 + conv4", (2, 4), (2, 4), 0.687),
        )
    ),
)  # fmt: skip
_SPM_DISTANCE = Study(
    "spm-distance", "SPM, section 5.3", "relation network against correlation in the fine stage",
    preset="spm", small="spm_lite0", lighter=_HALF_NEGATIVE, rows=(
        Row("coarse stage alone", {**_NO_GT, "model.fine": "none"}, {**_NO_GT, "model.fine": "none"},
            {("otb100", AUC): 0.643}),
        Row("correlation", {**_NO_GT, "model.fine": "correlation"}, {**_NO_GT, "model.fine": "correlation"},
            {("otb100", AUC): 0.647}),
        Row("relation network", _NO_GT, _NO_GT, {("otb100", AUC): 0.670}),
        Row("correlation, GT", {"model.fine": "correlation"},
            {"data.same_category": True, "model.fine": "correlation"}, {("otb100", AUC): 0.655}),
        Row("relation network, GT", {}, {"data.same_category": True}, {("otb100", AUC): 0.687}),
    ),
)  # fmt: skip
# Data of one's own have other sources: the second row has nothing to leave out at the small scale.
_FEWER_SOURCES = {"data.source_weights.citypersons": 0, "data.source_weights.widerface": 0}
_SPM_SOURCES = Study(
    "spm-sources", "SPM, section 5.4", "with and without CityPersons and WIDER FACE",
    preset="spm", small="spm_lite0", rows=(
        Row("all sources", paper=_spm(0.687, 0.338, 0.434)),
        Row("without extra data", _FEWER_SOURCES, None, _spm(0.671, 0.347, 0.432)),
    ),
)  # fmt: skip


_CLIPS = "siamtrack eval MODEL --suite SUITE --data DIR --out RESULTS; siamtrack report RESULTS (its clips)"
_BIAS = "siamtrack study center-bias --data SHARDS --out DIR --val CLIPS"
_DRAWING = "nothing to run: a drawing of the method (docs/papers.md says where its parts live)"

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        study.name: study
        for study in (
            Study("siamrpnpp-figure1", "SiamRPN++, figure 1", "mean response by the shift of targets", run=_BIAS),
            _RPNPP_FIGURE2,
            Study("siamrpnpp-figure3", "SiamRPN++, figures 3 and 4", "the network and its correlations", run=_DRAWING,
                  aliases=("siamrpnpp-figure4",)),
            Study("siamrpnpp-figure5", "SiamRPN++, figure 5", "channels of the depth-wise correlation",
                  figure="channels"),
            _RPNPP_FIGURE6,
            _RPNPP_TABLE1,
            COMPARISONS["siamrpnpp-table2"],
            COMPARISONS["siamrpnpp-figure7"],
            _RPNPP_FIGURE8,
            COMPARISONS["siamrpnpp-figure9"],
            COMPARISONS["siamrpnpp-figure10"],
            COMPARISONS["siamrpnpp-figure11"],
            COMPARISONS["siamrpnpp-table3"],
            Study("siamcar-figure1", "SiamCAR, figure 1", "boxes of several trackers on frames", run=_CLIPS),
            Study("siamcar-figure2", "SiamCAR, figure 2", "the network", run=_DRAWING),
            _CAR_FIGURE3,
            COMPARISONS["siamcar-table1"],
            COMPARISONS["siamcar-figure5"],
            COMPARISONS["siamcar-figure6"],
            COMPARISONS["siamcar-figure7"],
            _CAR_TABLE2,
            Study("sasiam-figure1", "SA-Siam, figure 1", "boxes of two trackers on frames", run=_CLIPS),
            Study("sasiam-figure2", "SA-Siam, figures 2 and 3", "the network and its attention", run=_DRAWING,
                  aliases=("sasiam-figure3",)),
            Study("sasiam-figure4", "SA-Siam, figure 4", "weights of the channels in two videos", figure="attention"),
            COMPARISONS["sasiam-figure5"],
            Study("sasiam-figure6", "SA-Siam, figure 6", "boxes of several trackers on frames", run=_CLIPS),
            _SA_TABLE1,
            _SA_TABLE2,
            _SA_JOINT,
            COMPARISONS["sasiam-table4"],
            COMPARISONS["sasiam-table5"],
            COMPARISONS["sasiam-table6"],
            Study("spm-figure1", "SPM, figures 1 to 3", "the two stages, the network, generalized training",
                  run=_DRAWING, aliases=("spm-figure2", "spm-figure3")),
            Study("spm-figure4", "SPM, figure 4", "responses of the coarse stage", figure="responses"),
            Study("spm-figure5", "SPM, figure 5", "best boxes and the scores of both stages", figure="scores"),
            _SPM_FIGURE6,
            Study("spm-figure6b", "SPM, figure 6 (b)", "recall of candidate boxes by overlap and K", figure="recall"),
            COMPARISONS["spm-figure7"],
            Study("spm-figure9", "SPM, figures 9 and 10", "boxes on frames, successes and failures", run=_CLIPS,
                  aliases=("spm-figure10",)),
            _SPM_TABLE1,
            _SPM_TABLE2,
            _SPM_LEVELS,
            _SPM_DISTANCE,
            _SPM_SOURCES,
            COMPARISONS["spm-table4"],
        )
    }
)  # fmt: skip
"""The studies by name, paper by paper."""
