"""Accuracy over the pairs that networks have seen: a table, and a picture.

    siamtrack train siamcar_lite0 --data shards/ --out runs/siamcar_lite0 --val sequences/ \
        --set train.validate_every=250 --set train.validate_frames=100000
    python benchmarks/curve.py runs/* --out docs/auc_over_pairs.svg

Reads the validation rows of each run's `log.jsonl`: the mean area under the success curve of the weights' moving
average at that step. The learning rate is still high at the steps between: only a curve's end is what the recipe gives.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

from siamtrack.config import preset_from_json
from siamtrack.errors import DataError
from siamtrack.models.weights import read_metadata

Curve = dict[int, float]
"""Pairs seen -> mean area under the success curve."""


def read_curve(run: Path) -> tuple[str, Curve]:
    """The name of a run's folder, and its curve.

    Raises:
        DataError: it is not finished, or was not validated.
    """
    weights = next(iter(sorted(run.glob("*.safetensors"))), None)
    if weights is None:
        raise DataError(f"{run}: expected the folder of a finished run, with a .safetensors file; there is none")
    preset = preset_from_json(read_metadata(weights)["preset"])
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    curve = {row["step"] * preset.train.batch: row["success"] for row in rows if "success" in row}
    if not curve:
        raise DataError(f"{run}: its log has no validation rows; train with --val")
    return run.name, dict(sorted(curve.items()))


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Write the picture, a file of the kind that its suffix names."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, curve in sorted(curves.items(), key=lambda item: -item[1][max(item[1])]):
        axes.plot(list(curve), list(curve.values()), marker="o", markersize=3, label=name)
    axes.set_xscale("log", base=2)
    ticks = sorted({pairs for curve in curves.values() for pairs in curve})
    axes.set_xticks(ticks, [f"{pairs / 1000:g}" for pairs in ticks], rotation=60, fontsize=7)
    axes.minorticks_off()
    axes.set_xlabel("pairs seen, thousands")
    axes.set_ylabel("success (AUC)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy over pairs seen, from the logs of runs with --val.")
    parser.add_argument("runs", nargs="+", type=Path, help="folders that --out named")
    parser.add_argument("--out", type=Path, help="the picture")
    args = parser.parse_args()
    curves: dict[str, Curve] = {}
    for run in args.runs:
        try:
            name, curve = read_curve(run)
        except (DataError, OSError) as error:  # of all folders, some are without --val or not finished
            print(f"left out: {error}", file=sys.stderr)
        else:
            curves[name] = curve
    if not curves:
        parser.error("none of these folders is a finished run that was validated (train with --val)")
    counts = sorted({pairs for curve in curves.values() for pairs in curve})
    print("| run | " + " | ".join(f"{pairs:,}" for pairs in counts) + " |")
    print("|---" * (len(counts) + 1) + "|")
    for name, curve in curves.items():
        cells = [f"{curve[pairs]:.3f}" if pairs in curve else "" for pairs in counts]
        print(f"| `{name}` | " + " | ".join(cells) + " |")
    if args.out:
        draw(curves, args.out)


if __name__ == "__main__":
    main()
