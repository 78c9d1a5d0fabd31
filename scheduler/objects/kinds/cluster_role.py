"""ClusterRole (rbac.authorization.k8s.io/v1): rights anywhere, and on what has no namespace."""

from collections.abc import Iterable

from ...errors import BadRequest, Cause
from ..json import JsonObject
from ..kind import Kind
from ..selectors import from_label_selector
from .causes import required
from .fields import child, indexed
from .rbac_fields import GROUP, ROLE_PRINTER, rule_causes


def _validate(obj: JsonObject) -> Iterable[Cause]:
    yield from rule_causes(indexed(obj, "rules", ""), namespaced=False)
    if obj.get("aggregationRule") is None:
        return
    selectors = list(
        indexed(child(obj, "aggregationRule"), "clusterRoleSelectors", "aggregationRule")
    )
    if not selectors:
        why = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        yield required("aggregationRule.clusterRoleSelectors", why)
    for where, selector in selectors:
        try:
            from_label_selector(selector)
        except BadRequest as error:
            yield Cause(where, f"Invalid value: {error.message}")


KIND = Kind(
    kind="ClusterRole",
    plural="clusterroles",
    group=GROUP,
    message="rbac.v1.ClusterRole",
    namespaced=False,
    printer=ROLE_PRINTER,
    validate=_validate,
    has_status=False,
    name_rule="path",
)
