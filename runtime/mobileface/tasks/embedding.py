"""Face identification: a face crop becomes a unit vector; alike faces have alike vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import FloatArray
from ..errors import ModelNotFoundError
from ..matching.similarity import cosine_similarity
from ..models.kinds import EmbeddingSpec
from ..models.session import Session
from ..vision.image import ChannelOrder, Image, Tensor, tensor_batches

if TYPE_CHECKING:  # an embedding alone needs no error rates
    from ..matching.calibration import Calibration
    from ..matching.decisions import Verdict

__all__ = ["Embedder"]

_BATCH = 32
"""Pictures a run: larger batches gain nothing on a CPU and cost memory."""

Embeddings = FloatArray


class Embedder:
    """Turns aligned face crops into embeddings.

    Args:
        session: A model whose task is "embedding".

    Attributes:
        size: Elements of an embedding, D.
        crop: How a face is cut out for it; a name in `mobileface.vision.crops`.
        identity: Name and fingerprint of the model; embeddings can be compared if it is the same.

    Raises:
        ModelError: If the model is of another kind.
    """

    def __init__(self, session: Session) -> None:
        spec = session.spec
        section = spec.require(EmbeddingSpec, str(session.path))
        self.session = session
        self.spec = spec
        self.name = spec.name
        self.image = spec.require_input()
        self.size = section.size
        self.crop = section.crop
        self.identity = f"{spec.name}@{spec.fingerprint}"
        self._output = section.output
        self._normalized = section.normalized

    def embed(
        self,
        images: Image | Sequence[Image],
        *,
        color: ChannelOrder = "bgr",
        batch_size: int | None = None,
        normalize: bool = True,
    ) -> Embeddings:
        """Embeds face crops.

        Args:
            images: One crop (H, W, 3) or (H, W), a batch (N, H, W, 3), or a sequence of crops of
                any sizes; uint8. They are resized to the model's input, not cropped.
            color: Channel order of colour crops, "bgr" as OpenCV reads them or "rgb".
            batch_size: Crops a run of the network; memory grows with it, results do not change.
                None: what `mobileface tune` found best for this machine, or 32.
            normalize: Scale rows to unit length; False: what the network gives, for models that
                do not scale it themselves (dlib's descriptor, whose Euclidean distances count).

        Returns:
            float32 (N, D), each row of unit length, in the order given.

        Raises:
            ImageError: A crop is no picture; names its number.
            InputError: ``batch_size`` is below 1 or ``color`` unknown.
        """
        size = (self.session.batch or _BATCH) if batch_size is None else batch_size
        tensors = tensor_batches(images, self.image, color, size)
        parts = [self.embed_tensor(tensor, normalize=normalize) for tensor in tensors]
        return np.concatenate(parts) if parts else np.empty((0, self.size), np.float32)

    __call__ = embed

    def embed_tensor(self, tensor: Tensor, *, normalize: bool = True) -> Embeddings:
        """Embeds a network input as `mobileface.vision.image.to_tensor` makes it.

        Args:
            tensor: As the spec of the input says, float32 (N, C, height, width) for most models.
            normalize: As `embed` takes it.

        Returns:
            float32 (N, D), each row of unit length.
        """
        output = self.session.run({self.image.name: tensor})[self._output]
        return output if self._normalized or not normalize else _unit(output)

    def compare(self, a: Image, b: Image, *, color: ChannelOrder = "bgr") -> float:
        """Similarity of two face crops.

        Args:
            a: One crop, (H, W, 3) or (H, W), uint8.
            b: The other.
            color: Channel order of both.

        Returns:
            Cosine of their embeddings, −1 to 1; higher is more alike.
        """
        first, second = (self.embed(image, color=color) for image in (a, b))
        return float(cosine_similarity(first, second)[0, 0])

    @cached_property
    def calibration(self) -> Calibration:
        """What this model's similarities mean; see `mobileface.matching.calibration`.

        Raises:
            ModelNotFoundError: There is no calibration of this model.
            CalibrationError: It cannot be read.
        """
        from ..matching.calibration import find_calibration

        return find_calibration(self.identity, self.session.path.parent)

    def verify(
        self,
        a: Image,
        b: Image,
        *,
        threshold: float | None = None,
        fmr: float | None = None,
        color: ChannelOrder = "bgr",
    ) -> Verdict:
        """Decides whether two face crops show the same person.

        Pass at most one of ``threshold`` and ``fmr``; without them, the calibrated default of the
        model holds, and the answer may be "cannot tell". See `mobileface.matching.decisions`.

        Args:
            a: One crop, (H, W, 3) or (H, W), uint8.
            b: The other.
            threshold: Cosine at or above which the crops show the same person.
            fmr: Acceptable false match rate, e.g. 0.001.
            color: Channel order of both.

        Returns:
            The answer, with its error rates and the data that they were measured on; "cannot tell"
            if there is neither a calibration nor a threshold.

        Raises:
            ModelNotFoundError: If a rate is given and there is no calibration of this model.
            InputError: If both are given, a value is out of range, or the calibration does not
                support the rate.
        """
        from ..matching.decisions import decision_rule, verdict

        try:
            calibration = self.calibration
        except ModelNotFoundError:
            if fmr is not None:
                raise
            calibration = None
        rule = decision_rule(calibration, threshold=threshold, fmr=fmr, model=self.identity)
        return verdict(self.compare(a, b, color=color), rule, calibration)


def _unit(vectors: FloatArray) -> Embeddings:
    """Rows scaled to unit length; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
