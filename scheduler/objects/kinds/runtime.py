"""What a pod takes over from its RuntimeClass (Kubernetes' RuntimeClass admission)."""

from collections.abc import Mapping
from typing import cast

import msgspec

from ...errors import Forbidden
from .. import quantity
from ..json import Json, JsonObject
from ..stored import StoredObject
from .fields import child, children, ensure, text, text_map

RESOURCE = "runtimeclasses.node.k8s.io"


class _Overhead(msgspec.Struct, frozen=True, rename="camel"):
    pod_fixed: dict[str, str | int | float] = {}


class _Scheduling(msgspec.Struct, frozen=True, rename="camel"):
    node_selector: dict[str, str] = {}
    tolerations: list[msgspec.Raw] = []


class RuntimeView(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a RuntimeClass that pods and hosts need.

    Args:
        handler: a runtime that the engine knows by this name.
        overhead: None where the class says nothing of it.
    """

    handler: str
    overhead: _Overhead | None = None
    scheduling: _Scheduling = _Scheduling()


_view = msgspec.json.Decoder(RuntimeView)
_toleration: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


def runtime_view(stored: StoredObject) -> RuntimeView:
    """Return the typed view of a stored RuntimeClass."""
    return _view.decode(stored.body.json)


def assign_runtime(spec: JsonObject, classes: Mapping[str, RuntimeView]) -> None:
    """Give a new pod's spec the overhead, node selector and tolerations of its class, in place.

    Args:
        classes: by name; that of the pod must be among them, if there is one.

    Raises:
        Forbidden: there is no such class, or the pod says something else than its class.
    """
    name = text(spec, "runtimeClassName")
    if not name:
        _weigh(spec, None)
        return
    chosen = classes.get(name)
    if chosen is None:
        raise Forbidden(f'pod rejected: RuntimeClass "{name}" not found')
    _weigh(spec, chosen.overhead)
    wanted, given = chosen.scheduling.node_selector, text_map(spec, "nodeSelector")
    for key, value in wanted.items():
        if given.get(key, value) != value:
            raise Forbidden(
                f"pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {given[key]}"
            )
    if wanted:
        ensure(spec, "nodeSelector").update(wanted)
    tolerated = children(spec, "tolerations")
    wished = map(_toleration.decode, chosen.scheduling.tolerations)
    more = [each for each in wished if each not in tolerated]
    if more:
        spec["tolerations"] = cast(list[Json], [*tolerated, *more])


def _weigh(spec: JsonObject, overhead: _Overhead | None) -> None:
    """Set what the runtime takes besides the pod's containers."""
    given = child(spec, "overhead")
    if overhead is None:
        if given:
            raise Forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )
        return
    fixed = overhead.pod_fixed
    if given and _amounts(given) != _amounts(fixed):
        raise Forbidden(
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        )
    if fixed:
        spec["overhead"] = {**fixed}


def _amounts(given: Mapping[str, Json]) -> dict[str, object]:
    return {name: quantity.parse(str(amount)) for name, amount in given.items()}
