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
    if len(set(columns.tolist())) == len(columns):
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
    prices = _Prices(costs, best)
    for row in np.flatnonzero(prices.column_of < 0).tolist():
        prices.place(row)
    return prices.column_of


class _Prices:
    """A pairing in the making, with the dual prices that prove it to be the cheapest so far."""

    def __init__(self, costs: NDArray[np.float64], best: NDArray[np.intp]) -> None:
        """Give each column to the first row that likes it `best`; rows that come too late stay without."""
        rows, columns = costs.shape
        self._costs = costs
        self.column_of = np.full(rows, -1, np.intp)
        self._row_of = np.full(columns, -1, np.intp)
        holders, first = np.unique(best, return_index=True)
        self.column_of[first], self._row_of[holders] = holders, first
        self._row_prices = costs[np.arange(rows), best]
        self._column_prices = np.zeros(columns)

    def place(self, start: int) -> None:
        """Find room for a row along the cheapest chain of moves, by Dijkstra over the columns, and make the moves."""
        columns = self._costs.shape[1]
        distances = np.full(columns, np.inf)
        came_from = np.full(columns, -1, np.intp)
        is_open = np.ones(columns, np.bool_)
        visited: list[int] = []
        row, column, walked = start, -1, 0.0
        while row >= 0:
            visited.append(row)
            through = self._costs[row] - self._column_prices + (walked - self._row_prices[row])
            nearer = is_open & (through < distances)
            distances[nearer] = through[nearer]
            came_from[nearer] = row
            column = int(np.where(is_open, distances, np.inf).argmin())
            walked = float(distances[column])
            is_open[column] = False
            row = int(self._row_of[column])
        moved = np.array(visited[1:], np.intp)
        self._row_prices[start] += walked
        self._row_prices[moved] += walked - distances[self.column_of[moved]]
        self._column_prices[~is_open] -= walked - distances[~is_open]
        while row != start:
            row = int(came_from[column])
            self._row_of[column] = row
            column, self.column_of[row] = int(self.column_of[row]), column
