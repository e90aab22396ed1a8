"""Backbones: feature extractors shared by template and search region."""
