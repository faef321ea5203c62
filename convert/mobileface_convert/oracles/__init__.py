"""Who says whether a conversion is right: MXNet, recorded outputs, the ONNX reference evaluator."""
