"""Heads and their coders: what turns correlation features into candidates and back."""
