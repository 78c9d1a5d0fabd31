"""An inspection as a few kilobytes, and back: what is kept of a decision for months.

Pure. Nodes are a column of codes into the distinct things that were said of them; scores and the
amounts that were free are columns too; all of it is compressed. Beyond MOST_NODES nodes a sample
is kept: the best ones, and of the others every so many-th.
"""

import zlib
from collections.abc import Sequence

import msgspec
import numpy as np

from ..snapshot import Mask, Rows
from .inspection import Inspection, NodeVerdict
from .state import request_vector

MOST_NODES = 20_000
_BEST = 2_000
_LEVEL = 3  # zlib's; higher levels take several times as long for a tenth less


class Said(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """What was said of nodes that are not feasible."""

    plugin: str
    reasons: tuple[str, ...]
    resolvable: bool
    others: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Scores(msgspec.Struct, frozen=True, array_like=True):
    """One rule's 0-100 scores of the feasible nodes, float32."""

    name: str
    weight: int
    values: bytes


class Transcript(msgspec.Struct, frozen=True):
    """An inspection in columns.

    Args:
        rows: (K,) int32 of the node list, empty when every node is told of.
        codes: (K,) uint16: 0 feasible, otherwise the place in `said` plus one.
        asked: resource → what one pod asks.
        free: resource → (K,) int64, what was left on each node.
        total: how many nodes there were.
    """

    codes: bytes
    said: tuple[Said, ...]
    scores: tuple[Scores, ...]
    asked: dict[str, int]
    free: dict[str, bytes]
    total: int
    rows: bytes = b""


class ToldNode(msgspec.Struct, frozen=True):
    """A node's verdict, and what of the resources asked for was free."""

    verdict: NodeVerdict
    free: dict[str, int]


_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Transcript] = msgspec.msgpack.Decoder(Transcript)


def transcribe(inspection: Inspection) -> bytes:
    """Return an inspection compressed."""
    snapshot = inspection.snapshot
    rows = _kept(inspection)
    place: dict[Said, int] = {}
    codes = np.zeros(rows.size, dtype=np.uint16)
    feasible = np.zeros(snapshot.size, dtype=np.bool_)
    feasible[inspection.rows] = True
    for at in _combinations(inspection, rows, feasible):
        verdict = inspection.verdicts(rows[at[:1]])[0]
        said = Said(verdict.plugin, verdict.reasons, verdict.resolvable, verdict.others)
        codes[at] = place.setdefault(said, len(place)) + 1
    position = np.full(snapshot.size, -1, dtype=np.int64)
    position[inspection.rows] = np.arange(inspection.rows.size)
    told = position[rows[feasible[rows]]]
    asked = inspection.pod.requests.amounts
    free = snapshot.allocatable - snapshot.requested
    vector = request_vector(inspection.pod, snapshot.resource_row)
    whole = rows.size == snapshot.size
    transcript = Transcript(
        codes.tobytes(),
        tuple(place),
        tuple(
            Scores(part.name, part.weight, part.scores[told].astype(np.float32).tobytes())
            for part in inspection.parts
        ),
        dict(asked),
        {
            name: free[row][rows].tobytes()
            for name, row in snapshot.resource_row.items()
            if vector[row]
        },
        snapshot.size,
        b"" if whole else rows.astype(np.int32).tobytes(),
    )
    return zlib.compress(_encode(transcript), _LEVEL)


def read(payload: bytes, nodes: Sequence[str]) -> tuple[list[ToldNode], Transcript]:
    """Return the nodes told of, in order of the list.

    Args:
        nodes: names by row, when the transcript was made.
    """
    transcript: Transcript = _decoder.decode(zlib.decompress(payload))
    codes = np.frombuffer(transcript.codes, dtype=np.uint16)
    rows = np.frombuffer(transcript.rows, dtype=np.int32)
    if not rows.size:
        rows = np.arange(codes.size, dtype=np.int32)
    free = {name: np.frombuffer(raw, dtype=np.int64) for name, raw in transcript.free.items()}
    scores = [
        (each.name, each.weight, np.frombuffer(each.values, dtype=np.float32))
        for each in transcript.scores
    ]
    told: list[ToldNode] = []
    feasible = 0
    pairs: list[tuple[int, int]] = list(zip(rows.tolist(), codes.tolist(), strict=True))
    for at, (row, code) in enumerate(pairs):
        left = {name: int(column[at]) for name, column in free.items()}
        if code:
            plugin, reasons, resolvable, others = msgspec.structs.astuple(transcript.said[code - 1])
            verdict = NodeVerdict(nodes[row], False, plugin, reasons, resolvable, others)
        else:
            given = tuple((name, float(values[feasible])) for name, _, values in scores)
            total = float(sum(weight * values[feasible] for _, weight, values in scores))
            verdict = NodeVerdict(nodes[row], True, scores=given, total=total)
            feasible += 1
        told.append(ToldNode(verdict, left))
    return told, transcript


def _kept(inspection: Inspection) -> Rows:
    """Return the rows told of, ascending."""
    size = inspection.snapshot.size
    if size <= MOST_NODES:
        return np.arange(size, dtype=np.int64)
    best = inspection.rows[np.argsort(-inspection.totals, kind="stable")[:_BEST]]
    step = -(-size // (MOST_NODES - _BEST))
    return np.union1d(best, np.arange(0, size, step, dtype=np.int64))


def _combinations(inspection: Inspection, rows: Rows, feasible: Mask) -> list[Rows]:
    """Return, for every combination of objections, where in `rows` it holds."""
    shut = np.flatnonzero(~feasible[rows])
    if not shut.size:
        return []
    held = np.stack([objection.nodes[rows[shut]] for objection in inspection.objections])
    packed = np.packbits(held, axis=0)
    if len(packed) == 1:  # whole columns take ten times as long to compare
        _, flat = np.unique(packed[0], return_inverse=True)
    else:
        _, inverse = np.unique(packed, axis=1, return_inverse=True)
        flat = inverse.reshape(-1)
    return [shut[flat == number] for number in range(int(flat.max()) + 1)]
