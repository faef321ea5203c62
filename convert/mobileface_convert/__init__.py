"""mobileface_convert: the offline stage, from MXNet and dlib files to verified ONNX models."""
