"""From counts to nodes: puts chosen columns on empty nodes, and reads columns off full ones."""

import numpy as np

from .arrays import Counts
from .columns import Pool
from .occupancy import Occupancy


def settle(
    state: Occupancy, pool: Pool, chosen: dict[int, int], nodes: Counts, wanted: Counts
) -> None:
    """Give each chosen column as many of the empty `nodes` of its type as it says.

    Args:
        wanted: (C,) copies that may be placed; what goes beyond is left out.
    """
    types, wanted = pool.types, wanted.copy()
    empty: dict[int, Counts] = {}
    for t in np.unique(state.type_of[nodes]).tolist():
        empty[t] = nodes[state.type_of[nodes] == t]
    for column in sorted(chosen):
        t, times = int(types[column]), chosen[column]
        classes, copies = pool.content(column)
        mine, empty[t] = empty[t][:times], empty[t][times:]
        whole = min(times, int((wanted[classes] // copies).min()))
        if whole and state.put(mine[:whole], classes, copies):
            wanted[classes] -= whole * copies
        for node in mine[whole:]:
            some = np.minimum(copies, wanted[classes])
            kept = some > 0
            if kept.any() and state.put(np.array([node]), classes[kept], some[kept]):
                wanted[classes] -= some


def harvest(pool: Pool, state: Occupancy) -> None:
    """Add what nodes hold to the pool."""
    mark = np.random.default_rng(0).integers(1, 1 << 62, pool.shape.count.size)
    hashes = mark @ state.content
    _, first = np.unique(np.stack([hashes, state.type_of]), axis=1, return_index=True)
    for node in first.tolist():
        pool.add(int(state.type_of[node]), state.content[:, node])
