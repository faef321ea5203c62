"""Detector heads as ONNX graphs: box decoding and non-maximum suppression."""
