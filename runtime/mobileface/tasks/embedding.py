"""Face identification: computes and compares embeddings of aligned face crops."""

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

if TYPE_CHECKING:  # computing embeddings does not need error rates
    from ..matching.calibration import Calibration
    from ..matching.decisions import Verdict

__all__ = ["Embedder"]

_BATCH = 32
"""Default batch size: larger batches gain nothing on a CPU and need more memory."""

Embeddings = FloatArray


class Embedder:
    """Computes embeddings of aligned face crops; similar faces have similar embeddings.

    Args:
        session: A model whose task is "embedding".

    Attributes:
        size: Dimension of an embedding, D.
        crop: Name of the crop that the model needs, see `mobileface.vision.crops`.
        identity: Name and fingerprint of the model. Only embeddings of models with the same
            identity can be compared.

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
        """Computes the embeddings of face crops.

        Args:
            images: One crop (H, W, 3) or (H, W), a batch (N, H, W, 3), or a sequence of crops of
                any sizes; uint8. They are resized to the model's input, not cropped.
            color: Channel order of colour crops, "bgr" as OpenCV reads them or "rgb".
            batch_size: Crops per run of the network; more need more memory, the results are the
                same. None uses the size that ``mobileface tune`` stored for this machine, or 32.
            normalize: L2-normalize the embeddings. False returns the network's output, which some
                models do not normalize (dlib's descriptor, made for Euclidean distances).

        Returns:
            float32 (N, D), L2-normalized rows, in the given order.

        Raises:
            ImageError: If a crop is not an image.
            InputError: If ``batch_size`` is below 1 or ``color`` is unknown.
        """
        size = (self.session.batch or _BATCH) if batch_size is None else batch_size
        tensors = tensor_batches(images, self.image, color, size)
        parts = [self.embed_tensor(tensor, normalize=normalize) for tensor in tensors]
        return np.concatenate(parts) if parts else np.empty((0, self.size), np.float32)

    __call__ = embed

    def embed_tensor(self, tensor: Tensor, *, normalize: bool = True) -> Embeddings:
        """Computes the embeddings of a network input from `mobileface.vision.image.to_tensor`.

        Args:
            tensor: Input in the layout of the spec, float32 (N, C, height, width) for most models.
            normalize: L2-normalize the embeddings; see `embed`.

        Returns:
            float32 (N, D), L2-normalized rows.
        """
        output = self.session.run({self.image.name: tensor})[self._output]
        return output if self._normalized or not normalize else _normalized_rows(output)

    def compare(self, a: Image, b: Image, *, color: ChannelOrder = "bgr") -> float:
        """Computes the similarity of two face crops.

        Args:
            a: First crop, uint8 (H, W, 3) or (H, W).
            b: Second crop, uint8 (H, W, 3) or (H, W).
            color: Channel order of both.

        Returns:
            Cosine of the embeddings, −1 to 1; higher means more similar.
        """
        first, second = (self.embed(image, color=color) for image in (a, b))
        return float(cosine_similarity(first, second)[0, 0])

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration of this model's similarities; see `mobileface.matching.calibration`.

        Raises:
            ModelNotFoundError: If no calibration of this model is found.
            CalibrationError: If the calibration cannot be read.
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


def _normalized_rows(vectors: FloatArray) -> Embeddings:
    """L2-normalized rows; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)
