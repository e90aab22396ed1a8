"""Presets: TOML files with the sections model, crops, track, data and train, read strictly, frozen and checked.

The resolved form is stored as JSON inside checkpoints, weights and results.
"""

from siamtrack.config.files import changed_preset, load_preset, preset_from_json, preset_to_json
from siamtrack.config.sections import Crops, Data, Jitter, Preset, Published, Track, Train

__all__ = [
    "Crops",
    "Data",
    "Jitter",
    "Preset",
    "Published",
    "Track",
    "Train",
    "changed_preset",
    "load_preset",
    "preset_from_json",
    "preset_to_json",
]
