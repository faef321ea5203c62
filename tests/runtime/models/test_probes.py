"""Probe pictures: the same bytes with every numpy on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mobileface.models.probes import make_probes

PINNED = {
    (4, 112, 112, 1, 20200229): "2bbcbe7b4bbb40a4168c34d485eaec39f4187fd2ef129c5953da3d0cc0b4ff3d",
    (5, 37, 50, 3, 0): "adc23ec2b31676a76376baca3e5596e91321259a5eb887eed044a0947a02889d",
}


@pytest.mark.parametrize(("arguments", "digest"), PINNED.items())
def test_bytes_are_pinned(arguments: tuple[int, int, int, int, int], digest: str) -> None:
    probes = make_probes(*arguments)
    assert hashlib.sha256(probes.tobytes()).hexdigest() == digest


@pytest.mark.parametrize(
    "shape", [(2, 20, 24, 3), (3, 24, 20, 1), (2, 1, 1, 1), (2, 3, 200, 3), (0, 8, 8, 1)]
)
def test_shape_and_type(shape: tuple[int, int, int, int]) -> None:
    probes = make_probes(*shape)
    assert probes.shape == shape
    assert probes.dtype == np.uint8
    assert probes.flags.c_contiguous


def test_content() -> None:
    probes = make_probes(6, 64, 48, 3).astype(np.float64)
    for index, probe in enumerate(probes):
        assert np.ptp(probe) > 128
        neighbours = np.abs(np.diff(probe, axis=1)).mean()
        print(f"probe {index}: neighbours differ by {neighbours:.1f}")
        assert neighbours < 20 if index % 2 else neighbours > 60
    assert len({probe.tobytes() for probe in probes}) == 6


def test_seed_and_order() -> None:
    first = make_probes(2, 16, 16, 1, seed=5)
    assert (make_probes(2, 16, 16, 1, seed=5) == first).all()
    assert (make_probes(6, 16, 16, 1, seed=5)[:2] == first).all()
    assert (make_probes(2, 16, 16, 1, seed=6) != first).any()


def test_the_global_state_is_left_alone() -> None:
    before = np.random.get_state(legacy=False)["state"]
    make_probes(2, 16, 16, 1)
    after = np.random.get_state(legacy=False)["state"]
    assert before["pos"] == after["pos"]
    assert (before["key"] == after["key"]).all()
