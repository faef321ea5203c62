"""The example programs in C++ for ncnn and FeatherCNN.

With NCNN_ROOT (an installed ncnn) or FEATHERCNN_ROOT (a checkout with build/src/libfeather.a) they
are built and run, and must give ONNX Runtime's embedding. Without, only their syntax is checked,
against headers that declare what they use; the test prints which of the two it was.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from mobileface.models.session import Session
from mobileface_convert.commands.main import main
from tests.conftest import unavailable
from tests.convert.exports.export_check import cosines, read_sidecar
from tests.convert.exports.test_export import expected_of, pictures

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples" / "engines"
MODEL = ROOT / "models_onnx" / "embedding_dlib.onnx"

MAT = """
#pragma once
#include <cstddef>
#include <string>
namespace ncnn {
struct Mat {
    Mat();
    Mat(int w, int h, int c, size_t elemsize = 4u);
    Mat channel(int c);
    operator float*();
    operator const float*() const;
    int w, h, c;
};
"""
STUBS = {
    "ncnn": MAT
    + """
struct Option { bool use_fp16_arithmetic; };
struct Extractor {
    int input(const char* blob, const Mat& in);
    int extract(const char* blob, Mat& out, int type = 0);
};
struct Net {
    Option opt;
    int load_param(const char* path);
    int load_model(const char* path);
    Extractor create_extractor() const;
};
}
""",
    "feathercnn": MAT
    + """
}
namespace feather {
struct Net {
    int LoadParam(const char* path);
    int LoadWeights(const char* path);
    int FeedInput(const char* name, ncnn::Mat& in);
    int Forward();
    int Extract(std::string name, float** out, int* n, int* c, int* h, int* w);
    int Extract(std::string name, ncnn::Mat& out);
};
}
""",
}


def library(engine: str) -> list[str] | None:
    """What the compiler needs for an engine; None if the engine is not there."""
    root = os.environ.get({"ncnn": "NCNN_ROOT", "feathercnn": "FEATHERCNN_ROOT"}[engine])
    if root is None:
        return None
    base = Path(root)
    if engine == "ncnn":
        return [f"-I{base}/include/ncnn", f"{base}/lib/libncnn.a", "-fopenmp"]
    sources = [str(base / "src" / "ncnn" / f"{n}.cpp") for n in ("mat", "modelbin", "paramdict")]
    headers = [f"-I{base}/src", f"-I{base}/src/booster/include"]
    return [*headers, str(base / "build" / "src" / "libfeather.a"), *sources, "-fopenmp"]


@pytest.mark.needs_ncnn
@pytest.mark.parametrize("engine", ["ncnn", "feathercnn"])
def test_example(engine: str, tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        unavailable("no g++: apt-get install g++")
    source, found = EXAMPLES / f"{engine}_embed.cpp", library(engine)
    strict = ["-std=c++11", "-Wall", "-Wextra", "-Werror"]
    if found is None:
        (tmp_path / "net.h").write_text(STUBS[engine])
        command = [compiler, "-fsyntax-only", *strict, f"-I{tmp_path}", str(source)]
        subprocess.run(command, check=True, timeout=120)
        print(f"{engine}: syntax only, as the library is not there")
        return
    program = tmp_path / "embed"
    command = [compiler, "-O2", "-std=c++11", "-w", str(source), *found, "-o", str(program)]
    subprocess.run(command, check=True, timeout=300)
    arguments = ["export", "--target", engine, "--model", str(MODEL), "--output", str(tmp_path)]
    assert main(arguments) == 0
    sidecar = read_sidecar(tmp_path, "embedding_dlib", engine)
    image = Session(MODEL).spec.input
    assert image is not None
    shown = pictures(image, 1)
    cv2.imwrite(str(tmp_path / "crop.ppm"), shown[0][..., ::-1])
    files = [str(tmp_path / sidecar["files"][key]["file"]) for key in ("param", "bin")]
    blobs = [sidecar["input"]["blob"], sidecar["outputs"][0]["blob"]]
    mean, norm = (sidecar["input"][key] for key in ("mean", "norm"))
    numbers = [str(mean[0]), str(norm[0])]
    done = subprocess.run(
        [str(program), *files, *blobs, *numbers, str(tmp_path / "crop.ppm")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    (expected,) = expected_of(MODEL, shown)
    printed = done.stdout.split("\n")[-expected.shape[1] - 1 : -1]
    cosine = cosines(np.array([[float(line) for line in printed]], np.float32), expected).min()
    print(f"{engine}: built and run, cosine 1 - {1 - cosine:.1g}; mean {mean}, norm {norm}")
    assert cosine >= 0.99999
