"""Reference implementations for verification: MXNet, recorded outputs, ONNX's evaluator."""
