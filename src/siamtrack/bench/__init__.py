"""Evaluation: sequences, protocols, metrics by official rules, result stores and reports."""
