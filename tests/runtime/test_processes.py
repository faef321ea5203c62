"""Other processes and threads: what was loaded in one gives the same results in every other."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mobileface import FaceAnalyzer, FaceFollower, Tracker, load_detector, load_embedder, read_image
from mobileface.errors import InputError, ModelIntegrityError
from mobileface.models.session import Session
from mobileface.tasks.attributes import AttributePredictor
from mobileface.tasks.embedding import Embedder
from mobileface.vision.image import Image
from tests.runtime.tiny import max_error

TESTS = Path(__file__).resolve().parents[1]
YOLO = TESTS / "models" / "yolo"

PROGRAM = '''
import asyncio, concurrent.futures, multiprocessing, os, sys
import numpy as np
import mobileface

def numbers(analyzer, image):
    (face,) = analyzer(image)
    return np.concatenate([face.bbox, [face.det_score], face.landmarks.points.ravel(),
                           face.embedding])

def child(analyzer, image, queue):
    queue.put(numbers(analyzer, image))

def by_process(method, analyzer, image):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    workers = [context.Process(target=child, args=(analyzer, image, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(30)
    codes = [worker.exitcode for worker in workers]
    assert codes == [0, 0], codes
    return found

def by_pool(method, analyzer, image):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        return list(pool.map(numbers, [analyzer] * 3, [image] * 3, timeout=60))

def by_threads(_, analyzer, image):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        return list(pool.map(numbers, [analyzer] * 6, [image] * 6, timeout=60))

def by_asyncio(_, analyzer, image):
    async def run():
        return await asyncio.gather(*(asyncio.to_thread(numbers, analyzer, image)
                                      for _ in range(4)))
    return asyncio.run(run())

def bare_fork(use, analyzer, image):
    """Children that use, or only inherit, the models, and grandchildren."""
    found = []
    for generation in range(3):
        read, write = os.pipe()
        number = os.fork()
        if not number:
            os.close(read)
            if use == "used":
                os.write(write, numbers(analyzer, image).tobytes())
            os.close(write)
            if generation == 2 and os.fork():
                _, status = os.wait()
                sys.exit(status != 0)
            if generation == 2 and use == "used":
                numbers(analyzer, image)
            sys.exit(0)  # ends as a program does: everything is destroyed
        os.close(write)
        with os.fdopen(read, "rb") as stream:
            data = stream.read()
        if use == "used":
            found.append(np.frombuffer(data))
        _, status = os.waitpid(number, 0)
        assert status == 0, status
    return found

if __name__ == "__main__":
    way, method, picture = sys.argv[1:]
    image = np.load(picture)
    analyzer = mobileface.FaceAnalyzer(intra_op_num_threads=2)
    expected = numbers(analyzer, image)
    found = globals()[way](method, analyzer, image)
    found.append(numbers(analyzer, image))  # the parent goes on as before
    worst = max(float(np.abs(row - expected).max()) for row in found)
    print(f"{way} {method}: {len(found)} results, largest difference {worst:.3g}")
    assert worst <= 1e-6
'''


@pytest.fixture(scope="module")
def image(portrait: Path) -> Image:
    return read_image(portrait)


WAYS = [
    ("by_process", "fork"),
    ("by_process", "spawn"),
    ("by_pool", "fork"),
    ("by_pool", "spawn"),
    ("by_threads", "threads"),
    ("by_asyncio", "to_thread"),
    ("bare_fork", "used"),
    ("bare_fork", "unused"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize(("way", "method"), WAYS)
def test_same_results_and_a_clean_exit(tmp_path: Path, image: Image, way: str, method: str) -> None:
    program, picture = tmp_path / "program.py", tmp_path / "image.npy"
    program.write_text(PROGRAM)
    np.save(picture, image)
    command = [sys.executable, "-W", "ignore", str(program), way, method, str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(intra_op_num_threads=1)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_analyzer_can_be_pickled(analyzer: FaceAnalyzer, image: Image, protocol: int) -> None:
    there = pickle.loads(pickle.dumps(analyzer, protocol))
    assert there.models == analyzer.models
    assert there.variants == analyzer.variants
    ((here, found),) = zip(analyzer(image), there(image), strict=True)
    assert max_error(found.embedding, here.embedding) <= 1e-6
    assert max_error(found.landmarks.points, here.landmarks.points) <= 1e-6
    assert len(pickle.dumps(analyzer)) < 100_000, "the models themselves are not in it"


def test_parts_can_be_pickled(analyzer: FaceAnalyzer, image: Image) -> None:
    detector = load_detector("detection_hog", intra_op_num_threads=1, score_threshold=0.1)
    found = pickle.loads(pickle.dumps(detector)).detect(image)
    assert max_error(found.boxes, detector.detect(image).boxes) == 0
    assert analyzer.embedder is not None
    embedder = load_embedder("embedding_dlib", intra_op_num_threads=1)
    crop = np.random.RandomState(0).randint(0, 256, (150, 150, 3)).astype(np.uint8)
    for again in (pickle.loads(pickle.dumps(embedder)), copy.deepcopy(embedder)):
        assert max_error(again.embed(crop), embedder.embed(crop)) <= 1e-6
    yolo = load_detector(YOLO / "tiny_yolo.onnx", intra_op_num_threads=1, topk=7)
    expected = yolo.detect(image)
    assert max_error(pickle.loads(pickle.dumps(yolo)).detect(image).boxes, expected.boxes) <= 1e-6
    predictor = AttributePredictor(Session(YOLO / "tiny_attributes.onnx", intra_op_num_threads=1))
    assert pickle.loads(pickle.dumps(predictor)).predict(crop)[0].age == pytest.approx(
        predictor.predict(crop)[0].age, abs=1e-6
    )


def test_trackers_are_pickled_with_what_they_know(analyzer: FaceAnalyzer, image: Image) -> None:
    tracker, boxes = Tracker(min_hits=1), np.array([[10.0, 20, 60, 80], [200, 10, 260, 90]])
    for step in range(5):
        tracker.update(boxes + step)
    there = pickle.loads(pickle.dumps(tracker))
    for step in range(5, 9):
        here, found = tracker.update(boxes + step), there.update(boxes + step)
        assert [track.track_id for track in found] == [track.track_id for track in here]
        assert max_error(np.stack([t.bbox for t in found]), np.stack([t.bbox for t in here])) == 0
    follower = FaceFollower(analyzer, min_hits=1)
    follower(image)
    again = pickle.loads(pickle.dumps(follower))
    assert [face.track_id for face in again(image).faces] == [
        face.track_id for face in follower(image).faces
    ]


def test_a_relative_path_is_found_from_another_folder(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models)
    data = pickle.dumps(Session("tiny_gray.onnx", intra_op_num_threads=1))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(data).path == models / "tiny_gray.onnx"


def test_options_of_ones_own_are_refused_by_name(models: Path) -> None:
    session = Session(models / "tiny_gray.onnx", sess_options=onnxruntime.SessionOptions())
    with pytest.raises(InputError, match="sess_options") as caught:
        pickle.dumps(Embedder(session))
    assert caught.value.where == str(models / "tiny_gray.onnx")
    assert "intra_op_num_threads" in caught.value.hint


def test_another_model_under_the_same_name(
    copied_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(copied_models / "tiny_gray.onnx")
    content = (copied_models / "tiny_color.onnx").read_bytes()
    (copied_models / "tiny_gray.onnx").write_bytes(content)
    monkeypatch.setattr(session, "_process", (0, 0))  # as after a fork
    with pytest.raises(ModelIntegrityError, match="another model"):
        session.run({"data": np.zeros((1, 1, 20, 20), np.float32)})
