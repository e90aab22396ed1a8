"""What a study of a paper is made of: rows, each a preset with a few other settings and the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scale = Literal["full", "small"]
Settings = Mapping[str, Any]
Numbers = Mapping[tuple[str, str], float]
"""By suite and metric, as `siamtrack eval` names them."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        full: settings over the preset, by dotted key; None of a tracker that this project does not have, whose line
            shows the paper's numbers alone.
        small: the same at the small scale; None where that cannot be done.
        of: name of the row whose network it tracks with, for settings of tracking alone; "" to train its own.
        presets: of the two scales, full and small; empty for the study's.
        machine: that the paper's speed was measured on, if the paper names it.
    """

    name: str
    full: Settings | None = field(default_factory=dict)
    small: Settings | None = field(default_factory=dict)
    paper: Numbers = field(default_factory=dict)
    of: str = ""
    presets: tuple[str, str] | tuple[()] = ()
    machine: str = ""

    def settings(self, scale: Scale) -> Settings | None:
        """Those of a scale; None where the row has none to run."""
        return self.full if scale == "full" else self.small


@dataclass(frozen=True)
class Study:
    """A table or figure.

    Attributes:
        name: as people type it.
        item: the paper's name for it.
        run: the command, for what is not trained row by row.
        preset: that the rows change; `small` at the small scale.
        lighter: what all rows change at the small scale besides `LIGHTER_OF`.
        rows: to train and evaluate; empty where `run` says how else.
        figure: the kind of picture that `siamtrack study figure` draws of a model, for a figure of insides.
        aliases: further names, of the paper's other tables and figures that this is.
    """

    name: str
    item: str
    shows: str
    run: str = ""
    preset: str = ""
    small: str = ""
    lighter: Settings = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    figure: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """How to run it."""
        if self.figure:
            return f"siamtrack study {self.name} --model MODEL --clips DIR --out FILE.png"
        return self.run or f"siamtrack study {self.name} --data SHARDS --suites NAME=DIR,.. --out DIR"

    def base(self, row: Row, scale: Scale) -> tuple[str, Settings]:
        """The preset of a row, and what all rows of this preset change at this scale."""
        preset, small = row.presets or (self.preset, self.small)
        if scale == "full":
            return preset, {}
        return small, LIGHTER_OF[small] if row.presets else {**LIGHTER_OF[small], **self.lighter}


AUC, PRECISION, EAO = "success_auc", "precision@20", "EAO"

# The small scale: targets of 32 pixels in place of 64, and 3,200 pairs, so that a row costs one core a few minutes.
_LIGHTER: Settings = {
    "crops.template": 63, "crops.search": 127, "data.template.shift": 4, "data.search.shift": 32,
    "train.steps": 200, "train.batch": 16, "train.compile": False,
    # conv4 is trained after a third of the steps, which most light presets never do: some studies ask what that brings.
    "train.unfreeze_at": 0.35,
}  # fmt: skip
# By family: anchors of 32 pixels at stride 8, or what else follows from the size of the crops.
LIGHTER_OF: Mapping[str, Settings] = {
    "siamrpnpp_lite0": {**_LIGHTER, "model.width": 64, "model.scale": 4},
    "siamcar_lite0": {**_LIGHTER, "model.width": 64, "model.unit": 20.0},
    "sasiam_lite0": {**_LIGHTER, "crops.template_crop": 127, "model.width": 64, "model.template_cells": 3},
    "spm_lite0": {**_LIGHTER, "train.unfreeze_at": 1.0, "model.width": 64, "model.scale": 4},
    # At stride 8, since its neck keeps 7 x 7 cells of a template.
    "siamrpn_lite0": {**_LIGHTER, "model.width": 64, "model.level": 3, "model.scale": 4},
    "siamfc_lite0": {**_LIGHTER, "model.width": 64},
}
