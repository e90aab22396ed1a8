"""Model cards in the form of the Hugging Face Hub: a README.md with a head in YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping

from siamtrack.config import Preset, preset_to_json

_TAGS = ("visual-object-tracking", "object-tracking", "siamese-networks", "siamtrack", "onnx")

_LIMITS = """\
Short-term tracking of one object of any kind, or of several at once, from a box in the first frame. There is no
search of the whole frame: after a long occlusion or a cut it looks around the last box only. A switch to a similar
object keeps a high score and is noticed only where the box leaps. It is not meant to identify people."""


def render_card(preset: Preset, metadata: Mapping[str, str], files: Mapping[str, int], licence: str) -> str:
    """Describe a model for the Hub (huggingface.co/docs/hub/model-cards).

    Args:
        preset: of the model; its recipe too, if siamtrack trained it.
        metadata: that of its weights file; "steps" and "pairs" say how long it was trained.
        files: bytes of the repository's files, by name; the first is the weights.
        licence: an identifier of the Hub, as "apache-2.0", or "" if it is not known.
    """
    weights = next(iter(files))
    tables = json.loads(preset_to_json(preset))
    settings = {name: tables[name] for name in ("model", "crops", "track")}
    head = {
        "library_name": "siamtrack",
        **({"license": licence} if licence else {}),
        "tags": [*_TAGS, preset.model.family.replace("_", "-")],
    }
    model, crops = preset.model, preset.crops
    rows = {
        "family": model.family,
        **({"backbone": tables["model"]["backbone"]} if "backbone" in tables["model"] else {}),
        "template and search crops": f"{crops.template_side} and {crops.search} pixels",
        **{f"training {name}": metadata[name] for name in ("steps", "pairs") if name in metadata},
        "files": ", ".join(f"`{name}` ({size / 1e6:.1f} MB)" for name, size in files.items()),
    }
    return "\n".join(
        [
            # JSON is YAML: no value needs other quotes.
            "---",
            *(f"{key}: {json.dumps(value)}" for key, value in head.items()),
            "---",
            f"\n# {preset.name}\n\n{preset.description or 'A tracker of siamtrack.'}\n",
            "## Use\n\n```python\nimport siamtrack\n",
            f'tracker = siamtrack.load("hf:OWNER/{preset.name}:{weights}")  # OWNER: who has this repository',
            "tracker.init(first_frame, (x, y, w, h))  # RGB uint8 (H, W, 3)",
            "result = tracker.update(next_frame)\n```\n",
            f"    siamtrack track clip.mp4 --box X,Y,W,H --model hf:OWNER/{preset.name}:{weights} --output boxes.csv\n",
            "## Model\n\n| | |\n|---|---|",
            *(f"| {key} | {value} |" for key, value in rows.items()),
            f"\n## What it is for, and what not\n\n{_LIMITS}\n",
            f"## Settings\n\n```json\n{json.dumps(settings, indent=1)}\n```\n",
        ]
    )
