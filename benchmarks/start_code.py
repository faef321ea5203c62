"""Code that fresh processes run for each engine: imports, loading, the first embedding of a crop.

Every snippet gets the paths of its files and of the crop in ``sys.argv[1:]``: uint8 (112, 112, 3)
BGR in a .npy file. It ends with the variable ``embedding`` set.
"""

from __future__ import annotations

__all__ = ["SNIPPETS"]

_TENSOR = """
import sys
import numpy
crop = numpy.load(sys.argv[-1])
tensor = numpy.ascontiguousarray(crop[:, :, ::-1].transpose(2, 0, 1)[None], numpy.float32)
"""

SNIPPETS: dict[str, str] = {
    "mobileface": """
import sys
import numpy
import mobileface
crop = numpy.load(sys.argv[-1])
embedder = mobileface.load_embedder(sys.argv[2], models=sys.argv[1])
embedding = embedder.embed(crop)
""",
    "mobileface int8": """
import sys
import numpy
import mobileface
crop = numpy.load(sys.argv[-1])
embedder = mobileface.load_embedder(sys.argv[2], models=sys.argv[1], precision="int8")
embedding = embedder.embed(crop)
""",
    "onnxruntime": _TENSOR
    + """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
embedding = session.run(None, {session.get_inputs()[0].name: tensor})[0]
""",
    "mxnet": _TENSOR
    + """
import mxnet
stored = mxnet.nd.load(sys.argv[2])
arrays = {name.split(":")[1]: array for name, array in stored.items()}
symbol = mxnet.sym.load(sys.argv[1])
executor = symbol.simple_bind(mxnet.cpu(), grad_req="null", data=tensor.shape)
executor.copy_params_from(arrays, arrays, allow_extra_params=True)
embedding = executor.forward(is_train=False, data=mxnet.nd.array(tensor))[0].asnumpy()
""",
    "openvino": _TENSOR
    + """
import openvino
core = openvino.Core()
settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
model = core.read_model(sys.argv[1])
model.reshape(list(tensor.shape))
request = core.compile_model(model, "CPU", settings).create_infer_request()
request.infer({0: tensor})
embedding = request.get_output_tensor(0).data
""",
    "ncnn": _TENSOR
    + """
import ncnn
network = ncnn.Net()
network.opt.num_threads = 1
network.load_param(sys.argv[1])
network.load_model(sys.argv[2])
extractor = network.create_extractor()
extractor.input("in0", ncnn.Mat(tensor[0]).clone())
embedding = numpy.array(extractor.extract("out0")[1])
""",
    "opencv": _TENSOR
    + """
import cv2
network = cv2.dnn.readNetFromONNX(sys.argv[1])
network.setInput(tensor)
embedding = network.forward()
""",
}
"""Python code by engine."""
