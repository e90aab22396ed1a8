"""Tuning: which tracking hyper-parameters suit a trained model, and how much of the gain is real."""
