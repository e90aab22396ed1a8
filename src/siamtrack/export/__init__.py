"""Trackers as one ONNX file: the whole step from a frame's pixels to boxes."""

from siamtrack.export.exporter import export_model, export_network, write_openvino

__all__ = ["export_model", "export_network", "write_openvino"]
