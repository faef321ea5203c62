"""A gallery of a million people on all CPUs: run time compared with faiss-cpu, and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("gallery_million.py")
LARGEST_PEAK = 1.3e9


def test_a_million(tmp_path: Path) -> None:
    """Runs in a separate process, because this suite is pinned to one CPU."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in threads}
    code = (
        "import os, runpy, sys; os.sched_setaffinity(0, range(os.cpu_count()));"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(SCRIPT), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found = json.loads(result.stdout)
    print(json.dumps(found, indent=2))
    assert found["equal"] == 1
    assert found["peak_bytes"] <= LARGEST_PEAK
