"""Bridges to other projects: OpenCV's trackers, the GOT-10k toolkit, the VOT toolkit."""
