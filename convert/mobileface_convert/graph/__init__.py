"""Graphs: the immutable source graph of MXNet operators, and the builder of ONNX graphs."""
