"""Presets: one TOML file for each published tracker and each shipped model."""

from importlib import resources

DEFAULT_MODEL = "spm_lite0"
"""The packaged model that is loaded where none is named."""


def preset_names() -> list[str]:
    """Names of the presets that come with the package, sorted."""
    files = resources.files("siamtrack.presets").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))
