"""The best one-to-one assignment of rows to columns."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import StatisticsError


def best_assignment(gain: Float[Tensor, "k k"]) -> Int[Tensor, " k"]:
    """For every row the column, each used once, so that the sum of gains is largest.

    Shortest augmenting paths with potentials, O(k^3) with O(k^2) steps on whole rows.

    Raises:
        StatisticsError: not a square matrix of finite numbers.

    Example:
        >>> best_assignment(torch.tensor([[1.0, 5.0, 0.0], [4.0, 6.0, 0.0], [0.0, 0.0, 1.0]])).tolist()
        [1, 0, 2]

    Source: Kuhn (1955), Munkres (1957), in the form of Jonker and Volgenant, Computing 38 (1987).
    """
    if gain.ndim != 2 or gain.shape[0] != gain.shape[1] or not bool(torch.isfinite(gain).all()):
        raise StatisticsError(f"an assignment needs a square matrix of finite numbers, got {tuple(gain.shape)}")
    k = len(gain)
    cost = -gain.double().cpu()
    row_price = torch.zeros(k, dtype=torch.float64)
    column_price = torch.zeros(k, dtype=torch.float64)
    row_of = torch.full((k,), -1)
    for row in range(k):
        _augment(row, cost, row_price, column_price, row_of)
    columns = torch.empty(k, dtype=torch.int64)
    columns[row_of] = torch.arange(k)
    return columns


def _augment(start: int, cost: Tensor, row_price: Tensor, column_price: Tensor, row_of: Tensor) -> None:
    """Give row `start` a column, moving other rows along the cheapest path; prices stay feasible."""
    k = len(cost)
    shortest = torch.full((k,), torch.inf, dtype=torch.float64)
    came_from = torch.full((k,), -1)
    done = torch.zeros(k, dtype=torch.bool)
    row, length = start, 0.0
    visited: list[tuple[int, float]] = [(start, 0.0)]
    while True:
        through = length + cost[row] - row_price[row] - column_price
        better = ~done & (through < shortest)
        shortest[better], came_from[better] = through[better], row
        column = int(torch.where(done, torch.inf, shortest).argmin())
        length = shortest[column].item()
        done[column] = True
        if row_of[column] < 0:
            break
        row = int(row_of[column])
        visited.append((row, length))
    for seen, at in visited:
        row_price[seen] += length - at
    column_price[done] -= length - shortest[done]
    while True:
        row = int(came_from[column])
        previous = (row_of == row).nonzero()
        row_of[column] = row
        if row == start:
            return
        column = int(previous[0])
