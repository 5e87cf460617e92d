"""The best pairing of tracks with detections."""

import numpy as np
from numpy.typing import NDArray

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]


def assign(gains: NDArray[np.float64], least: float) -> Pairs:
    """Pair rows with columns so that the sum of ``gain - least`` over all pairs is as large as it can be.

    Exact: shortest augmenting paths with dual prices (Jonker and Volgenant, "A Shortest Augmenting Path Algorithm
    for Dense and Sparse Linear Assignment Problems", Computing 38, 1987; the rectangular form of Crouse, "On
    implementing 2D rectangular assignment algorithms", 2016). Every row first takes its best column. Only rows that
    lost theirs to another search a path, so a scene without contention costs one argmax.

    Args:
        gains: Shape (N, M), how good each pair would be; finite.
        least: Pairs below this gain are never made; rows and columns may stay alone.

    Returns:
        Rows and columns of the pairs, shape (K,) each, rows rising.
    """
    rows = np.arange(gains.shape[0])
    if not gains.size:
        return rows[:0], rows[:0]
    columns = gains.argmax(axis=1)
    rows = rows[gains[rows, columns] >= least]
    columns = columns[rows]
    if len(rows) < 2 or len(np.unique(columns)) == len(columns):  # noqa: PLR2004 - a contest takes two
        return rows, columns
    chosen = _solve(least - gains[rows], columns)
    paired = chosen < gains.shape[1]
    return rows[paired], chosen[paired]


def _solve(costs: NDArray[np.float64], best: NDArray[np.intp]) -> NDArray[np.intp]:
    """Give the column of each row at the least total cost; a column from M on means the row stays alone, at cost 0.

    Args:
        costs: Shape (N, M); a positive cost means that the pair is not allowed.
        best: Shape (N,), the cheapest column of each row.
    """
    count = len(costs)
    # a private column for each row to stay alone in, so that every row ends somewhere
    alone = np.full((count, count), np.inf)
    np.fill_diagonal(alone, 0.0)
    costs = np.concatenate((np.where(costs > 0.0, np.inf, costs), alone), axis=1)
    column_of = np.full(count, -1, np.intp)
    row_of = np.full(costs.shape[1], -1, np.intp)
    holders, first = np.unique(best, return_index=True)
    column_of[first], row_of[holders] = holders, first
    row_prices = costs[np.arange(count), best]
    column_prices = np.zeros(costs.shape[1])
    for row in np.flatnonzero(column_of < 0).tolist():
        _augment(costs, row, column_of, row_of, row_prices, column_prices)
    return column_of


def _augment(
    costs: NDArray[np.float64],
    start: int,
    column_of: NDArray[np.intp],
    row_of: NDArray[np.intp],
    row_prices: NDArray[np.float64],
    column_prices: NDArray[np.float64],
) -> None:
    """Find room for row `start` along the cheapest chain of moves, and make the moves. Dijkstra over the columns."""
    distances = np.full(costs.shape[1], np.inf)
    came_from = np.full(costs.shape[1], -1, np.intp)
    is_open = np.ones(costs.shape[1], np.bool_)
    visited = [start]
    row, walked = start, 0.0
    while True:
        through = costs[row] - (row_prices[row] - walked) - column_prices
        nearer = is_open & (through < distances)
        distances[nearer] = through[nearer]
        came_from[nearer] = row
        column = int(np.where(is_open, distances, np.inf).argmin())
        walked = float(distances[column])
        is_open[column] = False
        row = int(row_of[column])
        if row < 0:
            break
        visited.append(row)
    row_prices[start] += walked
    moved = np.array(visited[1:], np.intp)
    row_prices[moved] += walked - distances[column_of[moved]]
    closed = ~is_open
    column_prices[closed] -= walked - distances[closed]
    while True:
        row = int(came_from[column])
        row_of[column] = row
        column, column_of[row] = int(column_of[row]), column
        if row == start:
            return
