"""Reading, writing and drawing video."""
