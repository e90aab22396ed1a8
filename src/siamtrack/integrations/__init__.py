"""Bridges to other projects: the GOT-10k toolkit and the VOT toolkit."""
