"""``mobileface-convert model``: converts and verifies an MXNet checkpoint or a TFLite file."""

from __future__ import annotations

import argparse
from pathlib import Path

from mobileface.errors import ConversionError, shown
from mobileface.host.output_options import OutputFile
from mobileface.host.outputs import check_outputs

from ..exports.exported import Exported
from ..exports.interface import add_interface, parse_shape
from ..exports.network_export import TOLERANCE, export_model
from ..exports.tflite_export import TFLITE_TOLERANCE, export_tflite
from ..graph.onnx_builder import DEFAULT_OPSET

__all__ = ["add_model"]


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mobileface-convert model``."""
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE.tflite", help="a TensorFlow Lite file"
    )
    parser.add_argument("--symbol", type=Path, help="the -symbol.json file")
    parser.add_argument("--params", type=Path, help="the .params file")
    parser.add_argument("--output", action=OutputFile, required=True, metavar="OUT.onnx")
    parser.add_argument(
        "--input-shape",
        action="append",
        default=[],
        metavar="[NAME=]1,3,112,112",
        help="shape of an input, once per input; required if the network does not determine it",
    )
    parser.add_argument(
        "--outputs",
        nargs="+",
        default=[],
        metavar="NAME",
        help="outputs to keep, for MXNet also internal ones; default: the network's outputs",
    )
    parser.add_argument(
        "--static", action="store_true", help="keep height and width fixed, as given"
    )
    parser.add_argument(
        "--allow-extra", action="store_true", help="drop arrays that the network does not use"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare with MXNet if installed, otherwise with ONNX's reference evaluator; a "
        "TensorFlow Lite file with LiteRT if installed",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        help=f"largest relative error for --verify; default: {TOLERANCE:g}, for a TensorFlow Lite "
        f"file {TFLITE_TOLERANCE:g}",
    )
    parser.add_argument(
        "--opset",
        type=int,
        default=DEFAULT_OPSET,
        choices=range(17, 24),
        help="version of the ONNX operator set; default: %(default)s",
    )
    add_interface(parser)
    parser.set_defaults(run=_model)


def _model(options: argparse.Namespace) -> int:
    certificate = options.output.with_name(f"{options.output.stem}.certificate.json")
    check_outputs([options.output, certificate], [options.file, options.symbol, options.params])
    if options.file is None and options.params is None:
        raise ConversionError(
            "nothing to convert", hint="pass --symbol and --params, or a TensorFlow Lite file"
        )
    exported = _of_checkpoint(options) if options.file is None else _of_tflite(options)
    for name, shape in exported.inputs.items():
        print(shown(f"input {name}: {', '.join(map(str, shape))}"))
    if exported.note:
        fixed = "height and width are" if options.file is None else "the batch is"
        print(shown(f"{fixed} fixed: {exported.note}"))
    errors = exported.parity.errors if exported.parity else {}
    for name in exported.outputs:
        print(
            shown(f"output {name}" + (f": max error {errors[name]:.2g}" if name in errors else ""))
        )
    for record in exported.passes:
        print(shown(f"{record.name}: {len(record.result.changed)} changes"))
    against = f", against {exported.parity.oracle}" if exported.parity else ", not verified"
    if options.verify and not exported.parity:
        against += ": LiteRT is not installed, pip install 'mobileface[reference]' on x86-64 Linux"
    print(shown(f"{exported.path}: {exported.nodes} nodes, {exported.bytes / 1e6:.3f} MB{against}"))
    return 0


def _of_checkpoint(options: argparse.Namespace) -> Exported:
    return export_model(
        options.symbol,
        options.params,
        options.output,
        shapes=dict(parse_shape(text) for text in options.input_shape),
        outputs=options.outputs,
        opset=options.opset,
        static=options.static,
        allow_extra=options.allow_extra,
        verify=options.verify,
        tolerance=TOLERANCE if options.tolerance is None else options.tolerance,
        target=options.machine,
        uint8=options.input == "uint8",
        normalize=options.normalize,
    )


def _of_tflite(options: argparse.Namespace) -> Exported:
    """Converts a TensorFlow Lite file.

    Raises:
        ConversionError: It is none by its name, or an option is for checkpoints only.
    """
    if options.file.suffix != ".tflite":
        raise ConversionError(
            "not a .tflite file",
            where=str(options.file),
            hint="an MXNet checkpoint is given by --symbol and --params",
        )
    others = {
        "--symbol": options.symbol,
        "--params": options.params,
        "--input-shape": options.input_shape,
        "--static": options.static,
        "--allow-extra": options.allow_extra,
        "--normalize": options.normalize,
        f"--input {options.input}": options.input != "float32",
        f"--machine {options.machine}": options.machine != "portable",
    }
    given = [name for name, value in others.items() if value]
    if given:
        raise ConversionError(f"{given[0]} is for MXNet checkpoints", where=str(options.file))
    return export_tflite(
        options.file,
        options.output,
        outputs=options.outputs,
        opset=options.opset,
        verify=options.verify,
        tolerance=TFLITE_TOLERANCE if options.tolerance is None else options.tolerance,
    )
