import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import BadRequest
from scheduler.objects.field_selectors import parse_field_selector
from scheduler.objects.selectors import (
    EVERYTHING,
    NOTHING,
    from_label_selector,
    from_map,
    integer,
    node_requirements,
    parse_label_selector,
    requirement,
    requirement_complaints,
)


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a == b", {"a": "c"}, False),
        ("a=b", {}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (x,y)", {"a": "y"}, True),
        ("a notin (x,y)", {"a": "y"}, False),
        ("a notin (x,y)", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("!a,b=c", {"b": "c"}, True),
        ("a=", {"a": ""}, True),
        ("a in (,x)", {"a": ""}, True),
        ("a in ()", {"a": ""}, True),
        ("a in (,)", {"a": ""}, True),
        ("a in (x,)", {"a": ""}, True),
        ("a in (x,,y)", {"a": ""}, True),
        ("a in (x,,y)", {"a": "y"}, True),
        ("a in (x,y,x)", {"a": "x"}, True),
        ("a notin (x,)", {"a": ""}, False),
        ("in in (notin)", {"in": "notin"}, True),
        ("notin=in", {"notin": "in"}, True),
        ("\ta\r\n=\tb ", {"a": "b"}, True),
        ("n>5", {"n": "-6"}, False),
        ("n<5", {"n": "-6"}, True),
        ("n>5", {"n": "1_0"}, False),
        ("a!=", {"a": ""}, False),
        ("in in (in)", {"in": "in"}, True),
        ("n>5", {"n": "6"}, True),
        ("n<5", {"n": "six"}, False),
    ],
)
def test_text_selectors_match_as_upstream(text, labels, matches):
    selector = parse_label_selector(text)
    assert selector.matches(labels) is matches
    assert parse_label_selector(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a=b,", "found '', expected: identifier after ','"),
        ("a,,b", "found ',', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a in (b,,)", "requirement: found '\\)', expected: ',', or identifier"),
        ("a in (,,)", "requirement: found '\\)', expected: ',', or identifier"),
        ("a in (b c)", "requirement: found 'c', expected: ',' or '\\)'"),
        ("a in (", "requirement: found '', expected: ',', '\\)' or identifier"),
        ("a in (=)", "requirement: found '=', expected: ',', '\\)' or identifier"),
        ("a in (b,=)", "requirement: found '=', expected: ',', or identifier"),
        ("a in", "requirement: found '' expected: '\\('"),
        ("a notin b", "requirement: found 'b' expected: '\\('"),
        ("a=!b", "requirement: found '!', expected: identifier"),
        ("!!a", "requirement: found '!', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a b in (c)", "requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a!b", "requirement: found '!', expected: in, notin"),
        ("a in (b)c", "found 'c', expected: ',' or 'end of string'"),
        ("a/b/c", '^unable to parse requirement: <nil>: Invalid value: "a/b/c": a valid label'),
        ("a>1.5", r'^unable to parse requirement: values\[0\]: Invalid value: "1.5": for'),
        ("a>", r'values\[0\]: Invalid value: "": for .Gt., .Lt. operators, the value must'),
        ("a=b\x0bc", r'values\[0\]\[a\]: Invalid value: "b.*c": a valid label must'),
        ("a>x_", r"requirement: \[values\[0\]: .* integer, values\[0\]\[a\]: .*\]$"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("a in x", "unable to parse requirement: found 'x' expected: '\\('"),
        ("a in (b", "unable to parse requirement: found ''"),
        ("!", "expected: identifier"),
        ("a b", "expected: in, notin, =, ==, !=, gt, lt"),
        ("-a=b", "name part must consist of"),
        ("a=-", "a valid label must be"),
        ("n>x", "the value must be an integer"),
    ],
)
def test_bad_text_says_what_was_found(text, says):
    with pytest.raises(BadRequest, match=says):
        parse_label_selector(text)


@given(st.text(alphabet="ab=!(),<> in\t/.é\\-", max_size=20))
def test_any_text_parses_and_prints_back_or_is_refused(text):
    try:
        selector = parse_label_selector(text)
    except BadRequest:
        return
    assert parse_label_selector(str(selector)) == selector


def test_object_selectors():
    selector = from_label_selector(
        {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "DoesNotExist"}]}
    )
    assert selector.matches({"a": "b"})
    assert not selector.matches({"a": "b", "c": ""})
    assert from_label_selector(None) == NOTHING
    assert not NOTHING.matches({})
    assert from_label_selector({}) == EVERYTHING
    assert EVERYTHING.everything
    assert from_map({"a": "b"}).matches({"a": "b", "x": "y"})


@pytest.mark.parametrize(
    ("selector", "says"),
    [
        ({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}, '"Gt" is not a'),
        ({"matchExpressions": [{"key": "a", "operator": "In"}]}, "can't be empty"),
        ({"matchExpressions": [{"key": "", "operator": "Exists"}]}, "must be non-empty"),
        (
            {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]},
            "must be empty",
        ),
        ({"matchLabels": {"a": 1}}, "must be text"),
        ([], "must be an object"),
    ],
)
def test_bad_object_selectors_are_refused(selector, says):
    with pytest.raises(BadRequest, match=says):
        from_label_selector(selector)


def test_node_selectors_may_compare_numbers():
    (term,) = node_requirements([{"key": "cores", "operator": "Gt", "values": ["8"]}])
    assert term.matches({"cores": "16"})
    assert not term.matches({"cores": "8"})


def test_field_selectors_unescape_and_repeat():
    terms = parse_field_selector(r"a=b,c!=d,,e==x\,y\=z\\,f=")
    assert [(t.field, t.value, t.negated) for t in terms] == [
        ("a", "b", False),
        ("c", "d", True),
        ("e", "x,y=z\\", False),
        ("f", "", False),
    ]
    assert terms[1].matches("x")
    assert not terms[0].matches("x")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("b=c,a", "invalid selector: 'b=c,a'; can't understand 'a'"),
        ("x in (a)", r"invalid selector: 'x in \(a\)'; can't understand 'x in \(a\)'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61$"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \\x$"),
        ("a=b\\", r"invalid field selector: invalid escape sequence: \\$"),
    ],
)
def test_bad_field_selectors_are_refused(text, says):
    with pytest.raises(BadRequest, match=says):
        parse_field_selector(text)


@pytest.mark.parametrize(
    ("key", "operator", "values", "fields"),
    [
        ("a", "in", [], ["values"]),
        ("a", "notin", [], ["values"]),
        ("a", "=", [], ["values"]),
        ("a", "!=", ["b", "c"], ["values"]),
        ("a", "exists", ["b"], ["values"]),
        ("a", "!", ["b"], ["values"]),
        ("a", "gt", [], ["values"]),
        ("a", "lt", ["1", "2"], ["values"]),
        ("a", "lt", ["1", "x"], ["values", "values[1]"]),
        ("a", "gt", ["1.0"], ["values[0]"]),
        ("a b", "exists", [], ["key"]),
        ("a" * 64, "in", ["b c", "d", "-"], ["key", "values[0][aaaa", "values[2]"]),
        ("a", "in", ["b", "b", ""], []),
        ("a", "gt", ["-1"], ["values[0][a]"]),
        ("a", "gt", ["007"], []),
    ],
)
def test_all_that_is_wrong_with_a_requirement_is_told(key, operator, values, fields):
    found = requirement_complaints(key, operator, values, "here.")
    assert len(found) == len(fields)
    for complaint, name in zip(found, fields, strict=True):
        assert complaint.startswith(f"here.{name}")
        assert ": Invalid value: " in complaint
    if fields:
        with pytest.raises(BadRequest):
            requirement(key, operator, values)
    else:
        assert requirement(key, operator, values).values == tuple(sorted(set(values)))


@given(st.lists(st.text(alphabet="ab,=\\", max_size=5), min_size=1, max_size=3))
def test_field_requirements_print_back(values):
    def escape(value):
        return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")

    text = ",".join(f"f={escape(value)}" for value in values)
    terms = parse_field_selector(text)
    assert [term.value for term in terms] == values
    assert ",".join(map(str, terms)) == text


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("x=a,y=b,z=c", "x=a,y=b,z=c"),
        ("x!=a,y=b", "x!=a,y=b"),
        ("x= ,z= ", "x=,z="),
        ("x=,y", "x=,y"),
        ("!x", "!x"),
        ("x>1,z<5", "x>1,z<5"),
        ("\rx", "x"),
        ("b,a", "a,b"),
        ("in,notin", "in,notin"),
        ("this-is-a-dns.domain.com/key-with-dash", "this-is-a-dns.domain.com/key-with-dash"),
        ("0.1.2.domain/99 notin (10.10.100.1, tick.tack)", None),
        ("x notin\n (abc)", "x notin (abc)"),
        ("x  notin\t (abc,def)", "x notin (abc,def)"),
        ("x in (abc,)", "x in (,abc)"),
        ("x in (b,a,b)", "x in (a,b)"),
        ("x in ()", "x in ()"),
        ("x notin (, a)", "x notin (,a)"),
        ("x notin (abc,,def),bar,z in (),w", "bar,w,x notin (,abc,def),z in ()"),
        ("a in (x,y,notin, z,in)", "a in (in,notin,x,y,z)"),
        ("x=1,x=2", "x=1,x=2"),
    ],
)
def test_the_grammar_is_upstreams(text, printed):
    assert str(parse_label_selector(text)) == (printed or text.replace(", ", ","))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x=a||y=b", "a valid label must be"),
        ("x==a==b", "found '==', expected: ',' or 'end of string'"),
        ("!x=a", "found '=', expected: ',' or 'end of string'"),
        ("x,,y", "found ',', expected: identifier after ','"),
        (",x,y", "found ',', expected: !, identifier, or 'end of string'"),
        ("(", "found '\\(', expected: !, identifier, or 'end of string'"),
        ("x nott in (y)", "found 'nott', expected: in, notin, =, ==, !=, gt, lt"),
        ("a (", "found '\\(', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in (xyz)b notin ()", "found 'b', expected: ',' or 'end of string'"),
        ("a in (xyz abc)", "found 'abc', expected: ',' or '\\)'"),
        ("a notin(", "found '', expected: ',', '\\)' or identifier"),
        ("x in (a,=)", "found '=', expected: ',', or identifier"),
        ("!!x", "found '!', expected: identifier"),
        ("x>", "the value must be an integer"),
        ("x<9223372036854775808", "the value must be an integer"),
        ("x=" + "a" * 64, "must be no more than 63"),
    ],
)
def test_what_the_grammar_has_not_is_refused(text, says):
    with pytest.raises(BadRequest, match=says):
        parse_label_selector(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("0", 0), ("-7", -7), ("+7", 7), ("007", 7), ("9223372036854775807", 2**63 - 1)],
        *[("-9223372036854775808", -(2**63)), ("0" * 30 + "1", 1)],
        *[
            (text, None)
            for text in ("", "-", "1.0", "1e3", "1_0", " 1", "٣", "9223372036854775808")
        ],
    ],
)
def test_integers_are_read_as_go_reads_them(text, number):
    assert integer(text) == number
