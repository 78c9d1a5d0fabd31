import pytest

from scheduler.objects import names


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (
            "subdomain",
            ["a", "a.b-c", "1", "a" * 253],
            ["", "A", "a_", "-a", "a.", "a..b", "a\n", "a" * 254],
        ),
        ("label", ["a", "1-a", "a" * 63], ["", "a.b", "a-", "a" * 64]),
        ("service", ["a", "a-1"], ["1a", "a.b", "", "A"]),
    ],
)
def test_names(rule, good, bad):
    assert [text for text in good if names.name_complaints(text, rule)] == []
    assert [text for text in bad if not names.name_complaints(text, rule)] == []


def test_complaints_are_upstreams_sentences():
    (said,) = names.subdomain_complaints("A")
    assert said == (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
        "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex "
        r"used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )
    assert names.label_name_complaints("a.b") == ["must not contain dots"]
    assert names.label_value_complaints("v" * 64) == ["must be no more than 63 bytes"]


@pytest.mark.parametrize(
    ("key", "good"),
    [
        ("a", True),
        ("a.b/c_D", True),
        ("a/b/c", False),
        ("/a", False),
        ("a/", False),
        ("a" * 64, False),
    ],
)
def test_label_keys(key, good):
    assert (names.label_key_complaints(key) == []) is good


def test_annotations_are_bounded():
    assert names.annotations_complaints({"a/B": "x" * 1000}) == []
    assert names.annotations_complaints({"a": "x" * 300_000}) != []


def test_generated_names_are_names_even_from_long_prefixes():
    name = names.generate("p" * 80 + "-")
    assert len(name) == 63
    assert names.label_name_complaints(name) == []
    assert names.generate("web-") != names.generate("web-")
    assert names.name_complaints("web-", "subdomain", prefix=True) == []
