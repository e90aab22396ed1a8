"""Exported trackers in ONNX Runtime and OpenVINO: the same `Tracker`, without torch."""
