"""``mobileface-convert optimize``: rewrites any ONNX or TensorFlow Lite network; shows the gain.

``--json`` prints one object::

    {"schema": 1, "file": "OUT.onnx", "machine": "x86", "nodes": 96, "bytes": 3512345,
     "before": {"file": "IN.onnx", "nodes": 141, "bytes": 3519365, "median_ms": 1.92},
     "candidates": [{"machine": "plain", "median_ms": 1.7, "ratio": 0.89}, …],
     "passes": [{"name": "fold_batchnorm", "changed": ["bn1 into conv1", …],
                 "refused": [{"node": "bn7", "reason": "…"}]}, …],
     "verification": {"oracle": "…", "shapes": [{"data": [1, 3, 112, 112]}, …],
                      "errors": {"embedding": 1.2e-6}},
     "threads": 1,
     "int8": {"file": "OUT.int8.onnx", "bytes": 951234, "median_ms": 1.1, "mean_cosine": 0.997}}

``median_ms`` is the time of one run with batch 1 on rotating random inputs; the networks take
turns.
``int8`` is null without ``--calibrate``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from mobileface.errors import ConversionError, shown
from mobileface.host.output_options import OutputFile
from mobileface.host.outputs import check_outputs

from ..exports.exported import write_exported
from ..exports.interface import parse_shape
from ..exports.optimised import (
    MACHINES,
    TOLERANCE,
    Optimised,
    Pixels,
    lines_of,
    optimise_network,
    read,
)
from ..exports.optimised_int8 import Int8, quantised

__all__ = ["add_optimize"]

_SHOWN = 12
_ENDINGS = (".certificate.json", ".int8.onnx", ".int8.certificate.json")


def add_optimize(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-convert optimize``."""
    add = parser.add_argument
    add("file", type=Path, metavar="IN.onnx|IN.tflite", help="the network")
    add("--output", action=OutputFile, required=True, metavar="OUT.onnx")
    add(
        "--machine",
        choices=("auto", *MACHINES),
        default="auto",
        help="rewrite for any machine (portable), for x86-64 (x86), only fold (plain), or "
        "whichever is fastest on this machine (auto); default: %(default)s",
    )
    add(
        "--input",
        choices=("float32", "uint8"),
        default="float32",
        help="keep the inputs, or let the only image be uint8 N,H,W,C; default: %(default)s",
    )
    for name, neutral in (("mean", 0.0), ("std", 1.0)):
        add(
            f"--{name}",
            nargs="+",
            type=float,
            metavar="X",
            help=f"for uint8: the {name} that images were scaled with, one value or one per "
            f"channel; default: {neutral:g}",
        )
    add("--normalize", action="store_true", help="L2-normalise the rows of the only output")
    add(
        "--input-shape",
        action="append",
        default=[],
        metavar="[NAME=]1,3,112,112",
        help="sizes to compare and time with, for an input whose sizes are dynamic",
    )
    add(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="with uint8: also write OUT.int8.onnx, quantised with the images of this folder",
    )
    add("--tolerance", type=float, default=TOLERANCE, help="default: %(default)g")
    add("--threads", type=int, default=1, metavar="N", help="for the times; default: %(default)s")
    add("--seconds", type=float, default=10.0, help="time for measuring; default: %(default)g")
    add("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=_optimize)


def _optimize(options: argparse.Namespace) -> int:
    output: Path = options.output
    files = [
        output,
        *(
            output.with_name(f"{output.stem}{end}")
            for end in (".certificate.json", ".int8.onnx", ".int8.certificate.json")
        ),
    ]
    check_outputs(files, [options.file])
    _check(options)
    shapes = dict(parse_shape(text) for text in options.input_shape)
    model = read(options.file)
    found = optimise_network(
        model,
        str(options.file),
        machines=MACHINES if options.machine == "auto" else (options.machine,),
        pixels=_pixels(options),
        normalize=options.normalize,
        shapes=shapes,
        tolerance=options.tolerance,
        threads=options.threads,
        seconds=options.seconds,
    )
    small = None
    if options.calibrate is not None:
        small = quantised(found.best.model, options.calibrate, str(options.file), options.threads)
    best = found.best
    exported = write_exported(
        output,
        best.model,
        [options.file],
        inputs={},
        passes=best.passes,
        note="",
        parity=best.parity,
    )
    if small is not None:
        write_exported(
            files[2],
            small.model,
            [options.file],
            inputs={},
            passes=best.passes,
            note="",
            parity=None,
        )
    document = _document(options, found, len(model.graph.node), exported.bytes, small)
    if options.json:
        print(json.dumps(document, allow_nan=False))
    else:
        _print(found, document)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Checks options that do not go together.

    Raises:
        ConversionError: Some do not.
    """
    if options.input != "uint8":
        for name in ("mean", "std", "calibrate"):
            if getattr(options, name) is not None:
                raise ConversionError(f"--{name} needs --input uint8")
    if options.std is not None and not all(value > 0 for value in options.std):
        raise ConversionError("--std must be above 0")
    if options.threads < 1:
        raise ConversionError(f"--threads must be at least 1, not {options.threads}")
    if not 0 < options.seconds < 86400:
        raise ConversionError(f"--seconds must be above 0, not {options.seconds}")
    if not options.tolerance > 0:
        raise ConversionError(f"--tolerance must be above 0, not {options.tolerance}")


def _pixels(options: argparse.Namespace) -> Pixels | None:
    if options.input != "uint8":
        return None
    return Pixels(tuple(options.mean or (0.0,)), tuple(options.std or (1.0,)))


def _document(
    options: argparse.Namespace, found: Optimised, nodes: int, size: int, small: Int8 | None
) -> dict[str, Any]:
    best = found.best
    return {
        "schema": 1,
        "file": str(options.output),
        "machine": best.machine,
        "nodes": len(best.model.graph.node),
        "bytes": size,
        "before": {
            "file": str(options.file),
            "nodes": nodes,
            "bytes": options.file.stat().st_size,
            "median_ms": found.before,
        },
        "candidates": [
            {
                "machine": each.machine,
                "median_ms": each.milliseconds,
                "ratio": each.milliseconds / found.before,
            }
            for each in found.candidates
        ],
        "passes": [
            {
                "name": record.name,
                "changed": list(record.result.changed),
                "refused": [dataclasses.asdict(refused) for refused in record.result.refused],
            }
            for record in best.passes
        ],
        "verification": dataclasses.asdict(best.parity),
        "threads": found.threads,
        "int8": None
        if small is None
        else {
            "file": f"{options.output.stem}.int8.onnx",
            "bytes": small.model.ByteSize(),
            "median_ms": small.milliseconds,
            "mean_cosine": small.mean_cosine,
        },
    }


def _print(found: Optimised, document: dict[str, Any]) -> None:
    for record in found.best.passes:
        changed, refused = record.result.changed, record.result.refused
        if changed:
            print(shown(f"{record.name}: {len(changed)} changes"))
        for left in refused[:_SHOWN]:
            print(shown(f"{record.name} left '{left.node}': {left.reason}"))
        if len(refused) > _SHOWN:
            print(f"{record.name} left {len(refused) - _SHOWN} more; --json lists them")
    for line in lines_of(found):
        print(shown(line))
    for name, error in found.best.parity.errors.items():
        print(shown(f"output {name}: max error {error:.2g}"))
    before = document["before"]
    print(
        shown(
            f"{document['file']}: {before['nodes']} to {document['nodes']} nodes, "
            f"{before['bytes'] / 1e6:.3f} to {document['bytes'] / 1e6:.3f} MB, equal to the given "
            f"network within {max(found.best.parity.errors.values(), default=0):.2g}"
        )
    )
    if found.best.milliseconds > found.before:
        print("it is not faster on this machine")
    small = document["int8"]
    if small is not None:
        print(
            shown(
                f"{small['file']}: {small['bytes'] / 1e6:.3f} MB, {small['median_ms']:.3f} ms, "
                f"mean cosine to float32 {small['mean_cosine']:.5f} on images that did not "
                "calibrate it"
            )
        )
