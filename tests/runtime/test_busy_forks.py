"""A process that forks while its other threads analyse: every child works, and none waits for ever.

A child inherits the locks that the parent's other threads hold at that moment, but not the threads
that would release them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobileface import read_image

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")

PROGRAM = '''
import concurrent.futures, multiprocessing, os, signal, sys, threading, time
import numpy as np
import mobileface

def numbers(analyzer, image):
    (face,) = analyzer(image)
    return np.concatenate([face.bbox, [face.det_score], face.landmarks.points.ravel(),
                           face.embedding])

def load():
    return mobileface.FaceAnalyzer(intra_op_num_threads=2)

def child(analyzer, image, expected):
    """Compares; a process that waits for ever is ended by SIGALRM."""
    signal.alarm(60)  # not inherited by a fork, unlike a watchdog of faulthandler
    for used in (analyzer, load()) if busy is load else (analyzer,):
        worst = float(np.abs(numbers(used, image) - expected).max())
        assert worst <= 1e-6, worst

def by_os(end, *arguments):
    number = os.fork()
    if not number:
        try:
            child(*arguments)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        end(0)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])

def by_fork(*arguments):
    return by_os(sys.exit, *arguments)  # ends as a program does: everything is destroyed

def by_pool(*arguments):
    """Threads of a pool fork; there a child must not leave by an exception, in any program."""
    return max(pool.map(lambda _: by_os(os._exit, *arguments), range(2)))

def by_process(*arguments):
    worker = multiprocessing.get_context("fork").Process(target=child, args=arguments)
    worker.start()
    worker.join(90)
    return worker.exitcode

def grandchild(analyzer, image, expected):
    child(analyzer, image, expected)
    within(lambda *found: by_os(os._exit, *found), 1, analyzer, image, expected)

def by_generations(*arguments):
    """The child opens its models again, its threads use them, and it forks too."""
    number = os.fork()
    if not number:
        try:
            grandchild(*arguments)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        sys.exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])

def within(way, turns, analyzer, image, expected):
    """Forks at random moments while two threads are busy."""
    over, random = threading.Event(), np.random.RandomState(0)
    def work():
        while not over.is_set():
            busy() if busy is load else busy(analyzer, image)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(turns):
            time.sleep(random.uniform(0, 0.1))
            code = way(analyzer, image, expected)
            assert code == 0, (turn, code)
    finally:
        over.set()
        for thread in threads:
            thread.join()

if __name__ == "__main__":
    way, what, turns, picture = sys.argv[1:]
    busy = {"analyse": numbers, "load": load}[what]
    image, analyzer = np.load(picture), load()
    expected = numbers(analyzer, image)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        within(globals()[way], int(turns), analyzer, image, expected)
    worst = float(np.abs(numbers(analyzer, image) - expected).max())
    print(f"{turns} times {way} while others {what}; the parent's difference {worst:.3g}")
    assert worst <= 1e-6
'''

TURNS = 20
CASES = [
    ("by_fork", "analyse"),
    ("by_fork", "load"),
    ("by_process", "analyse"),
    ("by_pool", "analyse"),
    ("by_generations", "analyse"),
]


@pytest.mark.endurance
@pytest.mark.parametrize(("way", "what"), CASES)
def test_forks_at_random_moments(tmp_path: Path, portrait: Path, way: str, what: str) -> None:
    run(tmp_path, portrait, way, what, TURNS)


@pytest.mark.slow
def test_forks_while_threads_analyse(tmp_path: Path, portrait: Path) -> None:
    """A few of the above, in every run of the tests."""
    run(tmp_path, portrait, "by_fork", "analyse", 3)


def run(folder: Path, portrait: Path, way: str, what: str, turns: int) -> None:
    program, picture = folder / "program.py", folder / "image.npy"
    program.write_text(PROGRAM)
    np.save(picture, read_image(portrait))
    command = [sys.executable, "-W", "ignore", str(program), way, what, str(turns), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
