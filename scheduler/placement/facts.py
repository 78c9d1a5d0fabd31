"""What nodes declare (labels, taints, flags) as interned columns, changed row by row. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..snapshot import ABSENT, LabelColumn, NodeFacts, Rows, TaintKey
from .columns import Column

_FORGET_AFTER = 4  # codes kept per node and label key before the dead ones are dropped


class _Label:
    """One label key: a column of codes and its vocabulary, which only grows."""

    def __init__(self) -> None:
        self.codes = Column(np.zeros(0, dtype=np.int32), fill=ABSENT)
        self.code_of: dict[str, int] = {}
        self.nodes = 0

    def set(self, row: int, value: str | None, size: int) -> None:
        codes = self.codes.writable(size)
        if value is None:
            codes[row] = ABSENT
        else:
            codes[row] = self.code_of.setdefault(value, len(self.code_of))


class FactColumns:
    """The facts of all nodes; rows are dense, removing one moves those behind it up."""

    def __init__(self) -> None:
        self.generation = 0
        self.row_of: dict[str, int] = {}
        self.taint_codes = Column(np.zeros(0, dtype=np.int32))
        self.taint_sets: tuple[tuple[TaintKey, ...], ...] = ((),)
        self.unschedulable = Column(np.zeros(0, dtype=np.bool_))
        self.ready = Column(np.zeros(0, dtype=np.bool_))
        self._facts: list[NodeFacts] = []
        self._labels: dict[str, _Label] = {}
        self._taint_code: dict[tuple[TaintKey, ...], int] = {(): 0}
        self._frozen: tuple[int, tuple[NodeFacts, ...], dict[str, int]] = (0, (), {})

    def add(self, facts: NodeFacts) -> int:
        """Add a node and return its row."""
        row = len(self._facts)
        self._facts.append(NodeFacts(facts.name))
        self.row_of[facts.name] = row
        self._write(row, facts)
        return row

    def of(self, row: int) -> NodeFacts:
        """Return a node's facts."""
        return self._facts[row]

    def set(self, row: int, facts: NodeFacts) -> None:
        """Take over a node's facts; the same facts again change nothing."""
        if facts != self._facts[row]:
            self._write(row, facts)

    def remove(self, gone: Sequence[int]) -> Rows:
        """Remove nodes and return the rows that stay, ascending."""
        rows = np.delete(np.arange(len(self._facts), dtype=np.int64), gone)
        for row in gone:
            for key in self._facts[row].labels:
                self._labels[key].nodes -= 1
        self._facts = [self._facts[row] for row in rows.tolist()]
        for key in [key for key, label in self._labels.items() if not label.nodes]:
            del self._labels[key]
        for label in self._labels.values():
            label.codes.keep(rows)
        for column in (self.taint_codes, self.unschedulable, self.ready):
            column.keep(rows)
        self.row_of = {facts.name: n for n, facts in enumerate(self._facts)}
        self.generation += 1
        self._compact()
        return rows

    def nodes(self) -> tuple[NodeFacts, ...]:
        """Return all facts by row."""
        return self._freeze()[1]

    def names(self) -> Mapping[str, int]:
        """Return node name → row."""
        return self._freeze()[2]

    def labels(self) -> Mapping[str, LabelColumn]:
        """Return the label columns."""
        size = len(self._facts)
        return {
            key: LabelColumn(label.codes.freeze(size), label.code_of)
            for key, label in self._labels.items()
        }

    def _freeze(self) -> tuple[int, tuple[NodeFacts, ...], dict[str, int]]:
        if self._frozen[0] != self.generation:
            self._frozen = (self.generation, tuple(self._facts), dict(self.row_of))
        return self._frozen

    def _write(self, row: int, facts: NodeFacts) -> None:
        size = len(self._facts)
        old = self._facts[row]
        for key in old.labels.keys() - facts.labels.keys():
            self._labels[key].set(row, None, size)
            self._labels[key].nodes -= 1
        for key, value in facts.labels.items():
            label = self._labels.get(key)
            if label is None:
                label = self._labels[key] = _Label()
            if key not in old.labels:
                label.nodes += 1
            label.set(row, value, size)
        self.taint_codes.writable(size)[row] = self._code(facts.taints)
        self.unschedulable.writable(size)[row] = facts.unschedulable
        self.ready.writable(size)[row] = facts.ready
        self._facts[row] = facts
        self.generation += 1
        self._compact()

    def _code(self, taints: tuple[TaintKey, ...]) -> int:
        code = self._taint_code.get(taints)
        if code is None:
            code = self._taint_code[taints] = len(self._taint_code)
            self.taint_sets = (*self.taint_sets, taints)
        return code

    def _compact(self) -> None:
        """Drop vocabulary that no node uses any more, so that churn does not grow it for ever."""
        size = len(self._facts)
        limit = _FORGET_AFTER * (size + 16)
        if len(self._taint_code) > limit:
            used = dict.fromkeys([(), *(facts.taints for facts in self._facts)])
            self.taint_sets = tuple(used)
            self._taint_code = {taints: code for code, taints in enumerate(used)}
            codes = self.taint_codes.writable(size)
            codes[:size] = [self._taint_code[facts.taints] for facts in self._facts]
        for key, label in list(self._labels.items()):
            if len(label.code_of) > limit:
                fresh = self._labels[key] = _Label()
                fresh.nodes = label.nodes
                for row, facts in enumerate(self._facts):
                    fresh.set(row, facts.labels.get(key), size)
