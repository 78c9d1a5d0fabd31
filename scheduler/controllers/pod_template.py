"""Pods made from a controller's template, as if a client had created them. Pure.

The template is taken through the defaults and checks of the Pod kind once; every replica shares
the resulting body.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import msgspec

from ..errors import Forbidden, Invalid
from ..objects import names
from ..objects.cohort import Cohort, made_alike
from ..objects.json import Json, JsonObject
from ..objects.kind import Kind
from ..objects.kinds.fields import child
from ..objects.kinds.limit_admission import fill_limits, pod_refusals
from ..objects.kinds.pod_defaults import tolerate_lost_nodes
from ..objects.kinds.priority import PriorityView, assign_priority
from ..objects.kinds.runtime import RuntimeView, assign_runtime
from ..objects.limit_range import LimitRange
from ..objects.meta import ObjectMeta, OwnerReference, new_uid
from ..objects.pod_owner import PodTemplate
from ..objects.replication import REPLACES
from ..objects.stored import Body, intern_body
from ..objects.wire import decompose
from ..store.operations import Create


@dataclass(frozen=True, slots=True)
class Classes:
    """The PriorityClasses and RuntimeClasses, by name."""

    priorities: Mapping[str, PriorityView] = field(default_factory=dict[str, PriorityView])
    runtimes: Mapping[str, RuntimeView] = field(default_factory=dict[str, RuntimeView])


@dataclass(frozen=True, slots=True)
class PodMold:
    """What all pods of a template have in common."""

    meta: ObjectMeta
    body: Body
    status: bytes

    @property
    def spec(self) -> JsonObject:
        """The pods' spec."""
        return child(cast(JsonObject, msgspec.json.decode(self.body.json)), "spec")

    def varied(self, change: Callable[[JsonObject], None], meta: ObjectMeta) -> "PodMold":
        """Return the mold of a pod that differs.

        Args:
            change: of the spec, in place; what it makes of a valid spec must be valid.
        """
        body = cast(JsonObject, msgspec.json.decode(self.body.json))
        change(child(body, "spec"))
        canonical = msgspec.json.encode(body, order="deterministic")
        return PodMold(meta, intern_body(canonical), self.status)


def mold(
    template: PodTemplate,
    kind: Kind,
    classes: Classes,
    toleration_seconds: int,
    limits: Collection[LimitRange] = (),
) -> PodMold:
    """Return the template as pods take it over.

    Args:
        kind: Pod's.
        classes: all that pods can name.
        toleration_seconds: how long pods stay bound to lost nodes unless they say.
        limits: the LimitRanges of the namespace.

    Raises:
        Invalid, Forbidden: no pod can be made from this template.
    """
    spec = cast(JsonObject, msgspec.json.decode(template.spec))
    metadata = cast(JsonObject, msgspec.to_builtins(template.metadata))
    obj: JsonObject = {
        "apiVersion": kind.group_version,
        "kind": kind.kind,
        "metadata": {**metadata, "name": "template"},
        "spec": spec,
    }
    tolerate_lost_nodes(spec, toleration_seconds)
    assign_priority(spec, classes.priorities)
    assign_runtime(spec, classes.runtimes)
    kind.complete(obj)
    kind.default(obj)
    fill_limits(obj, limits)
    refusals = [*pod_refusals(child(obj, "spec"), limits)]
    if refusals:
        raise Forbidden(f"pods of the template are forbidden: {', '.join(refusals)}")
    causes = tuple(kind.validate(obj))
    if causes:
        said = "; ".join(f"{cause.field}: {cause.message}" for cause in causes)
        raise Invalid(f"no pod can be made from the template: {said}", causes=causes)
    status: Json = kind.initial_status(obj)
    parts = decompose(obj, kind)
    return PodMold(
        msgspec.structs.replace(parts.meta, name=""),
        parts.body,
        msgspec.json.encode(status) if status else b"",
    )


@dataclass(frozen=True, slots=True)
class PodSeries:
    """Makes pods of one owner, each under a new name.

    Args:
        taken: names in use, which are not given again; grows.
    """

    shape: PodMold
    owner: OwnerReference
    namespace: str
    taken: set[str]
    now: datetime

    def next(self, shape: PodMold | None = None, infix: str = "") -> Create:
        """Return the next pod's Create.

        Args:
            shape: of a pod that differs.
            infix: what its name has between the owner's name and the random characters.
        """
        shape, prefix = shape or self.shape, f"{self.owner.name}-{infix}"
        name = names.generate(prefix)
        while name in self.taken:
            name = names.generate(prefix)
        self.taken.add(name)
        meta = msgspec.structs.replace(
            shape.meta,
            name=name,
            generate_name=prefix,
            namespace=self.namespace,
            uid=new_uid(),
            generation=1,
            creation_timestamp=self.now,
            owner_references=(self.owner,),
        )
        return Create("pods", meta, shape.body, shape.status)

    def succeed(self, uid: str, node: str) -> Create:
        """Return the Create of a pod that stands in for another one, nominated to a node."""
        made = self.next()
        said = {**made.meta.annotations, REPLACES: uid}
        status = cast(JsonObject, msgspec.json.decode(made.status or b"{}"))
        status["nominatedNodeName"] = node
        return msgspec.structs.replace(
            made,
            meta=msgspec.structs.replace(made.meta, annotations=said),
            status=msgspec.json.encode(status),
        )

    def alike(self, count: int) -> list[Cohort]:
        """Return that many pods as cohorts; their names are tried, not known to be free."""
        meta = msgspec.structs.replace(
            self.shape.meta,
            namespace=self.namespace,
            generate_name=f"{self.owner.name}-",
            generation=1,
            creation_timestamp=self.now,
            owner_references=(self.owner,),
        )
        return made_alike(meta, self.shape.body, self.shape.status, count)
