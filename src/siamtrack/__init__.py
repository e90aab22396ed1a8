"""Visual object tracking with Siamese networks."""
