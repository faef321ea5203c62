"""Runs every task of an installed mobileface and stores the results, on any machine.

    python board.py CASES OUT.npz [--models DIR ...]

CASES contains PNG images and ``faces.json``, the boxes and landmarks that are passed to the tasks:
the input of a task never depends on the results of another task on the same machine. Networks get
images of their own input size, because OpenCV's scaling rounds differently on ARM (by one grey
level, in up to a quarter of the pixels); the effect on the final results is measured from whole
photos. Each array is named ``measure/model.variant/image``; the measure determines how it is
compared, see `compare`. Only the runtime's dependencies are imported.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import mobileface
from mobileface import Attributes, Face, Landmarks, Tracker
from mobileface.models.kinds import YoloSpec
from mobileface.tasks.align import allows_crop
from mobileface.tasks.yunet_detector import YunetDetector

BOARD = "aarch64"
Arrays = dict[str, Any]
Faces = dict[str, list[Face]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--models", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    images = {
        path.stem: np.asarray(cv2.imread(str(path)), np.uint8)
        for path in sorted(options.cases.glob("*.png"))
    }
    faces = read_faces(options.cases / "faces.json")
    found: Arrays = {}
    for folder in (None, *options.models):
        for model in mobileface.list_models(folder):
            for stored in model.variants:
                name, machines = stored.variant.name, stored.variant.condition.machines
                if not machines or BOARD in machines:
                    task = mobileface.load(model.name, models=folder, variant=name)
                    found |= dict(run(task, f"{model.name}.{name}", images, faces))
    found |= dict(pipeline(images)) | dict(other_tasks(images, faces))
    np.savez(options.output, **found)
    print(f"{len(found)} arrays from {mobileface.__file__}")


def read_faces(path: Path) -> Faces:
    """The faces of each image."""
    document = json.loads(path.read_text())
    return {
        image: [
            Face(
                bbox=np.array(face["bbox"], np.float32),
                det_score=1.0,
                landmarks=Landmarks(tuple(face["names"]), np.array(face["points"], np.float32)),
            )
            for face in found
        ]
        for image, found in document.items()
    }


def run(task: Any, label: str, images: Arrays, faces: Faces) -> Iterator[tuple[str, Any]]:
    """Yields the outputs of one model for all images."""
    if isinstance(task, mobileface.PoseEstimator):
        points = np.random.RandomState(0).randint(0, 200, (20, len(task.points), 2))
        poses = [task.estimate(face) for face in points]
        yield f"pose/{label}/", np.array([(p.pitch, p.roll, p.yaw) for p in poses])
        return
    if isinstance(task, mobileface.MeshPoseEstimator):
        pose = task.estimate(task.sample())
        yield f"pose/{label}/", np.array([(pose.pitch, pose.roll, pose.yaw)])
        return
    for name, image in images.items():
        where = f"{label}/{name}"
        here = faces[name]
        if isinstance(task, mobileface.Detector):
            yolo = task.spec.get(YoloSpec)
            small = sample(image, yolo.short_side, yolo.short_side) if yolo else image
            if isinstance(task, YunetDetector):
                task.max_side = 0  # no scaling
            detections = task.detect(small)
            yield f"box/{where}", detections.boxes
            yield f"score/{where}", detections.scores
            if detections.keypoints is not None:
                yield f"point/{where}", detections.keypoints
        elif isinstance(task, mobileface.LandmarkPredictor):
            marks = task.predict(image, [face.bbox for face in here])
            yield f"point/{where}", np.stack([mark.points for mark in marks])
        elif isinstance(task, mobileface.MeshPredictor):  # the network alone: squares are warped
            image_input = task.spec.require_input()
            size = (image_input.height, image_input.width)
            squares = np.stack([sample(crop_box(image, face), *size) for face in here])
            outputs = task.session.run({image_input.name: squares})
            yield f"point/{where}", outputs["points"]
            yield f"score/{where}", outputs["presence"]
        elif isinstance(task, mobileface.PersonSegmenter):  # the network alone: images are scaled
            image_input = task.spec.require_input()
            square = sample(image, image_input.height, image_input.width)[None]
            yield f"mask/{where}", task.session.run({image_input.name: square})["mask"]
        else:
            size = (task.image.height, task.image.width)
            crops = [sample(crop_box(image, face), *size) for face in here]
            if task.spec.task == "attributes":
                found = task.predict(crops)
                yield f"probability/{where}", np.stack([probabilities(each) for each in found])
                continue
            int8 = label.endswith("int8")
            yield f"{'integer-' if int8 else ''}embedding/{where}", task.embed(crops)
            photos = aligned(image, here, task.crop)
            if photos:
                yield f"photo-embedding/{where}", task.embed(photos)


def crop_box(image: Any, face: Face) -> Any:
    """Crops the face box from an image."""
    x1, y1, x2, y2 = np.maximum(face.bbox, 0).astype(int)
    return image[y1:y2, x1:x2]


def sample(image: Any, height: int, width: int) -> Any:
    """Resizes an image by nearest-neighbour sampling in integers, the same on every machine."""
    rows, columns = (
        np.arange(n) * m // n for n, m in ((height, len(image)), (width, len(image[0])))
    )
    return np.ascontiguousarray(image[rows][:, columns])


def aligned(image: Any, faces: list[Face], crop: str) -> list[Any]:
    """Aligned crops of the faces whose landmarks are sufficient for the crop."""
    found = []
    for face in faces:
        assert face.landmarks is not None
        if allows_crop(face.landmarks.names, crop):
            found.append(mobileface.align(image, face.landmarks, crop=crop))
    return found


def probabilities(found: Attributes) -> Any:
    parts = (found.gender_probs, found.age_probs, found.expression_probs)
    return np.concatenate([part for part in parts if part is not None])


def pipeline(images: Arrays) -> Iterator[tuple[str, Any]]:
    """Yields the results of the full pipeline with the preferred models on every image."""
    analyzer = mobileface.FaceAnalyzer()
    for name, image in images.items():
        found = analyzer(image)
        assert found, f"no face in {name}"
        yield f"box/analyzer/{name}", np.stack([face.bbox for face in found])
        yield f"photo-point/analyzer/{name}", np.stack([face.kps for face in found])
        yield f"photo-embedding/analyzer/{name}", np.stack([face.embedding for face in found])


def other_tasks(images: Arrays, faces: Faces) -> Iterator[tuple[str, Any]]:
    """Yields the results of the tasks without a model."""
    for name, image in images.items():
        for crop in ("mobileface", "arcface", "dlib"):
            crops = aligned(image, faces[name], crop)
            if crops:
                yield f"level/align {crop}/{name}", np.stack(crops)
        yield f"level/enhance/{name}", mobileface.enhance(image)
        yield f"level/makeup/{name}", mobileface.makeup(image, faces[name])
    random, tracker = np.random.RandomState(0), Tracker()
    place = random.rand(10, 2) * 500
    for number in range(30):
        boxes = np.hstack([place, place + 60]) + random.randn(10, 4)
        tracks = tracker.update(boxes[random.rand(10) > 0.1])
        place = place + 2
        yield (
            f"box/track/{number}",
            np.array([(t.track_id, *t.bbox) for t in tracks]).reshape(-1, 5),
        )


if __name__ == "__main__":
    main()
