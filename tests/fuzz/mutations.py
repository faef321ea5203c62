"""Seeded damage: of bytes, and of JSON documents by their structure."""

from __future__ import annotations

import copy
import random
from typing import Any

__all__ = ["damage", "damage_json"]

STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**30,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    "../../x",
    "/dev/zero",
    "a\nb\x1b[31m",
    "\ud800",
    "9" * 5000,
    "(0, -1, 99999999999)",
    "(1, 2, 3, 4, 5, 6)",
    "nan",
    [],
    {},
    [[[[[[[[]]]]]]]],
    {"a": {"b": {}}},
    [0] * 1000,
)


def damage(data: bytes, chance: random.Random) -> bytes:
    """Flips bits, overwrites, cuts off, inserts, deletes or repeats parts, one to four times."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        if not changed:
            break
        place = chance.randrange(len(changed))
        if chance.random() < 0.5:
            place = min(place, chance.randrange(min(256, len(changed))))
        size = chance.choice((1, 2, 4, 8, 64))
        kind = chance.randrange(7)
        if kind == 0:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[place : place + size] = chance.randbytes(size)
        elif kind == 2:
            changed[place : place + size] = bytes([chance.choice((0, 0x7F, 0x80, 0xFF))]) * size
        elif kind == 3:
            del changed[place:]
        elif kind == 4:
            del changed[place : place + size]
        elif kind == 5:
            changed[place:place] = chance.randbytes(size)
        else:
            changed[place:place] = changed[place : place + size]
    return bytes(changed)


def damage_json(document: Any, chance: random.Random) -> Any:
    """A copy with one to three values, keys or elements changed."""
    changed = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_places(changed))
        if not places:
            break
        holder, key = chance.choice(places)
        kind = chance.randrange(5)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[chance.choice(("", "x", "../x", "a\nb", str(key) * 2))] = holder.pop(key)
        elif kind == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif kind == 3:
            other, place = chance.choice(places)
            if place in other if isinstance(other, dict) else place < len(other):
                holder[key] = copy.deepcopy(other[place])
        else:
            holder[key] = copy.deepcopy(chance.choice(STRANGE))
    return changed


def _places(value: Any) -> Any:
    """Every container with every key in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)
