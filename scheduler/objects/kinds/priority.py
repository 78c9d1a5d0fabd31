"""A pod's priority from its PriorityClass (Kubernetes' Priority admission)."""

from collections.abc import Mapping

import msgspec

from ...errors import Forbidden
from ..json import JsonObject
from ..stored import StoredObject
from .fields import number, text


class PriorityView(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a PriorityClass that pods take over."""

    value: int = 0
    global_default: bool = False
    preemption_policy: str = "PreemptLowerPriority"


_view = msgspec.json.Decoder(PriorityView)


def priority_view(stored: StoredObject) -> PriorityView:
    """Return the typed view of a stored PriorityClass."""
    return _view.decode(stored.body.json)


def assign_priority(spec: JsonObject, classes: Mapping[str, PriorityView]) -> None:
    """Set priority, priorityClassName and preemptionPolicy of a new pod's spec, in place.

    Args:
        classes: every PriorityClass by name.

    Raises:
        Forbidden: the class does not exist, or the spec gives another number than its class.
    """
    name = text(spec, "priorityClassName")
    if not name:
        name = _default_class(classes)
        if name:
            spec["priorityClassName"] = name
    chosen = classes.get(name) if name else PriorityView()
    if chosen is None:
        raise Forbidden(f"no PriorityClass with name {name} was found")
    given = spec.get("priority")
    if given is not None and number(spec, "priority") != chosen.value:
        raise Forbidden(
            f"the integer value of priority ({given}) must not be provided in pod spec; priority "
            "admission controller computed "
            f"{chosen.value} from the given PriorityClass name"
        )
    policy = text(spec, "preemptionPolicy")
    if policy and policy != chosen.preemption_policy:
        raise Forbidden(
            f"the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; "
            f"priority admission controller computed {chosen.preemption_policy} from the given "
            "PriorityClass name"
        )
    spec["priority"] = chosen.value
    spec["preemptionPolicy"] = chosen.preemption_policy


def _default_class(classes: Mapping[str, PriorityView]) -> str:
    """Return the global default, the least valued one should there be several."""
    defaults = [(view.value, name) for name, view in classes.items() if view.global_default]
    return min(defaults)[1] if defaults else ""
