"""``mobileface-eval speed``: run time per crop."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from mobileface.errors import InputError
from mobileface.host.threads import default_threads

from ..embedding import FaceSource, open_embedder
from ..plots import plot_speed
from ..report import table, write_report
from .options import add_embedders, add_output

__all__ = ["add_speed"]

_WARM_UP = 10


def add_speed(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-eval speed``."""
    add = parser.add_argument
    add("--models", type=Path, metavar="DIR", help="folder to search for models")
    add("--runs", type=int, default=100, metavar="N", help="runs per model; default: %(default)s")
    add("--batch", type=int, default=1, metavar="N", help="crops per run; default: %(default)s")
    add("--threads", type=int, metavar="N", help="default: all that this process may use")
    add_output(parser)
    add_embedders(parser, several=True)
    parser.set_defaults(run=run_speed)


def run_speed(options: argparse.Namespace) -> int:
    """Times `Embedder.embed`, from uint8 pixels to L2-normalised embeddings, runs interleaved."""
    threads = options.threads or default_threads()
    if min(options.runs, options.batch, threads) < 1:
        raise InputError("--runs, --batch and --threads must be at least 1")
    random = np.random.default_rng(0)
    embedders, labels, crops = [], [], []
    for name in options.embedder:
        model = open_embedder(name, options.models, intra_op_num_threads=threads)
        embedders.append(model)
        labels.append(FaceSource(name or model.name).label)
        shape = (options.batch, model.image.height, model.image.width, 3)
        crops.append(random.integers(0, 256, shape, dtype=np.uint8))
    times = np.empty((len(embedders), options.runs))
    for run in range(-_WARM_UP, options.runs):  # interleaved: other load affects all models
        for number, (model, images) in enumerate(zip(embedders, crops, strict=True)):
            start = time.perf_counter()
            model.embed(images)
            if run >= 0:
                times[number, run] = (time.perf_counter() - start) * 1e3 / options.batch
    low, middle, high = np.percentile(times, (25, 50, 75), axis=1)
    rows = [
        (name, float(m), float(a), float(b))
        for name, m, a, b in zip(labels, middle, low, high, strict=True)
    ]
    text = f"batch {options.batch}, {threads} thread{'s' if threads > 1 else ''}"
    summary = [
        f"Median of {options.runs} runs, {text}",
        "",
        *table(
            ("model", "ms per crop", "quartiles", "MB"),
            [
                (
                    name,
                    f"{m:.2f}",
                    f"{a:.2f} to {b:.2f}",
                    f"{model.session.path.stat().st_size / 1e6:.2f}",
                )
                for model, (name, m, a, b) in zip(embedders, rows, strict=True)
            ],
        ),
    ]
    numbers = {
        "batch": options.batch,
        "threads": threads,
        "runs": options.runs,
        "models": [
            {"name": name, "model": model.identity, "median_ms": m, "quartiles_ms": [a, b]}
            for model, (name, m, a, b) in zip(embedders, rows, strict=True)
        ],
    }
    write_report(options.output, "speed", plot_speed(rows, text), numbers, summary)
    return 0
