"""Presets: one TOML file for each published tracker and each shipped model."""
