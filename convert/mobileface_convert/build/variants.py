"""The variants of a model: its network for other precisions and for some machines.

A plan says which are wanted; each is made, compared with the oracle and with the model in fp32, and
kept if it holds the bounds that the recipe has for it. In the order in which the runtime considers
them:

======== ========= ====================================== =====================================
name     precision made from                              kept if
======== ========= ====================================== =====================================
fp32_x86 fp32      the passes for blocked channels        [verify] holds
fp32     fp32      the passes for any machine             [verify] holds
fp16…    fp16      the same, weights stored as float16    [verify.float16] holds
int8…    int8      the same, quantised by pictures        [verify.int8] holds on other pictures
======== ========= ====================================== =====================================

One of them is the model's own file, which runs everywhere: "fp32", or "fp16" where the recipe
stores weights so. A variant for x86 is made only where its passes change something.

To add a kind of machine: its passes in `passes.TARGETS` and its condition in `CONDITIONS`. To add
a precision: its name in `mobileface.models.index.PRECISIONS`, how it is stored in `STORAGE` and
made in `Workshop._content`; recipes allow it by a table ``[verify.…]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from mobileface.errors import ConversionError
from mobileface.host.machine import ANYWHERE, Condition
from mobileface.models.agreement import Agreement, Bounds, compare_outputs
from mobileface.models.index import PRECISIONS
from mobileface.models.replay import make_record, output_rows
from mobileface.models.session import Session

from ..backends.quantized import METHOD, Quantized, dense_only, quantize
from ..backends.storage import store_float16
from ..makers import Built, Files, Maker
from ..oracles.verify import require
from ..recipes.recipe import Recipe
from .calibration_images import PictureSet, Samples

__all__ = ["CONDITIONS", "STORAGE", "Made", "Plan", "Refused", "Workshop"]

CONDITIONS: Mapping[str, Condition] = {
    "x86": Condition(("x86_64",), ("avx2",)),  # where ONNX Runtime keeps channels in blocks
    "portable": ANYWHERE,
}
"""Kinds of machine that variants are made for, by their passes; the special before the general."""

_INTEGER = "plain"
"""The passes for convolutions in integers, which are fast for whole blocks of channels alone."""

STORAGE: Mapping[str, str] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
"""How weights are stored, by precision; recipes name their bounds so."""


@dataclass(frozen=True)
class Plan:
    """Which variants are wanted beside the model's own file.

    Attributes:
        precisions: Some of `mobileface.models.index.PRECISIONS`.
        targets: Some of `CONDITIONS`.
        faces: Aligned faces to quantise networks by that take a crop; None: these get no int8.
        photos: Whole pictures to quantise detectors by; None: these get no int8.
    """

    precisions: Sequence[str] = ()
    targets: Sequence[str] = ("portable",)
    faces: Samples | None = None
    photos: Samples | None = None


@dataclass(frozen=True)
class Made:
    """A variant that holds its bounds.

    Attributes:
        name: What it is called among the variants of its model.
        precision: One of `mobileface.models.index.PRECISIONS`.
        target: One of `CONDITIONS`.
        content: The bytes of its file.
        built: The network that it was made from, and how.
        nodes: Number of ONNX nodes.
        verified: How it compares with the oracle and what was required, by storage.
        facts: What its certificate says beyond that.
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
class Refused:
    """A variant that was wanted and is not there.

    Attributes:
        name: What it would have been called.
        reason: Why it is not there.
        expected: Nothing was tried, because it would be of no use; nobody need be told.
    """

    name: str
    reason: str
    expected: bool = False


@dataclass
class Workshop:
    """Makes the variants of one model, from one network for each kind of machine.

    Args:
        recipe: The model.
        files: Its source files.
        maker: What builds it and compares it with its oracle.
        scratch: A folder for files that are tried.
        verify: Compare at all.
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

    def make_own(self) -> Made:
        """The model's own file.

        Raises:
            ConversionError: Any step failed.
            ParityError: It misses its bounds.
        """
        return self._make("portable", self.own, plan=Plan())

    def make_others(self, plan: Plan) -> list[Made | Refused]:
        """The other variants of a plan, in the order in which the runtime considers them."""
        found: list[Made | Refused] = []
        for precision in (word for word in PRECISIONS if word in plan.precisions):
            for target in (word for word in CONDITIONS if word in plan.targets):
                if (target, precision) != ("portable", self.own):
                    found.append(self._try(target, precision, plan))
        return found

    def _try(self, target: str, precision: str, plan: Plan) -> Made | Refused:
        name = _name(target, precision)
        try:
            useless = self._useless(target, precision)
            if useless:
                return Refused(name, useless, expected=True)
            return self._make(target, precision, plan)
        except ConversionError as error:  # the others are made all the same
            return Refused(name, error.what)

    def _useless(self, target: str, precision: str) -> str:
        """Why a variant is not even tried; empty if it is."""
        network = self._network("portable")
        if network.suffix != ".onnx":
            return "it is no network"
        if STORAGE[precision] not in self.recipe.bounds:
            return f"its recipe has no bounds for {STORAGE[precision]}"
        if target == "portable":
            return ""
        if self._network(target).content == network.content:
            return f"the passes for {target} change nothing"
        if precision == "int8" and not self._dense:
            return f"integer layers are the same for {target}"
        return ""

    @property
    def _dense(self) -> bool:
        """Whether only the fully connected layers of the network gain by int8."""
        return dense_only(onnx.load_from_string(self._network("portable").content))

    @property
    def _by_photos(self) -> bool:
        """Whether int8 ranges are taken from photos, not from crops."""
        return self.recipe.spec.kind.calibration == "photos"

    def _samples(self, plan: Plan) -> Samples | None:
        return plan.photos if self._by_photos else plan.faces

    def _pictures(self, plan: Plan) -> Samples:
        """The pictures to quantise by.

        Raises:
            ConversionError: There are none.
        """
        samples = self._samples(plan)
        if samples is None:
            option = "--calibrate-photos" if self._by_photos else "--calibrate"
            raise ConversionError(f"no pictures to calibrate with; give {option} DIR")
        return samples

    def _network(self, target: str) -> Built:
        """The network for a kind of machine, in float32, once."""
        if target not in self._networks:
            recipe = self.recipe.targeting(target) if target != "portable" else self.recipe
            self._networks[target] = self.maker.build(recipe, self.files)
        return self._networks[target]

    def _make(self, target: str, precision: str, plan: Plan) -> Made:
        """One variant.

        Raises:
            ConversionError: It cannot be made.
            ParityError: It misses its bounds.
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
                "pictures": self._pictures(plan).calibration.to_dict(),
                "layers": quantized.layers,
                "float32_layers": list(quantized.kept),
            }
        # Casts of stored weights are gone once a file is loaded.
        nodes = len(quantized.model.graph.node) if quantized else built.nodes
        return Made(name, precision, target, content, built, nodes, verified, facts)

    def _verified(
        self, source: str, storage: str, path: Path
    ) -> dict[str, tuple[Agreement, Bounds | None]]:
        """How a file compares with the oracle, and how its network did before it was rounded.

        Raises:
            ParityError: It misses its bounds.
        """
        if source not in self._agreements:
            built = self._network(source)
            exact = self._write(f"{source}.exact", built.suffix, built.content)
            self._agreements[source] = self._agree(exact, self.recipe.bounds["float32"])
        found = {"float32": self._agreements[source]}
        if storage != "float32":
            # Integers are held against fp32, on pictures, and so are detectors, whose rows change
            # places by rounding.
            stated = storage == "int8" or not self.recipe.spec.kind.ordered
            found[storage] = self._agree(path, None if stated else self.recipe.bounds[storage])
        return found

    def _facts(self, name: str, storage: str, path: Path, plan: Plan) -> dict[str, Any]:
        """How a network compares with the one in fp32, and what it gives, for its certificate.

        Raises:
            ParityError: It misses its bounds.
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
        """The bytes of a network stored in some way; and what was quantised, if anything was."""
        if storage == "float32":
            return built.content, None
        model = onnx.load_from_string(built.content)
        if storage == "float16":
            return store_float16(model, self.recipe.name).SerializeToString(), None
        pictures, spec = self._pictures(plan).calibration, self.recipe.spec
        quantized = quantize(
            model, lambda: pictures.feeds(spec), self.recipe.name, dense=self._dense
        )
        return quantized.model.SerializeToString(), quantized

    def _write(self, name: str, suffix: str, content: bytes) -> Path:
        path = self.scratch / f"{self.recipe.name}.{name}{suffix}"
        path.write_bytes(content)
        return path

    def _agree(self, path: Path, bounds: Bounds | None) -> tuple[Agreement, Bounds | None]:
        """How a file compares with the oracle; without bounds it is only stated.

        Raises:
            ParityError: It misses its bounds.
        """
        agreement = self.maker.agree(path, self.recipe, self.files)
        if bounds is not None:
            require(agreement, bounds, self.recipe.name)
        return agreement, bounds

    def _against_fp32(self, path: Path, pictures: PictureSet | None) -> Agreement:
        """How a file compares with the model in fp32 for any machine."""
        reference = self._write("reference", ".onnx", self._network("portable").content)
        sessions = [Session(file, intra_op_num_threads=1) for file in (path, reference)]
        spec = sessions[1].spec
        found, expected = (
            output_rows(session, None if pictures is None else pictures.feeds(spec))
            for session in sessions
        )
        expected = spec.kind.significant(spec, expected)
        return compare_outputs(spec.kind.pair(found, expected), expected, "the model in fp32")


def _name(target: str, precision: str) -> str:
    return precision if target == "portable" else f"{precision}_{target}"
