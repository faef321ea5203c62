"""Builds the variants of a model: other precisions, and optimised networks for some machines.

A plan selects the variants. Each one is built, compared with the reference and with the fp32 model,
and kept if it is within the recipe's tolerances. In the order in which the runtime tries them:

======== ========= ====================================== =====================================
name     precision built from                             tolerances
======== ========= ====================================== =====================================
fp32_x86 fp32      the passes for blocked channels        [verify]
fp32     fp32      the passes for any machine             [verify]
fp16…    fp16      the same, weights stored as float16    [verify.float16]
int8…    int8      the same, quantised                    [verify.int8], on evaluation images
======== ========= ====================================== =====================================

One of them is the model's own file, which runs on every machine: "fp32", or "fp16" if the recipe
stores weights as float16. A variant for x86 is built only if its passes change something.

To add a kind of machine, add its passes to `passes.TARGETS` and its condition to `CONDITIONS`. To
add a precision, add its name to `mobileface.models.index.PRECISIONS`, its storage to `STORAGE` and
its conversion to `VariantBuilder._content`; a recipe enables it with a table ``[verify.…]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from mobileface.errors import ConversionError
from mobileface.host.machine import ANYWHERE, Condition, this_machine
from mobileface.models.agreement import Agreement, Bounds, compare_outputs
from mobileface.models.index import PRECISIONS
from mobileface.models.replay import make_record, output_rows
from mobileface.models.session import Session

from ..backends.quantized import METHOD, Quantized, dense_only, quantize
from ..backends.storage import store_float16
from ..makers import Built, Files, Maker
from ..oracles.verify import require
from ..recipes.recipe import Recipe
from .calibration_images import ImageSet, Samples
from .variant_times import time_ratio

__all__ = ["CONDITIONS", "STORAGE", "BuiltVariant", "Plan", "SkippedVariant", "VariantBuilder"]

CONDITIONS: Mapping[str, Condition] = {
    "x86": Condition(("x86_64",), ("avx2",)),  # ONNX Runtime uses blocked channels there
    "portable": ANYWHERE,
}
"""Conditions of the variants for each target, by the name of its passes; specific ones first."""

_INTEGER = "plain"
"""The passes for int8: int8 convolutions are fast only with full channel blocks."""

_GAIN = 0.98
"""A network for some machines must take at most this part of the portable one's time."""

STORAGE: Mapping[str, str] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
"""How weights are stored, by precision; also the keys of the tolerances in recipes."""


@dataclass(frozen=True)
class Plan:
    """The variants to build in addition to the model's own file.

    Attributes:
        precisions: Some of `mobileface.models.index.PRECISIONS`.
        targets: Some of `CONDITIONS`.
        faces: Aligned face crops to calibrate networks with a crop as input; None to skip int8
            for these.
        photos: Photos to calibrate detectors; None to skip int8 for these.
        timed: Keep a float32 network for some machines only if this machine is one of them and it
            is faster here than the portable one; otherwise that is known of the recipe.
    """

    precisions: Sequence[str] = ()
    targets: Sequence[str] = ("portable",)
    faces: Samples | None = None
    photos: Samples | None = None
    timed: bool = False


@dataclass(frozen=True)
class BuiltVariant:
    """A variant that was built and is within its tolerances.

    Attributes:
        name: Name of the variant, unique within the model.
        precision: One of `mobileface.models.index.PRECISIONS`.
        target: One of `CONDITIONS`.
        content: The bytes of the file.
        built: The float32 network that it was built from.
        nodes: Number of ONNX nodes.
        verified: Agreement with the reference and tolerances, by how weights are stored.
        facts: Additional fields of the certificate.
    """

    name: str
    precision: str
    target: str
    content: bytes
    built: Built
    nodes: int
    verified: Mapping[str, tuple[Agreement, Bounds | None]]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class SkippedVariant:
    """A requested variant that was not built.

    Attributes:
        name: Name that the variant would have had.
        reason: Why it was not built.
        expected: Whether it was skipped because it has no use; no message is printed then.
    """

    name: str
    reason: str
    expected: bool = False


@dataclass
class VariantBuilder:
    """Builds the variants of one model, from one network for each kind of machine.

    Args:
        recipe: Recipe of the model.
        files: Source files by role.
        maker: Builds the network and compares it with its reference.
        scratch: A folder for temporary files.
        verify: Whether to compare with the reference.
    """

    recipe: Recipe
    files: Files
    maker: Maker
    scratch: Path
    verify: bool = True
    _networks: dict[str, Built] = field(default_factory=dict, init=False)
    _agreements: dict[str, tuple[Agreement, Bounds | None]] = field(
        default_factory=dict, init=False
    )

    @property
    def own(self) -> str:
        """The precision of the model's own file."""
        return next(name for name, kind in STORAGE.items() if kind == self.recipe.weights)

    def build_own(self) -> BuiltVariant:
        """Builds the model's own file.

        Raises:
            ConversionError: If a step fails.
            ParityError: If the model is outside its tolerances.
        """
        return self._build("portable", self.own, plan=Plan())

    def build_others(self, plan: Plan) -> list[BuiltVariant | SkippedVariant]:
        """Builds the other variants of a plan, in the order in which the runtime tries them."""
        found: list[BuiltVariant | SkippedVariant] = []
        for precision in (word for word in PRECISIONS if word in plan.precisions):
            for target in (word for word in CONDITIONS if word in plan.targets):
                if (target, precision) != ("portable", self.own):
                    found.append(self._try(target, precision, plan))
        return found

    def _try(self, target: str, precision: str, plan: Plan) -> BuiltVariant | SkippedVariant:
        name = _name(target, precision)
        try:
            reason = self._reason_to_skip(target, precision)
            if reason:
                return SkippedVariant(name, reason, expected=True)
            if reason := self._reason_of_time(target, precision) if plan.timed else "":
                return SkippedVariant(name, reason)
            return self._build(target, precision, plan)
        except ConversionError as error:  # go on with the other variants
            return SkippedVariant(name, error.what)

    def _reason_to_skip(self, target: str, precision: str) -> str:
        """Why a variant is of no use; empty if it should be built."""
        network = self._network("portable")
        if network.suffix != ".onnx":
            return "the model is not a network"
        if STORAGE[precision] not in self.recipe.bounds:
            return f"the recipe has no bounds for {STORAGE[precision]}"
        if target == "portable":
            return ""
        if self._network(target).content == network.content:
            return f"the passes for {target} change nothing"
        if precision == "int8" and not self._dense:
            return f"the int8 network is the same for {target}"
        return ""

    def _reason_of_time(self, target: str, precision: str) -> str:
        """Why a float32 network gains nothing on this machine; empty if it does."""
        if target == "portable" or precision != "fp32":
            return ""
        if other := CONDITIONS[target].refusal(this_machine()):
            return f"not timed here: {other}"
        ratio = time_ratio(
            *(
                self._write(f"{name}.timed", ".onnx", self._network(name).content)
                for name in (target, "portable")
            )
        )
        what = f"takes {ratio:.2f} of the portable network's time on this machine"
        return what if ratio > _GAIN else ""

    @property
    def _dense(self) -> bool:
        """Whether int8 is limited to the fully connected layers of the network."""
        return dense_only(onnx.load_from_string(self._network("portable").content))

    @property
    def _by_photos(self) -> bool:
        """Whether int8 is calibrated with photos instead of face crops."""
        return self.recipe.spec.kind.calibration == "photos"

    def _samples(self, plan: Plan) -> Samples | None:
        return plan.photos if self._by_photos else plan.faces

    def _images(self, plan: Plan) -> Samples:
        """The images for calibration and evaluation.

        Raises:
            ConversionError: If the plan has no images for this model.
        """
        samples = self._samples(plan)
        if samples is None:
            option = "--calibrate-photos" if self._by_photos else "--calibrate"
            raise ConversionError(f"no calibration images; pass {option} DIR")
        return samples

    def _network(self, target: str) -> Built:
        """The float32 network for a kind of machine; built on first use."""
        if target not in self._networks:
            recipe = self.recipe.targeting(target) if target != "portable" else self.recipe
            self._networks[target] = self.maker.build(recipe, self.files)
        return self._networks[target]

    def _build(self, target: str, precision: str, plan: Plan) -> BuiltVariant:
        """Builds and verifies one variant.

        Raises:
            ConversionError: If the variant cannot be built.
            ParityError: If the variant is outside its tolerances.
        """
        source = target if precision != "int8" or self._dense else _INTEGER
        built, name = self._network(source), _name(target, precision)
        content, quantized = self._content(built, STORAGE[precision], plan)
        path = self._write(name, built.suffix, content)
        facts: dict[str, Any] = {"precision": precision, "target": target}
        verified: dict[str, tuple[Agreement, Bounds | None]] = {}
        if self.verify:
            verified = self._verified(source, STORAGE[precision], path)
        if built.suffix == ".onnx":
            facts |= self._facts(name, STORAGE[precision], path, plan)
        if quantized is not None:
            facts["calibration"] = {
                "method": METHOD,
                "pictures": self._images(plan).calibration.to_dict(),
                "layers": quantized.layers,
                "float32_layers": list(quantized.kept),
            }
        # The nodes of fp16 files are counted without the Casts, which are removed on load.
        nodes = len(quantized.model.graph.node) if quantized else built.nodes
        return BuiltVariant(name, precision, target, content, built, nodes, verified, facts)

    def _verified(
        self, source: str, storage: str, path: Path
    ) -> dict[str, tuple[Agreement, Bounds | None]]:
        """Compares a file, and its network before rounding, with the reference.

        Raises:
            ParityError: If one of them is outside its tolerances.
        """
        if source not in self._agreements:
            built = self._network(source)
            exact = self._write(f"{source}.exact", built.suffix, built.content)
            self._agreements[source] = self._agree(exact, self.recipe.bounds["float32"])
        found = {"float32": self._agreements[source]}
        if storage != "float32":
            # int8 is checked against fp32 on images instead, and so are detectors, as rounding
            # changes the order of their rows. Here their agreement is only recorded.
            record_only = storage == "int8" or not self.recipe.spec.kind.ordered
            bounds = None if record_only else self.recipe.bounds[storage]
            found[storage] = self._agree(path, bounds)
        return found

    def _facts(self, name: str, storage: str, path: Path, plan: Plan) -> dict[str, Any]:
        """Fields for the certificate: the comparison with fp32, and the record of outputs.

        Raises:
            ParityError: If the network is outside its tolerances.
        """
        bounds, facts = self.recipe.bounds[storage], {}
        if name != "fp32":
            samples = None if storage == "float32" else self._samples(plan)
            evaluation = samples.evaluation if samples else None
            agreement = self._against_fp32(path, evaluation)
            require(agreement, bounds, self.recipe.name)
            facts["verification_fp32"] = (agreement, bounds, evaluation)
        kept = bounds if storage == "int8" else self.recipe.bounds["float32"]
        return {**facts, "record": make_record(Session(path, intra_op_num_threads=1), kept)}

    def _content(self, built: Built, storage: str, plan: Plan) -> tuple[bytes, Quantized | None]:
        """The bytes of a network with its weights stored as given, and the int8 network if any."""
        if storage == "float32":
            return built.content, None
        model = onnx.load_from_string(built.content)
        if storage == "float16":
            return store_float16(model, self.recipe.name).SerializeToString(), None
        images, spec = self._images(plan).calibration, self.recipe.spec
        quantized = quantize(model, lambda: images.feeds(spec), self.recipe.name, dense=self._dense)
        return quantized.model.SerializeToString(), quantized

    def _write(self, name: str, suffix: str, content: bytes) -> Path:
        path = self.scratch / f"{self.recipe.name}.{name}{suffix}"
        path.write_bytes(content)
        return path

    def _agree(self, path: Path, bounds: Bounds | None) -> tuple[Agreement, Bounds | None]:
        """Compares a file with the reference; without bounds nothing is required.

        Raises:
            ParityError: If the file is outside its tolerances.
        """
        agreement = self.maker.agree(path, self.recipe, self.files)
        if bounds is not None:
            require(agreement, bounds, self.recipe.name)
        return agreement, bounds

    def _against_fp32(self, path: Path, images: ImageSet | None) -> Agreement:
        """Compares a file with the portable fp32 model, on images or generated inputs."""
        reference = self._write("reference", ".onnx", self._network("portable").content)
        sessions = [Session(file, intra_op_num_threads=1) for file in (path, reference)]
        spec = sessions[1].spec
        found, expected = (
            output_rows(session, None if images is None else images.feeds(spec))
            for session in sessions
        )
        expected = spec.kind.significant(spec, expected)
        return compare_outputs(spec.kind.pair(found, expected), expected, "the model in fp32")


def _name(target: str, precision: str) -> str:
    return precision if target == "portable" else f"{precision}_{target}"
