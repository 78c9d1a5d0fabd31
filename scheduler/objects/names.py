"""Names of objects and keys and values of labels: what is allowed, in Kubernetes' words.

Every check returns the complaints, [] for a good value, so that a caller can say which field it was
(Kubernetes apimachinery, validation of DNS-1123, DNS-1035 and label keys).
"""

import random
import re
from collections.abc import Callable, Mapping

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_SERVICE = "[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_label = re.compile(_LABEL).fullmatch
_subdomain = re.compile(_SUBDOMAIN).fullmatch
_service = re.compile(_SERVICE).fullmatch
_key = re.compile(_KEY).fullmatch
_value = re.compile(_VALUE).fullmatch
_config_key = re.compile(_CONFIG_KEY).fullmatch
_port = re.compile("[-a-z0-9]+").fullmatch

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, no look-alikes
_MAX_GENERATED = 63
GENERATED_PREFIX = _MAX_GENERATED - 5
"""Characters of metadata.generateName that a generated name keeps; five random ones follow."""
_ANNOTATIONS_LIMIT = 256 * 1024


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def _not_matching(rule: str, pattern: str, *examples: str) -> str:
    given = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {given}regex used for validation is '{pattern}')"


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def label_name_complaints(text: str) -> list[str]:
    """Return why text is not a DNS-1123 label (at most 63 of a-z, 0-9, '-')."""
    found = [_too_long(63)] if _bytes(text) > 63 else []
    if not _label(text):
        if _subdomain(text):
            return [*found, "must not contain dots"]
        rule = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
            "'-', and must start and end with an alphanumeric character"
        )
        found.append(_not_matching(rule, _LABEL, "my-name", "123-abc"))
    return found


def subdomain_complaints(text: str) -> list[str]:
    """Return why text is not a DNS-1123 subdomain (labels joined by dots, at most 253)."""
    found = [_too_long(253)] if _bytes(text) > 253 else []
    if not _subdomain(text):
        rule = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'-' or '.', and must start and end with an alphanumeric character"
        )
        found.append(_not_matching(rule, _SUBDOMAIN, "example.com"))
    return found


def service_name_complaints(text: str) -> list[str]:
    """Return why text is not a DNS-1035 label (a Service's name: starts with a letter)."""
    found = [_too_long(63)] if _bytes(text) > 63 else []
    if not _service(text):
        rule = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
            "with an alphabetic character, and end with an alphanumeric character"
        )
        found.append(_not_matching(rule, _SERVICE, "my-name", "abc-123"))
    return found


def label_key_complaints(text: str) -> list[str]:
    """Return why text is not a label or annotation key (a qualified name: [prefix/]name)."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        suffix = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {_key_form()}{suffix}"]
    found: list[str] = []
    if slash:
        complaints = subdomain_complaints(prefix) if prefix else ["must be non-empty"]
        found.extend(f"prefix part {complaint}" for complaint in complaints)
    if not name:
        found.append("name part must be non-empty")
    elif _bytes(name) > 63:
        found.append(f"name part {_too_long(63)}")
    if not _key(name):
        found.append(f"name part {_key_form()}")
    return found


def _key_form() -> str:
    rule = (
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character"
    )
    return _not_matching(rule, _KEY, "MyName", "my.name", "123-abc")


def label_value_complaints(text: str) -> list[str]:
    """Return why text is not a label value (at most 63, may be empty)."""
    found = [_too_long(63)] if _bytes(text) > 63 else []
    if not _value(text):
        rule = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', "
            "'_' or '.', and must start and end with an alphanumeric character"
        )
        found.append(_not_matching(rule, _VALUE, "MyValue", "my_value", "12345"))
    return found


def config_key_complaints(text: str) -> list[str]:
    """Return why text is not a key of a ConfigMap or Secret."""
    found = [_too_long(253)] if _bytes(text) > 253 else []
    if not _config_key(text):
        rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        found.append(_not_matching(rule, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    elif text == ".":
        found.append("must not be '.'")
    elif text.startswith(".."):
        found.append("must not be '..'" if text == ".." else "must not start with '..'")
    return found


def wildcard_complaints(text: str) -> list[str]:
    """Return why text is not a wildcard DNS-1123 subdomain ("*.example.com")."""
    found = [_too_long(253)] if _bytes(text) > 253 else []
    if not (text.startswith("*.") and _subdomain(text[2:])):
        rule = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS "
            "subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and "
            "end with an alphanumeric character"
        )
        found.append(_not_matching(rule, rf"\*\.{_SUBDOMAIN}", "*.example.com"))
    return found


def path_segment_complaints(text: str) -> list[str]:
    """Return why text cannot be one segment of a URL's path (names of Roles and bindings)."""
    if text in {".", ".."}:
        return [f"may not be '{text}'"]
    return [f"may not contain '{each}'" for each in "/%" if each in text]


def port_name_complaints(text: str) -> list[str]:
    """Return why text is not a port's name (RFC 6335: at most 15 of a-z, 0-9, '-')."""
    if not text or _bytes(text) > 15:
        return ["must be no more than 15 characters and not empty"]
    found: list[str] = []
    if not _port(text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= c <= "z" for c in text):
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if "-" in (text[0], text[-1]):
        found.append("must not begin or end with a hyphen")
    return found


NAME_RULES: Mapping[str, Callable[[str], list[str]]] = {
    "subdomain": subdomain_complaints,
    "label": label_name_complaints,
    "service": service_name_complaints,
    "path": path_segment_complaints,
}


def labels_complaints(labels: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a map of labels, each complaint quoting its key or value."""
    found: list[str] = []
    for key, value in labels.items():
        found.extend(f'Invalid value: "{key}": {text}' for text in label_key_complaints(key))
        found.extend(f'Invalid value: "{value}": {text}' for text in label_value_complaints(value))
    return found


def annotations_complaints(annotations: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a map of annotations: their keys, and 256 KiB in all."""
    found: list[str] = []
    for key in annotations:
        # upstream looks at annotation keys in lower case
        complaints = label_key_complaints(key.lower())
        found.extend(f'Invalid value: "{key}": {text}' for text in complaints)
    if sum(_bytes(key) + _bytes(value) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        found.append(f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes")
    return found


def name_complaints(text: str, rule: str, *, prefix: bool = False) -> list[str]:
    """Return why text is not a name under a rule of NAME_RULES.

    Args:
        text: metadata.name, or metadata.generateName with prefix=True (may end in '-').
        rule: "subdomain", "label", "service" or "path".
    """
    if prefix and text.endswith("-") and len(text) > 1:
        text = text[:-1] + "a"
    return NAME_RULES[rule](text)


def generate(prefix: str) -> str:
    """Return a name from metadata.generateName: the prefix, cut at 58, and 5 random characters."""
    suffix = "".join(random.choices(SUFFIX_ALPHABET, k=5))
    return prefix[:GENERATED_PREFIX] + suffix
