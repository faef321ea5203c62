"""TensorFlow Lite files: read and checked (`tflite_file`), converted to ONNX (`tflite_onnx`).

One function per operator, in the modules ``*_operators``; its docstring's first line is its row in
OPERATORS.md. Runs nothing and knows no model.
"""

from .tflite_file import TfliteNetwork, TfliteOperator, TfliteTensor, parse_tflite, read_tflite
from .tflite_onnx import build_tflite, free_batch, unsupported_operators
from .tflite_table import tflite_json, tflite_markdown

__all__ = [
    "TfliteNetwork",
    "TfliteOperator",
    "TfliteTensor",
    "build_tflite",
    "free_batch",
    "parse_tflite",
    "read_tflite",
    "tflite_json",
    "tflite_markdown",
    "unsupported_operators",
]
