"""The live page: a server for it, and the same page as static files that need none."""
