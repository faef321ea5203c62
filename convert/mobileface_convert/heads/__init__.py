"""Detector heads written as ONNX graphs: decoding and non-maximum suppression."""
