"""Tracker families: each a frozen dataclass of its ablations and a short `build()`."""
