"""Presets: everything about a tracker that is a decision, read strictly, frozen and checked.

A preset is a TOML file with the sections model, crops, track, data and train. Its resolved form travels as JSON
inside checkpoints, weights and results. A function takes only the section that it needs.
"""

from siamtrack.config.files import changed_preset, load_preset, preset_from_json, preset_names, preset_to_json
from siamtrack.config.sections import Crops, Data, Jitter, Preset, Published, Track, Train
from siamtrack.config.settings import parse_grid, parse_settings

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
    "parse_grid",
    "parse_settings",
    "preset_from_json",
    "preset_names",
    "preset_to_json",
]
