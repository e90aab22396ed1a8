"""Training data: shards, pairs and augmentation."""
