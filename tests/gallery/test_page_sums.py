"""The sums of the pages of a matrix file: what they are, and which damage they find."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mobileface.gallery.matrix_file import page_sums

PAGE = 4096


def content(size: int) -> bytearray:
    return bytearray(random.Random(size).randbytes(size))


def summed(data: bytearray) -> bytes:
    return page_sums(np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("size", [0, 1, 8, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 20])
def test_sums_by_python_integers(size: int) -> None:
    data = content(size)
    padded = bytes(data) + bytes(-size % PAGE)
    expected = []
    for start in range(0, len(padded), PAGE):
        words = (padded[at : at + 8] for at in range(start, start + PAGE, 8))
        expected.append(sum(int.from_bytes(word, "little") for word in words) % 2**64)
    found = np.frombuffer(summed(data), "<u8").tolist()
    print(f"{size} bytes: {len(found)} sums")
    assert found == expected


def test_every_flipped_bit_of_a_page_is_found() -> None:
    data = content(PAGE)
    before = summed(data)
    for bit in range(8 * PAGE):
        data[bit // 8] ^= 1 << bit % 8
        assert summed(data) != before
        data[bit // 8] ^= 1 << bit % 8
    assert summed(data) == before


def test_lost_and_misplaced_pages_are_found() -> None:
    data = content(8 * PAGE)
    before = summed(data)
    for first in range(8):
        places = slice(first * PAGE, (first + 1) * PAGE)
        lost = data.copy()
        lost[places] = bytes(PAGE)
        assert summed(lost) != before
        for second in range(first):
            others = slice(second * PAGE, (second + 1) * PAGE)
            swapped = data.copy()
            swapped[places], swapped[others] = data[others], data[places]
            assert summed(swapped) != before


def test_of_two_flips_in_one_page_1_in_128_is_missed() -> None:
    """As the docstring of the module says; 20,000 pairs."""
    data, chosen, missed = content(PAGE), random.Random(1), 0
    before = summed(data)
    for _ in range(20_000):
        pair = chosen.sample(range(8 * PAGE), 2)
        for bit in pair:
            data[bit // 8] ^= 1 << bit % 8
        missed += summed(data) == before
        for bit in pair:
            data[bit // 8] ^= 1 << bit % 8
    print(f"{missed} of 20,000 missed, expected {20_000 / 128:.0f}")
    assert missed == pytest.approx(20_000 / 128, abs=4 * (20_000 / 128) ** 0.5)
