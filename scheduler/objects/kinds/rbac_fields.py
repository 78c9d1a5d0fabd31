"""What Roles and bindings share: rules, subjects and references (rbac.authorization.k8s.io/v1).

Nothing here decides about a request (access.rbac does).
"""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Printer
from ..names import path_segment_complaints, subdomain_complaints
from .causes import forbidden, invalid, one_of, required
from .fields import child, children, default_text, indexed, text, texts
from .printing import AGE, NAME, age, name

GROUP = "rbac.authorization.k8s.io"
_ACCOUNT = "ServiceAccount"
_SUBJECTS = (_ACCOUNT, "User", "Group")


def rule_causes(rules: Iterable[tuple[str, JsonObject]], *, namespaced: bool) -> Iterable[Cause]:
    """Yield what is wrong with policy rules, given with their paths (ValidatePolicyRule)."""
    for where, rule in rules:
        if not texts(rule, "verbs"):
            yield required(f"{where}.verbs", "verbs must contain at least one value")
        urls = texts(rule, "nonResourceURLs")
        if not urls:
            if not texts(rule, "apiGroups"):
                why = "resource rules must supply at least one api group"
                yield required(f"{where}.apiGroups", why)
            if not texts(rule, "resources"):
                why = "resource rules must supply at least one resource"
                yield required(f"{where}.resources", why)
            continue
        path = f"{where}.nonResourceURLs"
        if namespaced:
            yield invalid(path, [*urls], "namespaced rules cannot apply to non-resource URLs")
        if any(texts(rule, key) for key in ("apiGroups", "resources", "resourceNames")):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            yield invalid(path, [*urls], why)


def default_binding(obj: JsonObject) -> None:
    """Fill in the API groups that a binding leaves out."""
    reference = obj.get("roleRef")
    if isinstance(reference, dict):
        default_text(reference, "apiGroup", GROUP)
    for subject in children(obj, "subjects"):
        if text(subject, "kind") in {"User", "Group"}:
            default_text(subject, "apiGroup", GROUP)


def binding_causes(obj: JsonObject, *roles: str) -> Iterable[Cause]:
    """Yield what is wrong with a binding.

    Args:
        roles: kinds that it may refer to; where Role is among them it lives in a namespace.
    """
    reference = child(obj, "roleRef")
    yield from one_of("roleRef.apiGroup", text(reference, "apiGroup"), (GROUP,))
    yield from one_of("roleRef.kind", text(reference, "kind"), roles)
    role = text(reference, "name")
    if not role:
        yield required("roleRef.name")
    for complaint in path_segment_complaints(role):
        yield invalid("roleRef.name", role, complaint)
    for where, subject in indexed(obj, "subjects", ""):
        yield from _subject_causes(subject, where, namespaced="Role" in roles)


def _subject_causes(subject: JsonObject, where: str, *, namespaced: bool) -> Iterable[Cause]:
    kind, own = text(subject, "kind"), text(subject, "name")
    if not own:
        yield required(f"{where}.name")
    yield from one_of(f"{where}.kind", kind, _SUBJECTS)
    if kind in {"User", "Group"}:
        yield from one_of(f"{where}.apiGroup", text(subject, "apiGroup"), (GROUP,))
        if text(subject, "namespace"):
            yield forbidden(f"{where}.namespace", f"a {kind} has no namespace")
    if kind == _ACCOUNT:
        yield from one_of(f"{where}.apiGroup", text(subject, "apiGroup"), ("",))
        for complaint in subdomain_complaints(own) if own else ():
            yield invalid(f"{where}.name", own, complaint)
        if not namespaced and not text(subject, "namespace"):
            yield required(f"{where}.namespace")


def reference_change_causes(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    """Yield a cause where a binding would refer to another role."""
    if old.get("roleRef") != new.get("roleRef"):
        yield invalid("roleRef", new.get("roleRef"), "cannot change roleRef")


def _role_cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    return name(obj), text(child(obj, "metadata"), "creationTimestamp")


ROLE_PRINTER = Printer(
    (NAME, Column("Created At", "date", description="When it was made.")), _role_cells
)


def _binding_cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    reference = child(obj, "roleRef")
    named: dict[str, list[str]] = {kind: [] for kind in _SUBJECTS}
    for subject in children(obj, "subjects"):
        prefix = f"{text(subject, 'namespace')}/" if text(subject, "kind") == _ACCOUNT else ""
        named.setdefault(text(subject, "kind"), []).append(prefix + text(subject, "name"))
    shown = [", ".join(named[kind]) for kind in ("User", "Group", _ACCOUNT)]
    role = f"{text(reference, 'kind')}/{text(reference, 'name')}"
    return name(obj), role, age(obj, now), *shown


BINDING_PRINTER = Printer(
    (
        NAME,
        Column("Role", description="Whose rights it gives."),
        AGE,
        Column("Users", priority=1, description="Users it names."),
        Column("Groups", priority=1, description="Groups it names."),
        Column("ServiceAccounts", priority=1, description="Accounts of pods it names."),
    ),
    _binding_cells,
)
