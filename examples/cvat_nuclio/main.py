"""Tracking as a serverless function of CVAT: Nuclio calls `init_context` once for each worker, then `handler`."""

from siamtrack.integrations.cvat import handler, init_context

__all__ = ["handler", "init_context"]
