"""Writers that convert a source graph to ONNX, ncnn or Caffe, and their engines."""
