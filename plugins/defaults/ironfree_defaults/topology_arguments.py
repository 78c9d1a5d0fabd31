"""Arguments of PodTopologySpread (PodTopologySpreadArgs), checked as kube-scheduler checks them."""

from collections.abc import Iterator

import msgspec

from scheduler.errors import ConfigurationError
from scheduler.objects.json import Json, JsonObject
from scheduler.objects.names import label_key_complaints
from scheduler.objects.pod import TopologySpreadConstraint

HARD = "DoNotSchedule"
SOFT = "ScheduleAnyway"
_FIELDS = {"defaultConstraints", "defaultingType", "apiVersion", "kind"}


def read_defaults(args: JsonObject, name: str) -> tuple[TopologySpreadConstraint, ...] | None:
    """Return the default constraints of a profile, None for upstream's own.

    Args:
        name: of the rule, for messages.

    Raises:
        ConfigurationError: an argument is unknown or not allowed (ValidatePodTopologySpreadArgs);
            names all that are wrong.
    """
    unknown = args.keys() - _FIELDS
    if unknown:
        raise ConfigurationError(f"{name} has no argument {min(unknown)!r}")
    given = args.get("defaultConstraints") or []
    if not isinstance(given, list):
        raise ConfigurationError(f"{name}.defaultConstraints must be a list")
    kind = args.get("defaultingType") or "System"
    where = f"{name}.defaultConstraints"
    found = [_constraint(entry, f"{where}[{number}]") for number, entry in enumerate(given)]
    wrong = [*_of_kind(kind, found, f"{name}.defaultingType"), *_of_constraints(found, where)]
    if wrong:
        raise ConfigurationError(wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]")
    return None if kind == "System" else tuple(found)


def _constraint(entry: Json, where: str) -> TopologySpreadConstraint:
    """Return a constraint; one that does not say what to do says "" (no default is applied)."""
    if isinstance(entry, dict):
        said = {key: value for key, value in entry.items() if value is not None}
        entry = {"whenUnsatisfiable": "", **said}
    try:
        return msgspec.convert(entry, TopologySpreadConstraint)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _of_kind(kind: Json, found: list[TopologySpreadConstraint], where: str) -> Iterator[str]:
    if kind not in ("System", "List"):
        yield f'{where}: Unsupported value: "{kind}": supported values: "System", "List"'
    if kind == "System" and found:
        yield f'{where}: Invalid value: "System": when .defaultConstraints are not empty'


def _of_constraints(found: list[TopologySpreadConstraint], where: str) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for number, each in enumerate(found):
        spot = f"{where}[{number}]"
        yield from _of_constraint(each, spot)
        key = (each.topology_key, each.when_unsatisfiable)
        if key in seen:
            yield f'{spot}: Duplicate value: "{{{key[0]}, {key[1]}}}"'
        seen.add(key)


def _of_constraint(each: TopologySpreadConstraint, spot: str) -> Iterator[str]:
    if each.max_skew <= 0:
        yield f"{spot}.maxSkew: Invalid value: {each.max_skew}: not in valid range (0, inf)"
    if not each.topology_key:
        yield f"{spot}.topologyKey: Required value: can not be empty"
    elif complaints := label_key_complaints(each.topology_key):
        yield f'{spot}.topologyKey: Invalid value: "{each.topology_key}": {"; ".join(complaints)}'
    if not each.when_unsatisfiable:
        yield f"{spot}.whenUnsatisfiable: Required value: can not be empty"
    elif each.when_unsatisfiable not in (HARD, SOFT):
        yield (
            f'{spot}.whenUnsatisfiable: Unsupported value: "{each.when_unsatisfiable}": '
            f'supported values: "{HARD}", "{SOFT}"'
        )
    if each.label_selector is not None:
        yield (
            f"{spot}.labelSelector: Forbidden: constraint must not define a selector, "
            "as they deduced for each pod"
        )
