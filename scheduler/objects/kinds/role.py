"""Role (rbac.authorization.k8s.io/v1): rights in a namespace."""

from collections.abc import Iterable

from ...errors import Cause
from ..json import JsonObject
from ..kind import Kind
from .fields import indexed
from .rbac_fields import GROUP, ROLE_PRINTER, rule_causes


def _validate(obj: JsonObject) -> Iterable[Cause]:
    return rule_causes(indexed(obj, "rules", ""), namespaced=True)


KIND = Kind(
    kind="Role",
    plural="roles",
    group=GROUP,
    message="rbac.v1.Role",
    printer=ROLE_PRINTER,
    validate=_validate,
    has_status=False,
    name_rule="path",
)
