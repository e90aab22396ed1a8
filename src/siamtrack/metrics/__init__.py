"""The official rules: pure functions from truths and predictions to numbers."""
