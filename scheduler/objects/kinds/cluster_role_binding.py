"""ClusterRoleBinding (rbac.authorization.k8s.io/v1): who has a role everywhere."""

from collections.abc import Iterable

from ...errors import Cause
from ..json import JsonObject
from ..kind import Kind
from .rbac_fields import (
    BINDING_PRINTER,
    GROUP,
    binding_causes,
    default_binding,
    reference_change_causes,
)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    return binding_causes(obj, "ClusterRole")


KIND = Kind(
    kind="ClusterRoleBinding",
    plural="clusterrolebindings",
    group=GROUP,
    message="rbac.v1.ClusterRoleBinding",
    namespaced=False,
    printer=BINDING_PRINTER,
    default=default_binding,
    validate=_validate,
    validate_update=reference_change_causes,
    has_status=False,
    name_rule="path",
)
