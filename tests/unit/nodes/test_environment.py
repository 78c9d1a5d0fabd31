"""Environments: references, order, expansion, and what is said when something is missing."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.nodes.environment import (
    ConfigProblem,
    PodFacts,
    Reference,
    Sources,
    expand,
    references,
    resolve,
    secret_data,
    secrets_in_arguments,
)
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import (
    Container,
    EnvFromSource,
    EnvSource,
    EnvVar,
    EnvVarSource,
    FieldRef,
    KeySelector,
    Pod,
    PodSpec,
    PodStatus,
    ResourceFieldRef,
    ResourceRequirements,
)

META = ObjectMeta(
    name="web",
    namespace="shop",
    uid="u-1",
    labels={"app": "web"},
    annotations={"team.example.com/name": "blue"},
)


def facts(*containers):
    pod = Pod(META, PodSpec(containers=containers), PodStatus(), "h1", 1, b"")
    return PodFacts(pod, "10.0.0.2", "192.0.2.1", "robot", {"cpu": "8", "memory": "16Gi"})


def solved(container, config_maps=None, secrets=None):
    return resolve(container, facts(container), Sources(config_maps or {}, secrets or {}))


def from_config(key, name="look", *, optional=False):
    return EnvVarSource(config_map_key_ref=KeySelector(key, name, optional))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A $(A", "$A $(A"),
        ("cost: 5$", "cost: 5$"),
        ("$()", "$()"),
    ],
)
def test_expansion_follows_kubernetes(text, expected):
    assert expand(text, {"A": "1"}) == expected


@given(st.text(alphabet="$()AB ", max_size=30))
def test_text_without_a_dollar_or_with_doubled_dollars_is_literal(text):
    assert expand(text.replace("$", "$$"), {"A": "1", "B": "2"}) == text


def test_later_entries_win_and_see_earlier_ones():
    container = Container(
        name="c",
        env_from=(
            EnvFromSource(config_map_ref=EnvSource("look")),
            EnvFromSource(prefix="S_", secret_ref=EnvSource("keys")),
        ),
        env=(
            EnvVar("colour", "red"),
            EnvVar("SUM", "$(colour)/$(S_word)/$(later)"),
            EnvVar("later", "x"),
        ),
    )
    config = {"look": {"colour": "blue", "1.conf": "kept"}}
    values = solved(container, config, {"keys": {"word": "hush"}})
    assert dict(values) == {
        "S_word": "hush",
        "colour": "red",
        "1.conf": "kept",
        "SUM": "red/hush/$(later)",
        "later": "x",
    }


def test_fields_of_the_pod():
    paths = {
        "metadata.name": "web",
        "metadata.namespace": "shop",
        "metadata.uid": "u-1",
        "metadata.labels['app']": "web",
        "metadata.labels['none']": "",
        "metadata.annotations['team.example.com/name']": "blue",
        "spec.nodeName": "h1",
        "spec.serviceAccountName": "robot",
        "status.podIP": "10.0.0.2",
        "status.hostIP": "192.0.2.1",
    }
    env = tuple(
        EnvVar(f"V{i}", value_from=EnvVarSource(field_ref=FieldRef(path)))
        for i, path in enumerate(paths)
    )
    assert [value for _, value in solved(Container(name="c", env=env))] == list(paths.values())


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", "0", "2"),  # 1500m, rounded up
        ("limits.cpu", "1m", "1500"),
        ("requests.memory", "1Mi", "512"),
        ("requests.memory", "0", "536870912"),
        ("limits.memory", "1Gi", "16"),  # none set: the node's
        ("requests.cpu", "1", "0"),
    ],
)
def test_resources_are_divided_and_rounded_up(resource, divisor, expected):
    source = EnvVarSource(resource_field_ref=ResourceFieldRef(resource, "", divisor))
    container = Container(
        name="c",
        resources=ResourceRequirements(requests={"memory": "512Mi"}, limits={"cpu": "1500m"}),
        env=(EnvVar("V", value_from=source),),
    )
    assert solved(container) == (("V", expected),)


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (
            Container(name="c", env=(EnvVar("V", value_from=from_config("k")),)),
            'configmap "look" not found',
        ),
        (
            Container(name="c", env=(EnvVar("V", value_from=from_config("k", "have")),)),
            "couldn't find key k in ConfigMap shop/have",
        ),
        (
            Container(name="c", env_from=(EnvFromSource(secret_ref=EnvSource("no")),)),
            'secret "no" not found',
        ),
        (
            Container(
                name="c",
                env=(
                    EnvVar("V", value_from=EnvVarSource(secret_key_ref=KeySelector("raw", "bin"))),
                ),
            ),
            "key raw of secret shop/bin is not UTF-8 text, so it cannot be an environment variable",
        ),
        (
            Container(
                name="c",
                env=(EnvVar("V", value_from=EnvVarSource(field_ref=FieldRef("status.phase"))),),
            ),
            "fieldPath status.phase is not supported",
        ),
        (
            Container(
                name="c",
                env=(
                    EnvVar(
                        "V",
                        value_from=EnvVarSource(
                            resource_field_ref=ResourceFieldRef("limits.cpu", "other")
                        ),
                    ),
                ),
            ),
            "resourceFieldRef names container other, which the pod does not have",
        ),
    ],
)
def test_what_is_missing_is_named(container, message):
    secrets = {"bin": secret_data({"raw": base64.b64encode(b"\xff").decode()})}
    assert solved(container, {"have": {}}, secrets) == ConfigProblem(message)


def test_optional_references_may_be_missing():
    container = Container(
        name="c",
        env_from=(EnvFromSource(config_map_ref=EnvSource("no", optional=True)),),
        env=(
            EnvVar("A", value_from=from_config("k", optional=True)),
            EnvVar("B", value_from=from_config("k", "have", optional=True)),
            EnvVar("C", "kept"),
        ),
    )
    assert solved(container, {"have": {}}) == (("C", "kept"),)
    assert references(container) == {Reference("ConfigMap", n) for n in ("no", "look", "have")}


@pytest.mark.parametrize(
    ("arguments", "secret"),
    [
        ("serve --port=$(PORT)", []),
        ("serve --password=$(PASSWORD) $(PASSWORD)", ["PASSWORD"]),
        ("serve $$(PASSWORD) $(HOST)", []),
        ("serve $(URL)", ["URL"]),
        ("serve $(DB_USER) $(OTHER)", ["DB_USER"]),
        ("serve $(DB_NAME)", []),
    ],
)
def test_arguments_that_have_values_of_secrets(arguments, secret):
    key = EnvVarSource(secret_key_ref=KeySelector(name="s", key="k"))
    container = Container(
        "c",
        "i",
        args=tuple(arguments.split()),
        env=(
            EnvVar("PORT", "80"),
            EnvVar("PASSWORD", value_from=key),
            EnvVar("URL", "postgres://$(PASSWORD)@db"),
            EnvVar("DB_NAME", "plain"),
        ),
        env_from=(
            EnvFromSource(secret_ref=EnvSource(name="s"), prefix="DB_"),
            EnvFromSource(config_map_ref=EnvSource(name="m")),
        ),
    )
    assert [*secrets_in_arguments(container)] == secret
    assert secrets_in_arguments(Container("c", "i")) == ()
