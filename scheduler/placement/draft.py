"""A batch's private copy of a snapshot, which each decision fills further. Pure."""

from dataclasses import replace

import numpy as np

from ..objects.pod_class import PodClass
from ..snapshot import Rows, Snapshot
from .columns import CountTable
from .state import assumed_vector, request_vector


class Draft:
    """Decisions of a batch on top of a frozen snapshot.

    `snapshot` shows what plugins may see: read-only, with every earlier decision counted in.
    """

    def __init__(self, base: Snapshot) -> None:
        self.base = base
        self._requested = base.requested.copy()
        self._assumed = base.assumed.copy()
        self._ports = CountTable[tuple[str, int], tuple[int, str]].over(base.ports)
        self._placed = CountTable[PodClass, int].over(base.placed)
        self._attracting = CountTable[PodClass, int].over(base.attracting)
        self._claiming = CountTable[PodClass, int].over(base.claiming)
        requested, assumed = self._requested.view(), self._assumed.view()
        requested.flags.writeable = assumed.flags.writeable = False
        self.snapshot = replace(
            base,
            requested=requested,
            assumed=assumed,
            ports=self._ports.live(),
            placed=self._placed.live(),
            attracting=self._attracting.live(),
            claiming=self._claiming.live(),
        )

    def add(self, pod: PodClass, rows: Rows) -> None:
        """Count copies of a class on rows; a row may occur more than once."""
        request = request_vector(pod, self.base.resource_row)
        assumed = assumed_vector(pod)
        if rows.size == 1:
            row = int(rows[0])
            self._requested[:, row] += request
            self._assumed[:, row] += assumed
            self._add_to_tables(pod, row, 1)
            return
        distinct, counts = np.unique(rows, return_counts=True)
        self._requested[:, distinct] += request[:, None] * counts
        self._assumed[:, distinct] += assumed[:, None] * counts
        for row, count in zip(distinct.tolist(), counts.tolist(), strict=True):
            self._add_to_tables(pod, row, count)

    def _add_to_tables(self, pod: PodClass, row: int, count: int) -> None:
        self._placed.add(pod, row, count)
        if pod.attracts:
            self._attracting.add(pod, row, count)
        if pod.claims:
            self._claiming.add(pod, row, count)
        for port in pod.host_ports:
            self._ports.add((port.protocol, port.port), (row, port.host_ip), count)
