"""Linear assignment of detections to tracks: maximises the sum of the weights.

Pairs of weight 0 add nothing to the sum, so the problem splits into groups of rows and columns that
are connected by positive weights. Faces overlap with few other faces, so most groups are a single
pair. The remaining groups are solved exactly by shortest augmenting paths (Kuhn, "The Hungarian
Method for the Assignment Problem", 1955; in the form of Jonker and Volgenant, "A Shortest
Augmenting Path Algorithm for Dense and Sparse Linear Assignment Problems", 1987).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import InputError

__all__ = ["assign"]

FloatArray = npt.NDArray[np.float64]
Pairs = npt.NDArray[np.int64]


def assign(weights: npt.ArrayLike) -> Pairs:
    """Pairs rows with columns so that the sum of their weights is maximal.

    Args:
        weights: (R, C), finite and not negative.

    Returns:
        int64 (K, 2): row and column of each pair with a positive weight, sorted by row. Each row
        and each column occurs at most once.

    Raises:
        InputError: If ``weights`` is not such an array.
    """
    array = np.asarray(weights, np.float64)
    if array.ndim != 2 or not np.isfinite(array).all() or (array < 0).any():
        raise InputError("weights must be an (R, C) array of finite, non-negative numbers")
    pairs = []
    for rows, columns in _groups(*np.nonzero(array)):
        if len(rows) == len(columns) == 1:
            pairs.append((rows[0], columns[0]))
            continue
        part = array[np.ix_(rows, columns)]
        pairs += [(rows[r], columns[c]) for r, c in _solve(part) if part[r, c] > 0]
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def _groups(rows: Pairs, columns: Pairs) -> list[tuple[list[int], list[int]]]:
    """Groups rows and columns that are connected by pairs, directly or indirectly."""
    group_of_row: dict[int, int] = {}
    group_of_column: dict[int, int] = {}
    groups: dict[int, tuple[list[int], list[int]]] = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        one, other = group_of_row.get(row), group_of_column.get(column)
        if one is None:
            one = len(group_of_row) if other is None else other
            group_of_row[row] = one
            groups.setdefault(one, ([], []))[0].append(row)
        if other is None:
            group_of_column[column] = one
            groups[one][1].append(column)
        elif other != one:
            joined = groups.pop(other)
            for number in joined[0]:
                group_of_row[number] = one
            for number in joined[1]:
                group_of_column[number] = one
            groups[one][0].extend(joined[0])
            groups[one][1].extend(joined[1])
    return list(groups.values())


def _solve(weights: FloatArray) -> list[tuple[int, int]]:
    """Solves a small dense problem, assigning every row or every column."""
    if weights.shape[0] > weights.shape[1]:
        return [(row, column) for column, row in _solve(weights.T)]
    if weights.shape[0] == 1:
        return [(0, int(weights[0].argmax()))]
    if weights.shape[0] == 2:
        sums = weights[0][:, None] + weights[1]
        np.fill_diagonal(sums, -1)
        first, second = divmod(int(sums.argmax()), weights.shape[1])
        return [(0, first), (1, second)]
    costs = -weights
    rows, columns = costs.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    owner = np.full(columns, -1)
    for start in range(rows):
        _augment(costs, row_price, column_price, owner, start)
    return [(int(owner[column]), column) for column in np.flatnonzero(owner >= 0)]


def _augment(
    costs: FloatArray,
    row_price: FloatArray,
    column_price: FloatArray,
    owner: npt.NDArray[np.int64],
    start: int,
) -> None:
    """Assigns one more row along the shortest augmenting path, and updates the dual prices."""
    columns = costs.shape[1]
    shortest, came_from = np.full(columns, np.inf), np.full(columns, -1)
    done = np.zeros(columns, bool)
    row, distance, path = start, 0.0, [start]
    while True:
        reduced = distance + costs[row] - row_price[row] - column_price
        better = ~done & (reduced < shortest)
        shortest[better], came_from[better] = reduced[better], row
        column = int(np.where(done, np.inf, shortest).argmin())
        distance = float(shortest[column])
        done[column] = True
        if owner[column] < 0:
            break
        row = int(owner[column])
        path.append(row)
    row_price[start] += distance
    for other in path[1:]:
        held = int(np.flatnonzero(owner == other)[0])
        row_price[other] += distance - shortest[held]
    column_price[done] -= distance - shortest[done]
    while True:
        row = int(came_from[column])
        previous = np.flatnonzero(owner == row)
        owner[column] = row
        if row == start:
            return
        column = int(previous[0])
