"""SA-Siam's lambda is estimated on validation videos by a grid from 0.1 to 0.9 (He et al. 2018, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quick import QuickTracker, Silent, sequences

from siamtrack.config import Preset, Track
from siamtrack.models.families import SaSiam
from siamtrack.tuning.scores import Ledger
from siamtrack.tuning.search import default_grid, make_space
from siamtrack.tuning.tune import TuningPlan, tune


@dataclass(frozen=True)
class Blended:
    """As `ModelVariants`, for a tracker that misses by as much as lambda is away from what the video wants."""

    preset: Preset = field(default_factory=lambda: Preset("blended", model=SaSiam(appearance_weight=0.3)))
    name: str = "blended"
    identity: dict[str, Any] = field(default_factory=lambda: {"weights": "none"})

    def open(self) -> Any:
        return lambda preset: QuickTracker(Track(window=preset.model.appearance_weight, penalty=0.1))


def test_tune_finds_the_blend_that_the_videos_want(tmp_path: Path) -> None:
    variants = Blended()
    plan = TuningPlan(make_space(variants.preset, default_grid(variants.preset)))
    ledger = Ledger.open(tmp_path / "scores.jsonl", variants.identity)
    found = tune(variants, sequences(tmp_path / "data", {"a": 0.7, "b": 0.7, "c": 0.7}), plan, ledger, Silent())
    assert [setting[0] for setting in sorted(found.table)] == [0.1, 0.3, 0.5, 0.7, 0.9]
    assert found.choice == (0.7,) and found.worth_it
    chosen = plan.space.resolve(found.choice).model
    assert isinstance(chosen, SaSiam) and chosen.appearance_weight == 0.7
