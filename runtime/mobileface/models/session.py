"""Runs networks; the only module that uses ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ..arrays import Array
from ..errors import InputError, ModelError, ModelIntegrityError, SpecError
from ..host.files import check_sha256, reason
from ..host.forks import (
    destroyed_by_parent_only,
    keep_for_ever,
    one_at_a_time,
    process_mark,
)
from ..host.machine import integer_sums_overflow, this_machine
from ..host.threads import check_threads, default_threads, spins
from ..vision.network_input import ImageInput
from .external_weights import has_external_weights
from .index import Variant
from .kinds.base import Tensors
from .spec import METADATA_KEY, ModelSpec

__all__ = ["Session", "runtime_version"]

_DENORMALS = "MOBILEFACE_DENORMALS_AS_ZERO"


class Session:
    """A loaded model with its spec.

    Args:
        path: The ONNX file.
        expected_sha256: Expected hash of the file; None skips the check.
        providers: ONNX Runtime execution providers, in order; by default the CPU.
        provider_options: Options for each provider.
        sess_options: An ``onnxruntime.SessionOptions``, which is used unchanged.
        intra_op_num_threads: Number of threads per operator; by default the number of CPUs that
            this process may use (affinity and CPU quota), or ``MOBILEFACE_THREADS``.
        spinning: Let threads busy-wait for their next piece of work during a run, which is faster
            but uses more CPU time. Between runs they always sleep, so that the sessions of a
            pipeline do not compete for CPUs. On by default with more than two threads.
        stream: The images come from a stream, e.g. frames that arrive at a camera's own rate;
            then threads do not spin by default.
        denormals_as_zero: Treat denormal numbers (below 1.2e-38) as zero, on CPUs where they are
            slow. ONNX Runtime sets this once for the whole process, with the first session made,
            also for other code on its threads; that is why it is off by default. None reads
            ``MOBILEFACE_DENORMALS_AS_ZERO`` (1 or 0).
        one_size: All images have the same size. ONNX Runtime then caches a memory plan per batch
            size, which saves 1 to 2 %; with varying sizes, the plans would leak memory.
        variant: The variant of the model, from its index.
        batch: Default batch size of the tasks that run the model.

    Attributes:
        path: The ONNX file.
        spec: The spec in the file.
        variant: The ``variant`` argument; None for a file without an index.
        batch: The ``batch`` argument.
        threads: Number of threads per operator; 0 means ONNX Runtime's default (only with
            ``sess_options``).

    Raises:
        ModelError: If the file cannot be read, or ONNX Runtime cannot load it.
        ModelIntegrityError: If the hash of the file is wrong.
        SpecError: If the file contains no spec, or an invalid one.
        InputError: If ``sess_options`` is combined with ``intra_op_num_threads`` or ``spinning``.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        expected_sha256: str | None = None,
        providers: Sequence[str] | None = None,
        provider_options: Sequence[dict[str, Any]] | None = None,
        sess_options: onnxruntime.SessionOptions | None = None,
        intra_op_num_threads: int | None = None,
        spinning: bool | None = None,
        stream: bool = False,
        denormals_as_zero: bool | None = None,
        one_size: bool = False,
        variant: Variant | None = None,
        batch: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.variant = variant
        self.batch = batch
        self._arguments: dict[str, Any] = {
            "expected_sha256": expected_sha256,
            "providers": None if providers is None else list(providers),
            "provider_options": None if provider_options is None else list(provider_options),
            "sess_options": sess_options,
            "intra_op_num_threads": intra_op_num_threads,
            "spinning": spinning,
            "stream": stream,
            "denormals_as_zero": denormals_as_zero,
            "one_size": one_size,
        }
        self._process = process_mark()
        self._network = _open(self.path, **self._arguments)
        self._file = self.path.absolute()  # the same when the working folder has changed
        self.spec = _spec(self._network, self.path)
        self.threads = int(self._session.get_session_options().intra_op_num_threads)
        try:
            self.inputs = tuple(value.name for value in self._session.get_inputs())
            self.outputs = tuple(value.name for value in self._session.get_outputs())
            self._check_spec()
        except UnicodeDecodeError as error:  # ONNX Runtime does not check what names contain
            raise SpecError(f"a name is not UTF-8 ({error})", where=str(self.path)) from error

    @property
    def _session(self) -> onnxruntime.InferenceSession:
        """The network in this process; after a fork it is opened again on first use."""
        if self._process != process_mark():
            self._open_again()
        return self._network

    def _open_again(self) -> None:
        """Opens the network in a child process: the threads of the parent's are not there.

        Raises:
            ModelError: The file cannot be read any more, or is another one.
        """
        with one_at_a_time():
            if self._process == process_mark():
                return  # another thread was faster
            keep_for_ever(self._network)  # a fork outside of Python's knowledge
            network = _open(self._file, **self._arguments)
            if _spec(network, self._file) != self.spec:
                raise ModelIntegrityError(
                    "is another model than before this process was forked",
                    where=str(self._file),
                    hint="load the model again",
                )
            self._network, self._process = network, process_mark()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles the arguments; the file is opened again where they are read."""
        if self._arguments["sess_options"] is not None:
            raise InputError(
                "a session with sess_options of its own cannot be pickled",
                where=str(self.path),
                hint="use intra_op_num_threads and spinning, or load it in each process",
            )
        arguments = {**self._arguments, "variant": self.variant, "batch": self.batch}
        return _unpickled, (type(self), str(self._file), arguments)

    def _check_spec(self) -> None:
        """Checks that the network has the inputs and outputs that the spec declares."""
        options = self._session.get_overridable_initializers()
        inputs = [*self._session.get_inputs(), *options]
        outputs = self._session.get_outputs()
        spec = self.spec
        declared = {spec.kind.name: spec.kind.tensors(spec.section)}
        if spec.input is not None:
            declared["input"] = Tensors({spec.input.name: (None, *spec.input.shape)})
        for section, tensors in declared.items():
            for values, wanted in ((inputs, tensors.inputs), (outputs, tensors.outputs)):
                shapes = {value.name: value.shape for value in values}
                for name, sizes in wanted.items():
                    _check_shape(shapes, name, sizes, f"{self.path}, {section}")
        if self.spec.input is not None:
            _check_type(inputs, self.spec.input, f"{self.path}, input")

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model.

        A network that takes one image at a time (`ImageInput.batch`) runs once for each image.

        Args:
            inputs: An array for each ONNX input, of its dtype and shape; inputs with a default
                value are optional.

        Returns:
            An array for each ONNX output.

        Raises:
            ModelError: If ONNX Runtime rejects the inputs or fails.
        """
        image = self.spec.input
        if image is not None and image.batch and np.shape(inputs.get(image.name, ()))[:1] > (1,):
            return self._run_each(inputs, image.name)
        network = self._session
        try:
            results = network.run(self.outputs, dict(inputs))
        except Exception as error:
            raise ModelError(f"running failed ({_line(error)})", where=str(self.path)) from error
        return dict(zip(self.outputs, results, strict=True))

    def _run_each(self, inputs: Mapping[str, Array], name: str) -> dict[str, Array]:
        """Runs the model on one image after the other and joins the outputs."""
        images = inputs[name]
        rows = [self.run({**inputs, name: images[i : i + 1]}) for i in range(len(images))]
        return {output: np.concatenate([row[output] for row in rows]) for output in self.outputs}


def _unpickled(kind: type[Session], path: str, arguments: dict[str, Any]) -> Session:
    """A session from what `Session.__reduce__` gave."""
    return kind(path, **arguments)


def _open(
    path: Path,
    *,
    expected_sha256: str | None,
    providers: list[str] | None,
    provider_options: list[dict[str, Any]] | None,
    sess_options: onnxruntime.SessionOptions | None,
    intra_op_num_threads: int | None,
    spinning: bool | None,
    stream: bool,
    denormals_as_zero: bool | None,
    one_size: bool,
) -> onnxruntime.InferenceSession:
    """Opens a file with the arguments of `Session`."""
    _check_content(path, expected_sha256)
    options = _options(sess_options, intra_op_num_threads, spinning, stream, one_size)
    if sess_options is None and _zeroes(denormals_as_zero):
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        network = onnxruntime.InferenceSession(
            str(path),
            sess_options=options,
            providers=providers or ["CPUExecutionProvider"],
            provider_options=provider_options,
            enable_fallback=0,  # it prints on stdout, and fails a second time
        )
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        raise ModelError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load it ({_line(error)})",
            where=str(path),
        ) from error
    destroyed_by_parent_only(network)
    return network


def _spec(network: onnxruntime.InferenceSession, path: Path) -> ModelSpec:
    """What a file says of itself.

    Raises:
        SpecError: Nothing, or something broken.
    """
    try:
        metadata = network.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:  # ONNX Runtime does not check what it contains
        raise SpecError(f"the metadata is not UTF-8 ({error})", where=str(path)) from error
    if METADATA_KEY not in metadata:
        raise SpecError(
            f"the ONNX file has no '{METADATA_KEY}' entry",
            where=str(path),
            hint="convert the model with mobileface-convert, which writes one",
        )
    return ModelSpec.from_json(metadata[METADATA_KEY], where=str(path))


def runtime_version() -> str:
    """Version of ONNX Runtime."""
    return str(onnxruntime.__version__)


def _check_shape(
    shapes: Mapping[str, Sequence[int | str | None]],
    name: str,
    sizes: tuple[int | None, ...],
    where: str,
) -> None:
    """Checks that a value exists and that its known sizes match."""
    if name not in shapes:
        raise SpecError(f"the network has no '{name}'; available: {', '.join(shapes)}", where=where)
    found = shapes[name]
    if len(found) != len(sizes) or any(
        isinstance(have, int) and want is not None and have != want
        for have, want in zip(found, sizes, strict=True)
    ):
        wanted = ["any" if size is None else size for size in sizes]
        raise SpecError(f"the network's '{name}' has shape {found}, not {wanted}", where=where)


def _check_type(inputs: Sequence[Any], image: ImageInput, where: str) -> None:
    """Checks that the image input has the element type in the spec."""
    found = next(value.type for value in inputs if value.name == image.name)
    wanted = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}[image.dtype]
    if found != wanted:
        raise SpecError(f"the network's '{image.name}' is a {found}, not a {wanted}", where=where)


def _line(error: Exception) -> str:
    """A message of ONNX Runtime, joined to one line."""
    return " ".join(str(error).split())


def _check_content(path: Path, expected: str | None) -> None:
    """Checks that the file can be read, is complete and, if its hash is known, that it matches."""
    if expected is not None:
        check_sha256(path, expected)
    try:
        external = has_external_weights(path)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise ModelError(f"cannot be read ({reason(error)})", where=str(path)) from error
    if external:
        raise ModelError(
            "has weights in another file, which no hash covers",
            where=str(path),
            hint="save the model as one file",
        )


def _zeroes(wanted: bool | None) -> bool:
    """Whether denormal numbers are to be zero, by the argument or the environment."""
    if wanted is not None:
        return wanted
    text = os.environ.get(_DENORMALS, "0")
    if text not in ("0", "1"):
        raise InputError(f"must be 0 or 1, not '{text}'", where=_DENORMALS)
    return text == "1"


def _options(
    given: onnxruntime.SessionOptions | None,
    threads: int | None,
    spinning: bool | None,
    stream: bool = False,
    one_size: bool = False,
) -> onnxruntime.SessionOptions:
    """The caller's session options, or our own."""
    if given is not None:
        for name, value in (("intra_op_num_threads", threads), ("spinning", spinning)):
            if value is not None:
                raise InputError(f"pass either sess_options or {name}, not both")
        return given
    if threads is not None:
        check_threads(threads, "intra_op_num_threads")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()
    options.inter_op_num_threads = 1
    wanted = False if stream and spinning is None else spinning
    options.log_severity_level = 3  # only errors; warnings are about the host, not the model
    options.enable_mem_pattern = one_size  # one pattern is kept per input size
    entries = {
        # Converts weights to uint8: takes twice the time, but int8 networks stay correct.
        "session.x64quantprecision": str(int(integer_sums_overflow(this_machine()))),
        "session.intra_op.allow_spinning": str(int(spins(options.intra_op_num_threads, wanted))),
        "session.force_spinning_stop": "1",  # as soon as a run is over
    }
    for key, text in entries.items():
        options.add_session_config_entry(key, text)
    return options
