"""The papers' comparisons of trackers, as data.

Those that this project has are rows of their own presets, trained and evaluated as the paper's own tracker; of the
others the paper's numbers are shown alone. Figures have the trackers that this project has, and others that the text
gives numbers of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from siamtrack.studies.rows import AUC, EAO, PRECISION, Numbers, Row, Settings, Study

Key = tuple[str, str]
"""Suite and metric."""
Line = tuple[str, tuple[float | None, ...], str]
"""A tracker's name, its numbers (None for a dash), and the machine of its speed, where the paper names it."""

# What DaSiamRPN has over SiamRPN, at the small scale: distractors in training and in tracking.
_DISTRACTORS: Settings = {"track.rerank": 8, "data.negative_same": 0.8}
_TRACKERS: Mapping[str, tuple[str, str, Settings]] = {
    "SiamFC": ("siamfc", "siamfc_lite0", {}),
    "SiamAN (SiamFC)": ("siamfc", "siamfc_lite0", {}),
    "SiamRPN": ("siamrpn", "siamrpn_lite0", {}),
    "DaSiamRPN": ("dasiamrpn", "siamrpn_lite0", _DISTRACTORS),
    "SA-Siam": ("sa_siam", "sasiam_lite0", {}),
    "SPM": ("spm", "spm_lite0", {}),
    "SiamRPN++": ("siamrpn_r50", "siamrpnpp_lite0", {}),
}
"""Trackers that this project has: presets of the two scales, and what a row changes of the small one."""


def _compared(
    study: Study, keys: Sequence[Key], ours: Line, others: Sequence[Line] = (), changes: Settings | None = None
) -> Study:
    """A study's rows: the paper's own tracker, then the others; `keys` are of a line's numbers.

    Those that are trained make the `changes` at the full scale, as the training set that a benchmark asks for.
    """
    name, values, machine = ours
    rows = [Row(name, {}, {}, _numbers(keys, values), machine=machine)]
    for name, values, machine in others:
        if name in _TRACKERS:
            preset, light, small = _TRACKERS[name]
            own = Row(name, changes or {}, small, presets=(preset, light))
        else:
            own = Row(name, None, None)
        rows.append(replace(own, paper=_numbers(keys, values), machine=machine))
    return replace(study, rows=tuple(rows))


def _numbers(keys: Sequence[Key], values: Sequence[float | None]) -> Numbers:
    """A line's numbers by key; a line without any has none."""
    return {key: value for key, value in zip(keys, values or (None,) * len(keys), strict=True) if value is not None}


def _ours(*values: float | None, machine: str = "") -> Line:
    return "the paper's tracker", values, machine


def _of(name: str, *values: float | None, machine: str = "") -> Line:
    return name, values, machine


# Section 4.4 and 4.1 of SiamRPN++ and SA-Siam, 4.3 of SPM; table 1 of SiamCAR.
_TITAN_XP, _TITAN_X, _P100, _RTX = "Titan Xp", "Titan X", "P100", "RTX 2080 Ti"

_VOT2018 = _compared(
    Study("siamrpnpp-table2", "SiamRPN++, table 2", "trackers on VOT2018", preset="siamrpn_r50",
          small="siamrpnpp_lite0"),
    [*(("vot2018", key) for key in (EAO, "accuracy", "robustness")), ("vot2018-unsupervised", "accuracy"),
     ("vot2018", "fps")],
    # Section 4.4 gives the speed.
    _ours(0.414, 0.600, 0.234, 0.498, 35, machine=_TITAN_XP),
    [
        _of("DLSTpp", 0.325, 0.543, 0.224, 0.495, None),
        _of("DaSiamRPN", 0.326, 0.569, 0.337, 0.398, None),
        _of("SA_Siam_R", 0.337, 0.566, 0.258, 0.429, None),
        _of("CPT", 0.339, 0.506, 0.239, 0.379, None),
        _of("DeepSTRCF", 0.345, 0.523, 0.215, 0.436, None),
        _of("DRT", 0.356, 0.519, 0.201, 0.426, None),
        _of("RCO", 0.376, 0.507, 0.155, 0.384, None),
        _of("UPDT", 0.378, 0.536, 0.184, 0.454, None),
        _of("SiamRPN", 0.383, 0.586, 0.276, 0.472, None),
        _of("MFT", 0.385, 0.505, 0.140, 0.393, None),
        _of("LADCF", 0.389, 0.503, 0.159, 0.421, None),
    ],
)  # fmt: skip
_TRACKINGNET = _compared(
    Study("siamrpnpp-table3", "SiamRPN++, table 3", "trackers on TrackingNet", preset="siamrpn_r50",
          small="siamrpnpp_lite0"),
    [("trackingnet", key) for key in ("success", "precision", "norm_precision")],
    _ours(73.3, 69.4, 80.0),
    [
        _of("CSRDCF", 53.4, 48.0, 62.2),
        _of("ECO", 55.4, 49.2, 61.8),
        _of("SiamFC", 57.1, 53.3, 66.3),
        _of("CFNet", 57.8, 53.3, 65.4),
        _of("MDNet", 60.6, 56.5, 70.5),
        _of("DaSiamRPN", 63.8, 59.1, 73.3),
    ],
)  # fmt: skip
# Section 4.4 gives scores, or by how much the paper's tracker is better: than DaSiamRPN by 3.8 and 3.4 points on
# OTB2015 and by 2.2 on VOT2018-LT, there than the best other one, MBMD, by 1.9, than MDNet by 24.9 % on LaSOT.
# Precision and F of the tracker itself are in the pictures alone: 0.914 and 0.629 are those of PySOT's model zoo.
_RPNPP_FIGURES = (
    _compared(
        Study("siamrpnpp-figure7", "SiamRPN++, figure 7", "trackers on OTB2015", preset="siamrpn_r50_otb",
              small="siamrpnpp_lite0"),
        [("otb100", AUC), ("otb100", PRECISION)], _ours(0.696, 0.914), [_of("DaSiamRPN", 0.658, 0.880)],
    ),
    _compared(
        Study("siamrpnpp-figure9", "SiamRPN++, figure 9", "trackers on VOT2018-LT", preset="siamrpn_r50_lt",
              small="siamrpnpp_lite0"),
        [("vot2018-lt", "F"), ("vot2018-lt", "fps")], _ours(0.629, 21, machine=_TITAN_XP),
        [_of("DaSiamRPN", 0.607, None), _of("MBMD", 0.610, None)],
    ),
    _compared(
        Study("siamrpnpp-figure10", "SiamRPN++, figure 10", "trackers on UAV123", preset="siamrpn_r50",
              small="siamrpnpp_lite0"),
        [("uav123", AUC)], _ours(0.613), [_of("DaSiamRPN", 0.586), _of("SiamRPN"), _of("ECO", 0.525)],
    ),
    _compared(
        Study("siamrpnpp-figure11", "SiamRPN++, figure 11", "trackers on LaSOT", preset="siamrpn_r50",
              small="siamrpnpp_lite0"),
        [("lasot", AUC)], _ours(0.496), [_of("MDNet", 0.397)],
    ),
)  # fmt: skip

# Section 4.2: all trackers learn from GOT-10k's own training set.
_GOT10K_ALONE: Settings = {
    f"data.source_weights.{name}": int(name == "got10k")
    for name in ("vid", "youtubebb", "coco", "det", "citypersons", "widerface", "lasot", "got10k")
}
_GOT10K = _compared(
    Study("siamcar-table1", "SiamCAR, table 1 and figure 4", "trackers on GOT-10k", preset="siamcar_r50_got10k",
          small="siamcar_lite0", aliases=("siamcar-figure4",)),
    [("got10k-test", key) for key in ("AO", "SR0.5", "SR0.75", "fps")],
    _ours(0.569, 0.670, 0.415, 52.27, machine=_RTX),
    [
        _of("KCF", 0.203, 0.177, 0.065, 94.66, machine="CPU"),
        _of("fDSST", 0.206, 0.187, 0.075, 30.43, machine="CPU"),
        _of("SRDCF", 0.236, 0.227, 0.094, 5.58, machine="CPU"),
        _of("Staple", 0.246, 0.239, 0.089, 28.87, machine="CPU"),
        _of("SAMF", 0.246, 0.241, 0.084, 7.43, machine="CPU"),
        _of("DSST", 0.247, 0.223, 0.081, 18.25, machine="CPU"),
        _of("DAT", 0.251, 0.242, 0.048, 45.52, machine="CPU"),
        _of("MEEM", 0.253, 0.235, 0.068, 20.59, machine="CPU"),
        _of("BACF", 0.260, 0.262, 0.101, 14.44, machine="CPU"),
        _of("ECO-HC", 0.286, 0.276, 0.096, 44.55, machine="CPU"),
        _of("CFnet", 0.293, 0.265, 0.087, 35.62, machine=_TITAN_X),
        _of("MDnet", 0.299, 0.303, 0.099, 1.52, machine=_TITAN_X),
        _of("ECO", 0.316, 0.309, 0.111, 2.62, machine="CPU"),
        _of("CCOT", 0.325, 0.328, 0.107, 0.68, machine="CPU"),
        _of("SiamFC", 0.374, 0.404, 0.144, 25.81, machine=_TITAN_X),
        _of("THOR", 0.447, 0.538, 0.204, 1.00, machine="RTX 2070"),
        _of("SiamRPN_R18", 0.483, 0.581, 0.270, 97.55, machine=_TITAN_X),
        _of("SPM", 0.513, 0.593, 0.359, 72.30, machine=_TITAN_XP),
        _of("SiamRPN++", 0.517, 0.616, 0.325, 49.83, machine=_RTX),
    ],
    changes=_GOT10K_ALONE,
)  # fmt: skip
# Sections 4.3 to 4.5 name these among the others, without numbers; those given are of SiamRPN++'s paper (section 4.4).
_CAR_FIGURES = (
    _compared(
        Study("siamcar-figure5", "SiamCAR, figure 5", "trackers on LaSOT", preset="siamcar_r50_lasot",
              small="siamcar_lite0"),
        [("lasot", AUC)], _ours(0.507), [_of("SiamRPN++", 0.496), _of("MDNet", 0.397)],
    ),
    _compared(
        Study("siamcar-figure6", "SiamCAR, figure 6", "trackers on OTB-50 by attribute", preset="siamcar_r50_otb",
              small="siamcar_lite0"),
        (), _ours(), [_of("SiamRPN++"), _of("SiamRPN"), _of("SiamFC")],
    ),
    _compared(
        Study("siamcar-figure7", "SiamCAR, figure 7", "trackers on UAV123", preset="siamcar_r50_uav",
              small="siamcar_lite0"),
        [("uav123", AUC), ("uav123", PRECISION)], _ours(0.614, 0.760),
        [_of("SiamRPN++", 0.613, None), _of("DaSiamRPN", 0.586, None), _of("SiamRPN"), _of("SiamFC"),
         _of("ECO", 0.525, None)],
    ),
)  # fmt: skip

_SA_OTB = _compared(
    Study("sasiam-figure5", "SA-Siam, figure 5 and table 3", "trackers on OTB", preset="sa_siam", small="sasiam_lite0",
          aliases=("sasiam-table3",)),
    [*((suite, key) for suite in ("otb2013", "otb50", "otb100") for key in (AUC, PRECISION)), ("otb100", "fps")],
    _ours(0.677, 0.896, 0.610, 0.823, 0.657, 0.865, 50, machine=_TITAN_X),
    [
        _of("BACF", 0.656, 0.859, 0.570, 0.768, 0.621, 0.822, 35),
        _of("PTAV", 0.663, 0.895, 0.581, 0.806, 0.635, 0.849, 25),
        _of("ECOhc", 0.652, 0.874, 0.592, 0.814, 0.643, 0.856, 60),
        _of("DSiamM", 0.656, 0.891, None, None, None, None, 25),
        _of("EAST", 0.638, None, None, None, 0.629, None, 159),
        _of("Staple", 0.593, 0.782, 0.507, 0.684, 0.578, 0.784, 80),
        _of("SiamFC", 0.607, 0.809, 0.516, 0.692, 0.582, 0.771, 86),
        _of("CFNet", 0.611, 0.807, 0.530, 0.702, 0.568, 0.748, 75),
        _of("LMCF", 0.628, 0.842, 0.533, 0.730, 0.580, 0.789, 85),
        _of("LCT", 0.628, 0.848, 0.492, 0.691, 0.562, 0.762, 27),
    ],
)  # fmt: skip
# Robustness is the number of failures a sequence in tables 4 and 5, and a weighted one in table 6. Where a table has
# "> 25" or "< 1" frames a second, there is no number.
_SA_VOT2015 = _compared(
    Study("sasiam-table4", "SA-Siam, table 4", "trackers on VOT2015", preset="sa_siam", small="sasiam_lite0"),
    [("vot2015", key) for key in ("accuracy", "failures", EAO, "fps")],
    _ours(0.59, 1.26, 0.31, 50, machine=_TITAN_X),
    [
        _of("MDNet", 0.60, 0.69, 0.38, 1),
        _of("DeepSRDCF (fps < 1)", 0.56, 1.05, 0.32, None),
        _of("EBT", 0.47, 1.02, 0.31, 4.4),
        _of("SRDCF", 0.56, 1.24, 0.29, 5),
        _of("BACF", 0.59, 1.56, None, 35),
        _of("EAST", 0.57, 1.03, 0.34, 159),
        _of("Staple", 0.57, 1.39, 0.30, 80),
        _of("SiamFC", 0.55, 1.58, 0.29, 86),
    ],
)  # fmt: skip
_SA_VOT2016 = _compared(
    Study("sasiam-table5", "SA-Siam, table 5", "trackers on VOT2016", preset="sa_siam", small="sasiam_lite0"),
    [("vot2016", key) for key in ("accuracy", "failures", EAO, "fps")],
    _ours(0.54, 1.08, 0.2911, 50, machine=_TITAN_X),
    [
        _of("ECOhc", 0.54, 1.19, 0.3221, 60),
        _of("Staple", 0.54, 1.42, 0.2952, 80),
        _of("STAPLE+ (fps > 25)", 0.55, 1.31, 0.2862, None),
        _of("SSKCF (fps > 25)", 0.54, 1.43, 0.2771, None),
        _of("SiamRN (fps > 25)", 0.55, 1.36, 0.2766, None),
        _of("DPT (fps > 25)", 0.49, 1.85, 0.2358, None),
        _of("SiamAN (SiamFC)", 0.53, 1.91, 0.2352, 86),
        _of("NSAMF (fps > 25)", 0.50, 1.25, 0.2269, None),
        _of("CCCT (fps > 25)", 0.44, 1.84, 0.2230, None),
        _of("GCF (fps > 25)", 0.51, 1.57, 0.2179, None),
    ],
)  # fmt: skip
_SA_VOT2017 = _compared(
    Study("sasiam-table6", "SA-Siam, table 6", "trackers on VOT2017", preset="sa_siam", small="sasiam_lite0"),
    [("vot2017", key) for key in ("accuracy", "robustness", EAO, "fps")],
    _ours(0.500, 0.459, 0.236, 50, machine=_TITAN_X),
    [
        _of("SiamDCF", 0.500, 0.473, 0.249, 60),
        _of("ECOhc", 0.494, 0.435, 0.238, 60),
        _of("CSRDCF++ (fps > 25)", 0.453, 0.370, 0.229, None),
        _of("CSRDCFf (fps > 25)", 0.479, 0.384, 0.227, None),
        _of("UCT", 0.490, 0.482, 0.206, 41),
        _of("ATLAS (fps > 25)", 0.488, 0.595, 0.195, None),
        _of("SiamFC", 0.502, 0.585, 0.188, 86),
        _of("SAPKLTf (fps > 25)", 0.482, 0.581, 0.184, None),
        _of("Staple", 0.530, 0.688, 0.169, 80),
        _of("ASMS (fps > 25)", 0.494, 0.623, 0.169, None),
    ],
)  # fmt: skip

_SPM_OTB = _compared(
    Study("spm-figure7", "SPM, figures 7 and 8 and table 3", "trackers on OTB, and their speed", preset="spm",
          small="spm_lite0", aliases=("spm-table3", "spm-figure8")),
    [("otb2013", AUC), ("otb50", AUC), ("otb100", AUC), ("otb100", "fps")],
    _ours(0.693, 0.653, 0.687, 120, machine=_P100),
    [
        _of("LCT", 0.628, 0.492, 0.568, 27),
        _of("Staple", 0.593, 0.516, 0.582, 80),
        _of("LMCF", 0.628, 0.533, 0.580, 85),
        _of("CFNet", 0.611, 0.530, 0.568, 75),
        _of("BACF", 0.656, 0.570, 0.621, 35),
        _of("ECO-hc", 0.652, 0.592, 0.643, 60),
        _of("MKCFup", 0.641, None, None, 150),
        _of("MCCT-H", 0.664, None, 0.642, 45),
        _of("SiamFC", 0.607, 0.516, 0.582, 86),
        _of("DSiamM", 0.656, None, None, 25),
        _of("RASNet", 0.670, None, 0.642, 83),
        _of("SiamRPN", 0.658, 0.592, 0.637, 200),
        _of("SA-Siam", 0.677, 0.610, 0.657, 50),
        _of("StructSiam", 0.637, None, 0.621, 45),
        _of("MemTrack", 0.642, None, 0.626, 50),
        _of("DaSiamRPN", 0.656, 0.602, 0.658, 160),
        _of("Siam-BM", 0.684, 0.617, 0.662, 48),
        _of("EAST", 0.638, None, 0.629, 159),
        _of("PTAV", 0.663, 0.581, 0.635, 25),
        _of("ACT", 0.657, None, 0.625, 30),
        _of("RT-MDNet", None, None, 0.650, 46),
    ],
)  # fmt: skip
_SPM_VOT = _compared(
    Study("spm-table4", "SPM, table 4", "trackers on VOT-16 and VOT-17", preset="spm", small="spm_lite0"),
    [*((suite, key) for suite in ("vot2016", "vot2017") for key in ("accuracy", "robustness", EAO)),
     ("vot2016", "fps")],
    _ours(0.62, 0.21, 0.434, 0.58, 0.30, 0.338, 120, machine=_P100),
    [
        _of("CREST", 0.51, 0.25, 0.283, None, None, None, 1),
        _of("MDNet", 0.54, 0.34, 0.257, None, None, None, 1),
        _of("C-COT", 0.54, 0.24, 0.331, None, None, None, 0.3),
        _of("LSART", None, None, None, 0.49, 0.22, 0.323, 1),
        _of("ECO", 0.55, 0.20, 0.375, 0.48, 0.27, 0.280, 8),
        _of("UPDT", None, None, None, 0.53, 0.18, 0.378, None),
        _of("SiamFC", 0.53, 0.46, 0.235, 0.50, 0.59, 0.188, 86),
        _of("Staple", 0.54, 0.38, 0.295, 0.52, 0.69, 0.169, 80),
        _of("ECO-hc", 0.54, 0.30, 0.322, 0.49, 0.44, 0.238, 60),
        _of("SA-Siam", 0.54, None, 0.291, 0.50, 0.46, 0.236, 50),
        _of("Siam-BM", None, None, None, 0.56, 0.26, 0.335, 32),
        _of("SiamRPN", 0.56, 0.26, 0.344, 0.49, 0.46, 0.244, 200),
        _of("DaSiamRPN", 0.61, 0.22, 0.411, 0.56, 0.34, 0.326, 160),
    ],
)  # fmt: skip

COMPARISONS: Mapping[str, Study] = {
    study.name: study
    for study in (
        _VOT2018, _TRACKINGNET, *_RPNPP_FIGURES, _GOT10K, *_CAR_FIGURES, _SA_OTB, _SA_VOT2015, _SA_VOT2016, _SA_VOT2017,
        _SPM_OTB, _SPM_VOT,
    )
}  # fmt: skip
"""By name."""
