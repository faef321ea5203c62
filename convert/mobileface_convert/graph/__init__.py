"""Graph data structures: the immutable source graph of MXNet operators and the ONNX builder."""
