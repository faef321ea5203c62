"""How many CPUs there really are: affinity, cgroup quotas and the environment variable."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mobileface.errors import InputError
from mobileface.host import threads
from mobileface.host.threads import VARIABLE, available_cpus, default_threads, spins
from mobileface.models.index import INDEX_FILE
from mobileface.models.lookup import search_folders
from mobileface.models.session import Session

V1 = "3:cpuset:/other\n2:cpu,cpuacct:{}\n1:name=systemd:/x\n"


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


def tree(root: Path, groups: str, files: Mapping[str, str | bytes]) -> Path:
    """A root folder with ``proc/self/cgroup`` and files under ``sys/fs/cgroup``."""
    contents = {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    for name, content in {"proc/self/cgroup": groups, **contents}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [
        ("max 100000\n", 8),
        ("150000 100000\n", 2),
        ("100000 100000\n", 1),
        ("100001 100000\n", 2),
        ("1000 100000\n", 1),
        ("400000 100000\n", 4),
        ("50000 10000\n", 5),
        ("9000000 100000\n", 8),
    ],
)
def test_version_2(tmp_path: Path, limit: str, cpus: int) -> None:
    assert available_cpus(tree(tmp_path, "0::/group\n", {"group/cpu.max": limit})) == cpus


GARBAGE = ["", "max", "\n", "abc 100000", "1 2 3", "200000", "0 100000", "100000 0", "-1 100000"]
GARBAGE += ["1.5 1", "²00000 100000", "200000 100000 extra"]


@pytest.mark.parametrize("content", [*GARBAGE, b"\xff\xfe\x00"])
def test_garbage_is_no_limit(tmp_path: Path, content: str | bytes) -> None:
    assert available_cpus(tree(tmp_path, "0::/\n", {"cpu.max": content})) == 8


@pytest.mark.parametrize(
    ("limits", "cpus"),
    [
        (("500000 100000", "300000 100000", "max 100000"), 3),
        (("max 100000", "300000 100000", "600000 100000"), 3),
        (("200000 100000", "max 100000", "700000 100000"), 2),
        (("max 100000", "max 100000", "max 100000"), 8),
    ],
)
def test_the_smallest_of_nested_groups(
    tmp_path: Path, limits: tuple[str, str, str], cpus: int
) -> None:
    names = ("a/b/cpu.max", "a/cpu.max", "cpu.max")
    files = dict(zip(names, limits, strict=True))
    assert available_cpus(tree(tmp_path, "0::/a/b\n", files)) == cpus


def test_inside_a_container_only_the_base_exists(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/system.slice/docker-1.scope\n", {"cpu.max": "200000 100000"})
    assert available_cpus(root) == 2


def test_groups_beside_ours_do_not_count(tmp_path: Path) -> None:
    files = {"other/cpu.max": "100000 100000", "ours/cpu.max": "max 100000"}
    assert available_cpus(tree(tmp_path, "0::/ours\n", files)) == 8


@pytest.mark.parametrize(
    ("quota", "period", "cpus"),
    [
        ("250000", "100000", 3),
        ("-1", "100000", 8),
        ("0", "100000", 8),
        ("", "100000", 8),
        ("200000", "", 8),
        ("garbage", "100000", 8),
        ("100000", "0", 8),
    ],
)
@pytest.mark.parametrize("path", ["/", "/docker/1"])
def test_version_1(tmp_path: Path, path: str, quota: str, period: str, cpus: int) -> None:
    group = f"cpu{path}".rstrip("/")
    files = {f"{group}/cpu.cfs_quota_us": quota, f"{group}/cpu.cfs_period_us": period}
    assert available_cpus(tree(tmp_path, V1.format(path), files)) == cpus


def test_version_1_nested(tmp_path: Path) -> None:
    files = {}
    for group, quota in {"cpu": "600000", "cpu/a": "200000", "cpu/a/b": "-1"}.items():
        files[f"{group}/cpu.cfs_quota_us"] = quota
        files[f"{group}/cpu.cfs_period_us"] = "100000"
    assert available_cpus(tree(tmp_path, V1.format("/a/b"), files)) == 2


def test_both_versions_at_once(tmp_path: Path) -> None:
    files = {
        "cpu/cpu.cfs_quota_us": "300000",
        "cpu/cpu.cfs_period_us": "100000",
        "user/cpu.max": "max 100000",
    }
    assert available_cpus(tree(tmp_path, V1.format("/") + "0::/user\n", files)) == 3


@pytest.mark.parametrize("groups", ["", "\n", "garbage", "::", "0:", "1:cpu", "0::/\0"])
def test_broken_list_of_groups(tmp_path: Path, groups: str) -> None:
    assert available_cpus(tree(tmp_path, groups, {})) == 8


def test_no_proc_and_no_sys(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == 8


def test_affinity_is_the_upper_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path, "0::/\n", {"cpu.max": "500000 100000"})
    for count, cpus in ((1, 1), (4, 4), (6, 5)):
        affinity = set(range(count))
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, a=affinity: a, raising=False)
        assert available_cpus(root) == cpus


@pytest.mark.parametrize(("count", "cpus"), [(6, 6), (None, 1)])
def test_without_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int | None, cpus: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert available_cpus(tmp_path) == cpus


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("3", 3), ("016", 16)])
def test_variable(monkeypatch: pytest.MonkeyPatch, text: str, count: int) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert default_threads() == count


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "two", " 2", "2 ", "+2", "²", "1e3"])
def test_bad_variable(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError, match="is not a whole number from 1") as caught:
        default_threads()
    assert caught.value.where == VARIABLE


@pytest.mark.parametrize("text", ["99999999999", "9" * 5000], ids=["1e11", "1e5000"])
def test_variable_beyond_reason(monkeypatch: pytest.MonkeyPatch, models: Path, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError) as caught:
        Session(models / "tiny_gray.onnx")
    assert caught.value.where == VARIABLE


def test_session_uses_the_cpus_there_are(monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    monkeypatch.setattr(threads, "available_cpus", lambda: 2)
    assert session_threads(Session(models / "tiny_gray.onnx")) == (2, 1)
    monkeypatch.setenv(VARIABLE, "3")
    assert session_threads(Session(models / "tiny_gray.onnx")) == (3, 1)
    assert session_threads(Session(models / "tiny_gray.onnx", intra_op_num_threads=1)) == (1, 1)


def test_own_options_are_used_as_they_are(monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    monkeypatch.setenv(VARIABLE, "3")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.inter_op_num_threads = 2
    assert session_threads(Session(models / "tiny_gray.onnx", sess_options=options)) == (2, 2)


def session_threads(session: Session) -> tuple[int, int]:
    """Threads inside operators and across them, as ONNX Runtime was told."""
    options = session._session.get_session_options()
    return options.intra_op_num_threads, options.inter_op_num_threads


@pytest.mark.parametrize(
    ("threads", "wanted", "expected"),
    [(1, None, 0), (2, None, 0), (3, None, 1), (1, True, 0), (2, True, 1), (8, False, 0)],
)
def test_spinning(models: Path, threads: int, wanted: bool | None, expected: int) -> None:
    session = Session(models / "tiny_gray.onnx", intra_op_num_threads=threads, spinning=wanted)
    assert entry(session, "session.intra_op.allow_spinning") == str(expected)
    assert entry(session, "session.force_spinning_stop") == "1"
    assert spins(threads, wanted) is bool(expected)


def test_nothing_spins_in_a_stream_unless_asked_for(models: Path) -> None:
    for wanted, expected in ((None, "0"), (True, "1"), (False, "0")):
        session = Session(
            models / "tiny_gray.onnx", intra_op_num_threads=4, spinning=wanted, stream=True
        )
        assert entry(session, "session.intra_op.allow_spinning") == expected


def entry(session: Session, name: str) -> str:
    """What ONNX Runtime was told."""
    found = session._session.get_session_options().get_session_config_entry(name)
    assert isinstance(found, str)
    return found


def test_spinning_with_own_options(models: Path) -> None:
    options = onnxruntime.SessionOptions()
    with pytest.raises(InputError, match="sess_options or spinning, not both"):
        Session(models / "tiny_gray.onnx", sess_options=options, spinning=True)


def test_threads_sleep_between_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they spin during a run or not: ONNX Runtime's own go on for tens of milliseconds."""
    monkeypatch.undo()
    import mobileface

    embedder = mobileface.load_embedder(
        "embedding_dlib", intra_op_num_threads=4, spinning=True, models=starter()
    )
    crops = [np.full((150, 150, 3), 100, np.uint8)]
    embedder.embed(crops)
    used = []
    for _ in range(5):
        embedder.embed(crops)
        cpu, start = time.process_time(), time.perf_counter()
        time.sleep(0.1)
        used.append((time.process_time() - cpu) / (time.perf_counter() - start))
    print(f"share of a CPU while idle: {used}")
    assert min(used) < 0.1


ONE_CPU = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np
import mobileface
before = len(os.listdir("/proc/self/task"))
analyzer = mobileface.FaceAnalyzer(sys.argv[1])
analyzer(np.zeros((240, 320, 3), np.uint8))
sessions = [s for found in analyzer.sessions.values() for s in found]
print([session.threads for session in sessions], len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_on_one_cpu_no_session_starts_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    command = [sys.executable, "-c", ONE_CPU, str(starter())]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "[1, 1, 1, 1, 1, 1] 0\n"


def starter() -> Path:
    """The starter set."""
    places = search_folders()[-2:]
    return next(place for place in places if (place / INDEX_FILE).is_file())


def test_no_more_than_four_threads_for_each_cpu(
    monkeypatch: pytest.MonkeyPatch, models: Path
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setenv(VARIABLE, "32")
    assert default_threads() == 32
    for text in ("33", "9999"):
        monkeypatch.setenv(VARIABLE, text)
        with pytest.raises(InputError, match=f"'{text}' is not a whole number from 1 to 32"):
            default_threads()
        with pytest.raises(InputError, match=f"at most 32 .*not {text}"):
            Session(models / "tiny_gray.onnx", intra_op_num_threads=int(text))
