from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import BadRequest
from scheduler.objects import quantity


@pytest.mark.parametrize(
    ("text", "milli", "value", "canonical"),
    [
        ("0", 0, 0, "0"),
        ("100m", 100, 1, "100m"),
        ("1.5", 1500, 2, "1500m"),
        (".5", 500, 1, "500m"),
        ("1.5Gi", 1610612736000, 1610612736, "1536Mi"),
        ("0.1m", 1, 1, "100u"),
        ("-1.5", -1500, -2, "-1500m"),
        ("1e3", 1000000, 1000, "1e3"),
        ("12E6", 12000000000, 12000000, "12e6"),
        ("1025Ki", 1049600000, 1049600, "1025Ki"),
        ("0.5Ki", 512000, 512, "512"),
        ("1.3Ki", 1331200, 1332, "1331200m"),
        ("1000k", 1000000000, 1000000, "1M"),
        ("0.0000000001", 1, 1, "1n"),
        ("+3", 3000, 3, "3"),
        ("99999999999Ei", quantity.MAX, quantity.MAX, str(quantity.MAX)),
    ],
)
def test_values_are_upstreams(text, milli, value, canonical):
    assert quantity.milli(text) == milli
    assert quantity.value(text) == value
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *["", "x", "1x", "1 ", " 1", "1\n", "1.2.3", "1KI", "1e1e1", "٣", "aoeu", "..", "+x"],
        *["1.1.M", "1+1.0M", "0.1am", "1_000", "0x10", "1 Gi", "\n", "Gi ", "+ 1"],
    ],
)
def test_what_is_no_quantity_is_refused_in_upstreams_words(text):
    for function in (quantity.parse, quantity.milli, quantity.value, quantity.canonical):
        with pytest.raises(BadRequest, match="quantities must match the regular expression"):
            function(text)


@pytest.mark.parametrize(
    "text",
    [
        *["1e", "1i", "0.1mi", ".5i", "-3.01i", "-3.01e-", "1kk", "1iK", "5EE", "1K", "1KM"],
        *["--1", "++", "e", "i", "+-", "1e+", "1Ei5", "1m5", "1ee3", "5-3", "KiKi"],
    ],
)
def test_a_suffix_that_is_none_is_refused_in_upstreams_words(text):
    with pytest.raises(BadRequest, match="unable to parse quantity's suffix"):
        quantity.parse(text)


@pytest.mark.parametrize(
    "text", ["+", "-", ".", "-.", "+.", "m", "Gi", "Ei", "E", "-k", ".n", "e3", "E-9", "+e99"]
)
def test_a_number_without_digits_is_zero(text):
    assert quantity.parse(text) == 0
    assert quantity.canonical(text) == "0"


@pytest.mark.parametrize("text", ["e-10", "-E-10", ".e-99"])
def test_too_small_a_number_without_digits_is_none(text):
    with pytest.raises(BadRequest, match="unable to parse numeric part of quantity"):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        *[("1024Mi", "1Gi"), ("1000M", "1G"), ("1001Gi", "1001Gi"), ("1023", "1023")],
        *[(".001Ki", "1024m"), (".000001Ki", "1024u"), (".000000000001Ki", "2n")],
        *[("1.5k", "1500"), ("1.5Ki", "1536"), ("0.3Mi", "314572800m"), ("2048", "2048")],
        *[("1e20", "100e18"), ("1E100", "10e99"), ("1000e998", "100e999"), ("5000E", "5000E")],
        *[("12e3", "12e3"), ("1200e1", "12e3"), ("1e4", "10e3"), ("0.5e-9", "1e-9")],
        *[("-1024Ki", "-1Mi"), ("-1n", "-1n"), ("0e3", "0"), ("-0Gi", "0"), ("00.50", "500m")],
        *[("3.001n", "4n"), ("100.035k", "100035"), ("1E", "1E"), ("1E0", "1"), ("9Ei", "9Ei")],
    ],
)
def test_the_canonical_form(text, canonical):
    if text == "9Ei":  # binary amounts end at 2^63 - 1
        canonical = str(quantity.MAX)
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("0n", 0), ("0Ki", 0), ("0e3", 0), ("-0", 0), ("00", 0), ("0.0", 0)],
        *[("1", 1), ("+1", 1), ("-1", -1), ("1.", 1), (".5", 1), ("01", 1), ("1.0", 1)],
        *[("1k", 10**3), ("1M", 10**6), ("1G", 10**9), ("1T", 10**12), ("1P", 10**15)],
        *[("1E", 10**18), ("1Ki", 2**10), ("1Mi", 2**20), ("1Gi", 2**30), ("1Ti", 2**40)],
        *[("1Pi", 2**50), ("1Ei", 2**60), ("1.1Ki", 1127), ("1.1Mi", 1153434)],
        *[("1e3", 1000), ("1E3", 1000), ("1e+3", 1000), ("1000e-3", 1), ("1E-3", 1)],
        *[("-1.5Ki", -1536), ("-0.1", -1), ("999m", 1), ("1001m", 2), ("1u", 1), ("1n", 1)],
    ],
)
def test_values_by_suffix(text, value):
    assert quantity.value(text) == value
    assert -(-quantity.nano(text) // 10**9) == value or value < 0


SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "E-2"]


@given(st.decimals(-10000, 10000, places=3), st.sampled_from(SUFFIXES))
def test_canonical_form_keeps_the_amount_and_is_a_fixed_point(number, suffix):
    text = f"{number}{suffix}"
    canonical = quantity.canonical(text)
    assert quantity.parse(canonical) == quantity.parse(text)
    assert quantity.canonical(canonical) == canonical
    assert "." not in canonical


@given(st.text(max_size=8) | st.from_regex(quantity.PATTERN))
def test_any_text_is_a_quantity_or_a_bad_request(text):
    try:
        canonical = quantity.canonical(text)
    except BadRequest:
        with pytest.raises(BadRequest):
            quantity.parse(text)
    else:
        assert abs(quantity.value(text)) <= quantity.MAX
        assert quantity.parse(canonical) == quantity.parse(text)


@given(st.integers(0, 2**62))
def test_formats_read_back(amount):
    assert quantity.value(quantity.format_bytes(amount)) == amount
    assert quantity.parse(quantity.format_cpu(amount)) == Decimal(amount) / 1000
    assert quantity.parse(quantity.format_milli(amount)) == Decimal(amount) / 1000
