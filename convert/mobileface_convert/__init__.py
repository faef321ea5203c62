"""mobileface_convert: the offline stage, converts MXNet and dlib files to verified ONNX models."""
