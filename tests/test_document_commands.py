"""Every command line of the documents runs, in the order of its document, in one folder each.

A line is run as it is written, without its comment. Lines with choices or placeholders are in
`WRITTEN`, with the commands that are run for them; a line there that is in no document is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import SOURCE, packaged

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^    (mobileface(?:-convert|-eval)? .*)$")
COMMENT = re.compile(r"\s{2,}(#|\().*$")
TRACK = "mobileface track"
GALLERY = "mobileface gallery"
CROPS = SOURCE / "data" / "LFW-Aligned-100Pair"
V3 = SOURCE / "MobileFace_Identification" / "MobileFace_Identification_V3"
NETWORK = f"--symbol {V3}-symbol.json --params {V3}-0000.params"
EXPRESSION = "fer/data/emotion_model_quantized.tflite"
"""A TensorFlow Lite file of the package fer."""

WRITTEN: dict[str, tuple[str, ...]] = {
    # README.md, docs/board.md, docs/convert.md
    "mobileface-convert all": (
        f"mobileface-convert all --source {SOURCE} --only identification_v3",
    ),
    "mobileface-convert all --output models": (
        f"mobileface-convert all --source {SOURCE} --only identification_v3 --output models",
    ),
    "mobileface-convert bundle --models models --output dist [--version 1.0]": (
        "mobileface-convert bundle --models models --output dist",
        "mobileface-convert bundle --models models --output dist2 --version 1.0",
    ),
    "mobileface-convert all [--source DIR_OR_URL] [--output DIR] [--only NAME ...]": (
        f"mobileface-convert all --source {SOURCE} --output made --only landmark_eme landmark_ene",
    ),
    "mobileface-convert starter --output models_onnx [--weights float32]": (
        "mobileface-convert starter --help",  # 'make starter' takes minutes; its parts have tests
    ),
    "mobileface-convert inspect  S-symbol.json P-0000.params": (
        f"mobileface-convert inspect {V3}-symbol.json {V3}-0000.params",
        f"mobileface-convert inspect {V3}-symbol.json {V3}-0000.params --json",
    ),
    "mobileface-convert prune    --symbol S --params P --output PREFIX [--at NAME]": (
        f"mobileface-convert prune {NETWORK} --output pruned",
    ),
    "mobileface-convert merge-bn --symbol S --params P --output PREFIX": (
        f"mobileface-convert merge-bn {NETWORK} --output merged",
    ),
    "mobileface-convert export   --symbol S --params P --output X.onnx --input-shape N,3,112,112": (
        f"mobileface-convert export {NETWORK} --output X.onnx --input-shape N,3,112,112",
    ),
    "mobileface-convert verify   identification_v2.onnx [--symbol S] [--params P]": (
        f"mobileface-convert all --source {SOURCE} --output . --only identification_v3",
        f"mobileface-convert verify identification_v3.onnx {NETWORK}",
    ),
    "mobileface-convert model --symbol S --params P --output X.onnx --verify "
    "[--input-shape 1,3,112,112 | NAME=1,3,112,112] [--outputs NAME ...] [--static] [--opset N]": (
        f"mobileface-convert model {NETWORK} --output Y.onnx --verify --input-shape 1,3,112,112",
        f"mobileface-convert model {NETWORK} --output Z.onnx --verify --static --opset 18 "
        "--input-shape data=1,3,112,112",
    ),
    "mobileface-convert inspect FILE.onnx [--size H W] [--json]": (
        f"mobileface-convert inspect {ROOT}/models_onnx/detection_yunet.onnx --size 320 240",
        f"mobileface-convert inspect {ROOT}/models_onnx/age.onnx --json",
    ),
    "mobileface-convert inspect FILE.tflite [--json]": (
        f"mobileface-convert inspect {packaged(EXPRESSION)}",
        f"mobileface-convert inspect {packaged(EXPRESSION)} --json",
    ),
    "mobileface-convert inspect S-symbol.json P-0000.params --size 112 112": (
        f"mobileface-convert inspect {V3}-symbol.json {V3}-0000.params --size 112 112",
    ),
    "mobileface-convert model   FILE.tflite --output X.onnx --verify [--outputs NAME ...] "
    "[--opset N]": (
        f"mobileface-convert model {packaged(EXPRESSION)} --output L.onnx --verify",
        f"mobileface-convert model {packaged(EXPRESSION)} --output M.onnx --outputs Identity "
        "--opset 18",
    ),
    "mobileface-convert export|model … [--machine portable|x86|plain] [--input float32|uint8] "
    "[--normalize]": (
        f"mobileface-convert export {NETWORK} --output U.onnx --input-shape N,3,112,112 "
        "--machine x86 --input uint8 --normalize",
    ),
    "mobileface-convert adopt w600k_mbf.onnx --task embedding --name my_arcface --crop arcface "
    "--color rgb --mean 127.5 --std 127.5 [--output DIR] [--license TEXT_OR_FILE]": (
        f"cp {V3}-symbol.json {V3}-0000.params . && mobileface-convert adopt {Path(V3).name}-* "
        "--task embedding --name my_arcface --crop arcface --color rgb --mean 0 --std 1 "
        "--output adopted --license MIT --write-recipe my.toml",
    ),
    "mobileface-convert adopt genderage.onnx --task attributes --crop box --color rgb --mean 0 "
    "--std 255 --head out0:gender=female,male --head out1:age=0-100": (
        f"PYTHONPATH={ROOT}:$PYTHONPATH python -c 'from pathlib import Path; "
        "from tests.convert.commands.adoptable_networks import write_heads; "
        'write_heads(Path("genderage.onnx"))\'',
        "mobileface-convert adopt genderage.onnx --task attributes --crop box --color rgb --mean 0 "
        "--std 255 --head gender.out:gender=female,male --head age.logits:age=0-5 --output adopted",
    ),
    "mobileface-convert adopt 2d106det.onnx --task landmarks --name my_points --crop box --margin "
    "0.25 --color rgb --mean 0 --std 1 --points-names 106 --points-range signed": (
        f"PYTHONPATH={ROOT}:$PYTHONPATH python -c 'from pathlib import Path; "
        "from tests.convert.commands.point_networks import write_onnx; "
        'write_onnx(Path("2d106det.onnx"), 212)\'',
        "mobileface-convert adopt 2d106det.onnx --task landmarks --name my_points --crop box "
        "--margin 0.25 --color rgb --mean 0 --std 1 --points-names 106 --points-range signed "
        "--output adopted",
    ),
    "mobileface-convert optimize IN.onnx --output OUT.onnx [--machine auto|portable|x86|plain] "
    "[--normalize] [--json]": (
        f"PYTHONPATH={ROOT}:$PYTHONPATH python -c 'from pathlib import Path; "
        "from tests.convert.commands.adoptable_networks import write_network; "
        'write_network(Path("IN.onnx"))\'',
        "mobileface-convert optimize IN.onnx --output OUT.onnx",
        "mobileface-convert optimize IN.onnx --output OUT2.onnx --machine x86 --normalize --json",
    ),
    "mobileface-convert optimize IN.tflite --output OUT.onnx --input uint8 --std 255 "
    "[--calibrate DIR]": (
        f"cp {packaged(EXPRESSION)} IN.tflite",
        "mobileface-convert optimize IN.tflite --output OUT3.onnx --input uint8 --std 255",
        f"mobileface-convert optimize IN.tflite --output OUT4.onnx --input uint8 --std 255 "
        f"--calibrate {CROPS} --json",
    ),
    "mobileface-convert adopt det_10g.onnx --task detection --layout scrfd --name my_scrfd "
    "[--size PIXELS]": (
        f"PYTHONPATH={ROOT}:$PYTHONPATH python -c 'from pathlib import Path; "
        "from tests.convert.commands.adoptable_detectors import write_scrfd; "
        'write_scrfd(Path("det_10g.onnx"))\'',
        "mobileface-convert adopt det_10g.onnx --task detection --layout scrfd --name my_scrfd "
        "--size 320 --output adopted",
    ),
    "mobileface-convert adopt my.toml [--output DIR]": (
        "mobileface-convert adopt my.toml --output adopted2",
    ),
    "mobileface-convert verify my_arcface.onnx --source DIR": (
        "mobileface-convert verify adopted/my_arcface.onnx --source .",
    ),
    "mobileface-convert verify my_arcface.onnx --recipe my.toml": (
        "mobileface-convert verify adopted2/my_arcface.onnx --recipe my.toml",
    ),
    # docs/benchmarks.md
    "mobileface bench": ("mobileface bench --model gender",),
    "mobileface tune": ("mobileface tune --seconds 1 --model gender",),
    "mobileface bench [--images PHOTO ...] [--models DIR] [--model NAME ...] [--batch 1 4 16]": (
        "mobileface bench --images photo.jpg --model gender --batch 1 4 16",
    ),
    "mobileface tune [--models DIR] [--model NAME ...] [--images PHOTO ...] [--exact] "
    "[--seconds 60] [--json]": (
        "mobileface tune --model gender --images photo.jpg --exact --seconds 1 --json",
    ),
    "mobileface tune --show | --reset": ("mobileface tune --show", "mobileface tune --reset"),
    # docs/evaluation.md
    "mobileface-eval calibrate --folder my_people/ --write "
    "~/.local/share/mobileface/models/NAME.calibration.json": (
        "mobileface-eval calibrate --folder my_people/ --embedder embedding_dlib --crops "
        "--write NAME.calibration.json",
    ),
    # docs/export.md
    "mobileface-convert export --target ncnn  --model MODEL.onnx ... --output DIR "
    "[--weights float16]": (
        f"mobileface-convert export --target ncnn --model {ROOT}/models_onnx/gender.onnx "
        "--output ncnn --weights float16",
    ),
    "mobileface-convert export --target ncnn  --recipe NAME ... [--source DIR_OR_URL] "
    "--output DIR": (
        "mobileface-convert export --target ncnn --recipe identification_v3 "
        f"--source {SOURCE} --output ncnn",
    ),
    "mobileface-convert export --target caffe --recipe NAME ... [--source DIR_OR_URL] "
    "--output DIR": (
        "mobileface-convert export --target caffe --recipe identification_v3 "
        f"--source {SOURCE} --output caffe",
    ),
    "mobileface-convert export --target feathercnn --model MODEL.onnx ... --output DIR": (
        f"mobileface-convert export --target feathercnn --model {ROOT}/models_onnx/gender.onnx "
        f"{ROOT}/models_onnx/expression.onnx --output feathercnn",
    ),
    "mobileface-convert export --target feathercnn --recipe NAME ... [--source DIR_OR_URL] "
    "--output DIR": (
        "mobileface-convert export --target feathercnn --recipe identification_v3 "
        f"--source {SOURCE} --output feathercnn",
    ),
    "mobileface-convert export --target ncnn|feathercnn|caffe --symbol S --params P --output DIR "
    "--recipe NAME | --input-shape 1,3,112,112 [--at NAME]": (
        f"mobileface-convert export --target caffe {NETWORK} --output caffe2 "
        "--recipe identification_v3",
        f"mobileface-convert export --target ncnn {NETWORK} --output ncnn2 "
        "--input-shape 1,3,112,112",
        f"mobileface-convert export --target feathercnn {NETWORK} --output feathercnn2 "
        "--input-shape 1,3,112,112",
    ),
    # docs/gallery.md
    f"{GALLERY} list [NAME] | stats [--check | --repair]": (
        f"{GALLERY} list",
        f"{GALLERY} list Ann",
        f"{GALLERY} stats --check",
        f"{GALLERY} stats --repair",
    ),
    f"{GALLERY} rename OLD NEW | remove NAME [--face N]": (
        f"{GALLERY} rename Ann Anne",
        f"{GALLERY} remove Anne",
    ),
    f"{GALLERY} export all.json | import all.json | backup copy.gallery": (
        f"{GALLERY} export all.json",
        f"{GALLERY} import all.json",
        f"{GALLERY} backup copy.gallery",
    ),
    f"{GALLERY} migrate --embedder identification_v3": (
        f"mobileface-convert all --source {SOURCE} --only identification_v3",
        f"{GALLERY} migrate --embedder identification_v3",
    ),
    # docs/usage.md
    "mobileface detect | landmarks | pose | attributes photo.jpg": (
        "mobileface detect photo.jpg",
        "mobileface landmarks photo.jpg",
        "mobileface pose photo.jpg",
        "mobileface attributes photo.jpg",
    ),
    "mobileface compare a.jpg b.jpg [--face largest]": (
        "mobileface compare a.jpg b.jpg",
        "mobileface compare a.jpg b.jpg --face largest",
    ),
    f"{TRACK} video.mp4 --output out.mp4 --tracks out.jsonl [--detect-every auto] [--show-fps]": (
        f"{TRACK} video.mp4 --output out.mp4 --tracks out.jsonl",
        f"{TRACK} video.mp4 --output out.mp4 --tracks out.jsonl --detect-every auto --show-fps",
    ),
    "mobileface enhance dark.jpg folder/ video.mp4 --output DIR [--histogram first_row] "
    "[--strength 0.5]": (
        "mobileface enhance dark.jpg folder/ video.mp4 --output DIR",
        "mobileface enhance dark.jpg --output DIR --histogram first_row --strength 0.5",
    ),
    "mobileface makeup photo.jpg --output out.jpg [--whole] [--whiten 0.15] [--strength 0.5]": (
        "mobileface makeup photo.jpg --output out.jpg",
        "mobileface makeup photo.jpg --output out.jpg --whole --whiten 0.15 --strength 0.5",
    ),
    "mobileface makeup photo.jpg --output out.jpg --like reference.jpg [--skin 0.8] [--lips 1] "
    "[--eyes 0.5]": (
        "mobileface makeup photo.jpg --output out.jpg --like reference.jpg",
        "mobileface makeup photo.jpg --output out.jpg --like reference.jpg --skin 0.8 --lips 1 "
        "--eyes 0.5",
    ),
    "mobileface anonymize photo.jpg folder/ video.mp4 --output DIR [--method pixelate] "
    "[--strength 2]": (
        "mobileface anonymize photo.jpg folder/ video.mp4 --output DIR",
        "mobileface anonymize photo.jpg --output DIR --method pixelate --strength 2",
    ),
    "mobileface background photo.jpg video.mp4 --output DIR --blur [STRENGTH] | --color COLOR "
    "| --image PICTURE": (
        "mobileface background photo.jpg video.mp4 --output DIR --blur",
        "mobileface background photo.jpg --output DIR --color teal",
        "mobileface background photo.jpg --output DIR --image dark.jpg",
    ),
    "mobileface portrait photo.jpg --output out.png [--line-width 1.5] [--darkness 0.8]": (
        "mobileface portrait photo.jpg --output out.png",
        "mobileface portrait photo.jpg --output out.png --line-width 1.5 --darkness 0.8",
    ),
    # docs/variants.md
    "mobileface analyze photo.jpg --precision int8": (
        f"mobileface-convert all --source {SOURCE} --calibrate {CROPS} --precision fp32 fp16 int8 "
        "--only identification_v3",
        "mobileface analyze photo.jpg --precision int8 --embedder identification_v3",
    ),
    "mobileface-convert all --calibrate faces [--precision fp32 fp16 int8] "
    "[--calibrate-photos DIR] [--ort]": (
        f"mobileface-convert all --source {SOURCE} --only identification_v3 --calibrate {CROPS} "
        "--output variants --precision fp32 fp16 int8",
    ),
    "mobileface certify [--models DIR] [--json]": (
        "mobileface certify",
        "mobileface certify --json",
    ),
    # docs/video.md
    f"{TRACK} VIDEO|CAMERA|URL --output OUT.mp4 --tracks OUT.jsonl": (
        f"{TRACK} video.mp4 --output OUT.mp4 --tracks OUT.jsonl",
    ),
}

REFUSED = {
    "mobileface detect photo.jpg --detector detection_v1 --score-threshold 0.5 "
    "--iou-threshold 0.45 --topk 200 --short-side 512": "detection_v1",
}
"""Commands for models whose published weights are in no source, with what the error names."""


def lines(document: Path) -> Iterator[str]:
    """The command lines of a document, continued lines joined, without comments."""
    text = re.sub(r"\\\n\s+", "", document.read_text(encoding="utf-8"))
    for line in text.splitlines():
        if found := COMMAND.match(line):
            yield COMMENT.sub("", found[1]).rstrip()


@pytest.fixture
def folder(tmp_path: Path, portrait: Path) -> Path:
    """What the documents call by name: photos, folders of people, a short video."""
    face = np.asarray(cv2.imread(str(portrait)), np.uint8)
    made = {
        "group": np.hstack([face, face[:, ::-1]]),
        "dark": face // 4,
        "b": face[:, ::-1],
        "ann2": face[4:, 4:],
        "new": face[8:, :-8],
    }
    names = (
        "photo",
        "a",
        "b",
        "new",
        "ann1",
        "ann2",
        "dark",
        "reference",
        "face",
        "group",
        "scene",
    )
    places = ("folder/c", "more/d", "people/Eileen/1", "photos/1")
    for name in (*names, *places):
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", made.get(name, face))[1].tobytes())
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(tmp_path / "video.mp4"), codec, 25, (320, 320))
    for shift in range(8):
        writer.write(np.ascontiguousarray(face[20:340, 60 + shift : 380 + shift]))
    writer.release()
    if CROPS.is_dir():
        for person in sorted(CROPS.iterdir())[:30]:
            shutil.copytree(person, tmp_path / "my_people" / person.name)
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "MOBILEFACE_GALLERY": str(folder / "people.gallery"),
        "MXNET_SUBGRAPH_BACKEND": "NONE",
    }
    for name in ("MOBILEFACE_HOME", "MOBILEFACE_SOURCE"):
        environment.pop(name, None)
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


NEEDED = {
    "convert.md": (pytest.mark.needs_packages, pytest.mark.needs_litert),
    "portrait.md": (pytest.mark.needs_vtracer,),
    "usage.md": (pytest.mark.needs_mediapipe,),
}
"""What the commands of a document need besides the source."""


@pytest.mark.needs_source
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(path, marks=NEEDED.get(path.name, ()), id=path.name)
        for path in DOCUMENTS
        if [*lines(path)]
    ],
)
def test_every_command_line_runs(document: Path, folder: Path, source: Path) -> None:
    assert source == SOURCE
    count = 0
    for line in lines(document):
        for command in WRITTEN.get(line, (line,)):
            done = run(command, folder)
            print(f"{done.returncode}  {command}")
            if line in REFUSED:
                assert (done.returncode, REFUSED[line] in done.stderr) == (2, True), done.stderr
            else:
                assert done.returncode == 0, (
                    f"{command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
                )
            count += 1
    print(f"{document.name}: {count} commands")
    assert count


def test_all_written_lines_are_in_a_document() -> None:
    documented = {line for path in DOCUMENTS for line in lines(path)}
    print(f"{len(documented)} lines")
    assert not {*WRITTEN, *REFUSED} - documented
