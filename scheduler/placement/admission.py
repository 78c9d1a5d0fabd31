"""What creating a pod would make of it first: LimitRanges and RuntimeClasses of a scenario.

Pure. Pods that are written down to be placed have not been through the API; those that run, or
wait in the live cluster, have.
"""

from dataclasses import dataclass, field

import msgspec

from ..errors import BadRequest, Forbidden
from ..objects.json import JsonObject
from ..objects.kinds.fields import child, text
from ..objects.kinds.limit_admission import fill_limits, pod_refusals
from ..objects.kinds.limit_range import KIND as LIMIT_KIND
from ..objects.kinds.runtime import RESOURCE as RUNTIMES
from ..objects.kinds.runtime import RuntimeView, assign_runtime, runtime_view
from ..objects.limit_range import RESOURCE as LIMITS
from ..objects.limit_range import LimitRange, limit_range_view
from ..objects.meta import ObjectMeta
from ..objects.stored import Body, StoredObject


@dataclass(slots=True)
class Admission:
    """What admission knows of a scenario.

    Args:
        limits: namespace → name → LimitRange.
        runtimes: RuntimeClasses by name; None where nothing is said of any, so that pods which
            name one are taken as they stand.
    """

    limits: dict[str, dict[str, LimitRange]] = field(
        default_factory=dict[str, dict[str, LimitRange]]
    )
    runtimes: dict[str, RuntimeView] | None = None

    def add(self, stored: StoredObject) -> None:
        """Take in a stored LimitRange or RuntimeClass; one of the same name is replaced."""
        meta = stored.meta
        if stored.resource == LIMITS:
            self.limits.setdefault(meta.namespace, {})[meta.name] = limit_range_view(stored)
        else:
            self.runtimes = {**(self.runtimes or {}), meta.name: runtime_view(stored)}

    def add_written(self, resource: str, meta: ObjectMeta, obj: JsonObject, where: str) -> None:
        """Take in a LimitRange or RuntimeClass as people write it.

        Raises:
            BadRequest: it cannot be read.
        """
        try:
            if resource == LIMITS:
                LIMIT_KIND.default(obj)
            body = {k: v for k, v in obj.items() if k not in {"apiVersion", "kind", "metadata"}}
            self.add(StoredObject(resource, meta, 0, 0, Body(msgspec.json.encode(body))))
        except (BadRequest, msgspec.ValidationError) as error:
            raise BadRequest(f"{where}: {error}") from error

    def admit(self, pod: JsonObject) -> str:
        """Complete a pod in place as its creation would; say why that would be refused.

        Args:
            pod: after its kind's defaults.

        Returns:
            "" where it would not.

        Raises:
            BadRequest: a quantity cannot be read.
        """
        meta, spec = child(pod, "metadata"), child(pod, "spec")
        why = ""
        if self.runtimes is not None:
            try:
                assign_runtime(spec, self.runtimes)
            except Forbidden as error:
                why = error.message
        ranges = self.limits.get(text(meta, "namespace") or "default", {}).values()
        if ranges and not why:
            fill_limits(pod, ranges)
            found = [*pod_refusals(spec, ranges)]
            why = found[0] if len(found) == 1 else f"[{', '.join(found)}]" if found else ""
        name = text(meta, "name") or text(meta, "generateName")
        return f'pods "{name}" is forbidden: {why}' if why else ""


RESOURCES = (LIMITS, RUNTIMES)
"""What an Admission is made of."""
