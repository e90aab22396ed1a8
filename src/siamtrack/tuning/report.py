"""A tuning's result as a TOML section to paste into a preset, as JSON, and as lines for people."""

from __future__ import annotations

import json
from typing import Any

from siamtrack.tuning.space import Setting
from siamtrack.tuning.tune import Tuning

__all__ = ["as_dict", "as_lines", "as_toml"]


def as_toml(found: Tuning, model: str) -> str:
    """The chosen values under their sections, with what they were measured to be worth as comments."""
    lines = [f"# siamtrack tune {model}", *(f"# {line}" for line in as_lines(found)[1:])]
    sections: dict[str, list[str]] = {}
    for key, value in found.plan.space.named(found.choice).items():
        section, name = key.split(".")
        # numbers, words, switches and lists are written alike in JSON and TOML
        sections.setdefault(section, []).append(f"{name} = {json.dumps(value)}")
    for section, rows in sections.items():
        lines += ["", f"[{section}]", *rows]
    return "\n".join(lines) + "\n"


def as_lines(found: Tuning) -> list[str]:
    """What a person wants to know, the setting first."""
    gain, error = found.gain
    tried = len(found.table)
    return [
        _shown(found, found.choice),
        f"success AUC over {len(found.names)} sequences, rules otb; {tried} settings, {found.plan.kind} search",
        f"chosen {_mean(found, found.choice)} (on the sequences that it was chosen on), "
        f"best {_mean(found, found.best)}, plateau of {len(found.plateau)}",
        f"preset {_mean(found, found.default)}: {_shown(found, found.default)}",
        f"held out, {len(found.folds)} folds: {found.held_out.mean():.4f}, "
        f"{gain:+.4f} to the preset with a standard error of {error:.4f}",
        "the gain is more than its standard error"
        if found.worth_it
        else "the gain is not more than its standard error: keep the preset's values",
    ]


def as_dict(found: Tuning, model: str) -> dict[str, Any]:
    """Everything that was found as a tree of plain values; settings by dotted key, scores by sequence."""
    space = found.plan.space
    gain, error = found.gain
    rows = sorted(found.table.items(), key=lambda item: -float(item[1].mean()))
    flat = set(found.plateau)
    return {
        "model": model,
        "metric": "success_auc",
        "rules": "otb",
        "search": found.plan.kind,
        "seed": found.plan.seed,
        "grid": {axis.key: list(axis.values) for axis in space.axes},
        "sequences": list(found.names),
        "chosen": _row(found, found.choice),
        "best": _row(found, found.best),
        "default": _row(found, found.default),
        "held_out": {
            "success_auc": float(found.held_out.mean()),
            "gain": gain,
            "standard_error": error,
            "worth_it": found.worth_it,
            "sequences": dict(zip(found.names, found.held_out.tolist(), strict=True)),
        },
        "folds": [
            {
                "sequences": list(fold.names),
                "setting": space.named(fold.setting),
                "success_auc": float(fold.scores.mean()),
            }
            for fold in found.folds
        ],
        "settings": [
            {
                "setting": space.named(setting),
                "success_auc": float(scores.mean()),
                "plateau": setting in flat,
                "sequences": dict(zip(found.names, scores.tolist(), strict=True)),
            }
            for setting, scores in rows
        ],
    }


def _row(found: Tuning, setting: Setting) -> dict[str, Any]:
    return {
        "setting": found.plan.space.named(setting),
        "success_auc": float(found.table[setting].mean()),
    }


def _mean(found: Tuning, setting: Setting) -> str:
    return f"{found.table[setting].mean():.4f}"


def _shown(found: Tuning, setting: Setting) -> str:
    named = found.plan.space.named(setting)
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in named.items())
