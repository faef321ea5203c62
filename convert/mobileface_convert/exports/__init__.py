"""Networks without a recipe, and formats other than ONNX.

Each export gets a sidecar and a verification.
"""
