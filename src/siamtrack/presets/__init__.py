"""Presets: one TOML file for each published tracker and each shipped model."""

__all__ = ["DEFAULT_MODEL"]

DEFAULT_MODEL = "siamcar_lite0"
"""The packaged model that is loaded where none is named."""
