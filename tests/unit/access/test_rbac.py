"""Which rules allow what, to whom they apply, and which of them cover others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.access.identity import User
from scheduler.access.rbac import (
    MOST_SHOWN,
    Attributes,
    Decision,
    allows,
    decide,
    rules_for,
    subject_key,
    uncovered,
)
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.role import Role, RoleBinding, RoleRef, Rule, Subject

ROBOT = User(
    "system:serviceaccount:shop:robot",
    groups=("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"),
)
LIST = Attributes("list", "shop", "", "pods")
READ_PODS = Rule(("get", "list"), ("",), ("pods",))


class Cluster:
    """Roles and bindings, looked through one by one."""

    def __init__(self) -> None:
        self.roles: dict[tuple[str, str], Role] = {}
        self.bound: list[RoleBinding] = []

    def give(self, namespace: str, subject: Subject, *rules: Rule, home: str | None = None) -> None:
        """Bind rules in a namespace; home is that of the role, "" for a ClusterRole."""
        name, home = f"r{len(self.roles)}", namespace if home is None else home
        self.roles[home, name] = Role(ObjectMeta(name=name, namespace=home), rules)
        ref = RoleRef("Role" if home else "ClusterRole", name)
        self.bound.append(RoleBinding(ObjectMeta(name="b", namespace=namespace), (subject,), ref))

    def bindings(self, namespace: str, subject: str) -> list[RoleBinding]:
        return [
            each
            for each in self.bound
            if each.meta.namespace == namespace
            and subject in {subject_key(s, namespace) for s in each.subjects}
        ]

    def role(self, namespace: str, name: str) -> Role | None:
        return self.roles.get((namespace, name))


@pytest.mark.parametrize(
    ("rule", "wanted", "allowed"),
    [
        (READ_PODS, LIST, True),
        (READ_PODS, LIST._replace(verb="watch"), False),
        (READ_PODS, LIST._replace(group="apps"), False),
        (READ_PODS, LIST._replace(resource="secrets"), False),
        (READ_PODS, LIST._replace(subresource="log"), False),
        (READ_PODS, Attributes("get", path="/pods"), False),
        (Rule(("*",), ("",), ("pods",)), LIST._replace(verb="escalate"), True),
        (Rule(("get",), ("*",), ("pods",)), LIST._replace(verb="get", group="x.io"), True),
        (Rule(("list",), ("",), ("*",)), LIST._replace(subresource="log"), True),
        (Rule(("get",), ("",), ("pods/log",)), LIST._replace(verb="get"), False),
        (Rule(("list",), ("",), ("pods/log",)), LIST._replace(subresource="log"), True),
        (Rule(("list",), ("",), ("*/log",)), LIST._replace(subresource="log"), True),
        (Rule(("list",), ("",), ("*/log",)), LIST._replace(subresource="exec"), False),
        (Rule(("list",), ("",), ("*/log",)), LIST, False),
        (Rule(("list",), ("",), ("pods",), ("a",)), LIST, False),
        (Rule(("list",), ("",), ("pods",), ("a",)), LIST._replace(name="a"), True),
        (Rule(("list",), ("",), ("pods",), ("a",)), LIST._replace(name="b"), False),
        (Rule(("list",)), LIST, False),
        (Rule((), ("*",), ("*",)), LIST, False),
        (Rule(("get",), non_resource_urls=("/healthz",)), Attributes("get", path="/healthz"), True),
        (Rule(("get",), non_resource_urls=("/api/*",)), Attributes("get", path="/api/v1"), True),
        (Rule(("get",), non_resource_urls=("/api/*",)), Attributes("get", path="/apis"), False),
        (Rule(("get",), non_resource_urls=("*",)), Attributes("get", path="/metrics"), True),
        (Rule(("get",), non_resource_urls=("*",)), Attributes("post", path="/metrics"), False),
        (Rule(("*",), ("*",), ("*",)), Attributes("get", path="/metrics"), False),
        (Rule(("*",), non_resource_urls=("*",)), LIST, False),
    ],
)  # fmt: skip
def test_a_rule_allows_what_it_says(rule: Rule, wanted: Attributes, allowed: bool) -> None:
    assert allows(rule, wanted) is allowed


@pytest.mark.parametrize(
    ("subject", "bound_in", "applies"),
    [
        (Subject("ServiceAccount", "robot", "shop"), "shop", True),
        (Subject("ServiceAccount", "robot", "shop"), "", True),
        (Subject("ServiceAccount", "robot"), "shop", True),
        (Subject("ServiceAccount", "robot"), "", False),
        (Subject("ServiceAccount", "robot", "other"), "shop", False),
        (Subject("ServiceAccount", "other", "shop"), "shop", False),
        (Subject("User", ROBOT.name), "shop", True),
        (Subject("User", "system:authenticated"), "shop", False),
        (Subject("Group", "system:authenticated"), "", True),
        (Subject("Group", "system:serviceaccounts:shop"), "shop", True),
        (Subject("Group", "system:serviceaccounts:other"), "shop", False),
        (Subject("Group", ROBOT.name), "shop", False),
        (Subject("Robot", ROBOT.name), "shop", False),
        (Subject("User", ""), "shop", False),
    ],
)
def test_a_binding_gives_to_its_subjects(subject: Subject, bound_in: str, applies: bool) -> None:
    cluster = Cluster()
    cluster.give(bound_in, subject, READ_PODS)

    assert decide(cluster, ROBOT, LIST).allowed is applies


def test_a_binding_gives_rights_in_its_namespace_only() -> None:
    cluster = Cluster()
    cluster.give("shop", Subject("ServiceAccount", "robot", "shop"), READ_PODS, home="")

    assert decide(cluster, ROBOT, LIST) == Decision(
        True,
        'RBAC: allowed by RoleBinding "b/shop" of ClusterRole "r0" to ServiceAccount "robot/shop"',
    )
    assert decide(cluster, ROBOT, LIST._replace(namespace="other")) == Decision(False)
    assert decide(cluster, ROBOT, LIST._replace(namespace="")) == Decision(False)


def test_a_binding_in_the_cluster_gives_rights_everywhere() -> None:
    cluster = Cluster()
    cluster.give("", Subject("Group", "system:authenticated"), READ_PODS)

    for namespace in ("", "shop", "other"):
        assert decide(cluster, ROBOT, LIST._replace(namespace=namespace)) == Decision(
            True,
            'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r0" to Group '
            '"system:authenticated"',
        )
    assert not decide(cluster, User("system:anonymous"), LIST).allowed


def test_a_role_of_another_namespace_is_not_meant() -> None:
    cluster = Cluster()
    cluster.give("shop", Subject("ServiceAccount", "robot"), READ_PODS, home="other")

    assert decide(cluster, ROBOT, LIST) == Decision(
        False, 'RBAC: role.rbac.authorization.k8s.io "r0" not found'
    )
    assert rules_for(cluster, ROBOT, "shop") == []


VERBS, NAMES = ("get", "list"), ("a", "b")
_verbs = st.lists(st.sampled_from((*VERBS, "*")), max_size=2, unique=True).map(tuple)
_groups = st.lists(st.sampled_from(("", "apps", "*")), max_size=2, unique=True).map(tuple)
_resources = st.lists(
    st.sampled_from(("pods", "pods/log", "*/log", "sets", "*")), max_size=2, unique=True
).map(tuple)
_names = st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple)
_urls = st.lists(
    st.sampled_from(("/a", "/a/*", "/a/b", "*")), min_size=1, max_size=2, unique=True
).map(tuple)
_rules = st.lists(
    st.builds(Rule, _verbs, _groups, _resources, _names)
    | st.builds(lambda verbs, urls: Rule(verbs, non_resource_urls=urls), _verbs, _urls),
    max_size=4,
)
_WORLD = [
    Attributes(verb, "n", group, resource, subresource, name)
    for verb in (*VERBS, "delete")
    for group in ("", "apps", "x.io")
    for resource in ("pods", "sets", "others")
    for subresource in ("", "log", "exec")
    for name in ("", *NAMES, "c")
] + [
    Attributes(verb, path=path)
    for verb in (*VERBS, "delete")
    for path in ("/a", "/a/b", "/a/c", "/ab", "/x")
]


@given(held=_rules, wanted=_rules)
def test_rights_that_are_covered_allow_nothing_more(held: list[Rule], wanted: list[Rule]) -> None:
    missing = uncovered(held, wanted)
    more = [
        each
        for each in _WORLD
        if any(allows(rule, each) for rule in wanted)
        and not any(allows(rule, each) for rule in held)
    ]

    assert missing or not more
    if len(missing) < MOST_SHOWN:  # and whatever is more is told
        for each in more:
            assert any(allows(rule, each) for rule in missing)


@given(rules=_rules)
def test_everything_covers_everything_and_rules_themselves(rules: list[Rule]) -> None:
    everything = [Rule(("*",), ("*",), ("*",)), Rule(("*",), non_resource_urls=("*",))]

    assert uncovered(everything, rules) == []
    assert uncovered(rules, rules) == []


def test_what_is_not_held_is_told_in_pieces() -> None:
    wanted = Rule(("get", "delete"), ("",), ("pods", "secrets"))

    assert uncovered([READ_PODS], [wanted]) == [
        Rule(("delete",), ("",), ("pods",)),
        Rule(("get",), ("",), ("secrets",)),
        Rule(("delete",), ("",), ("secrets",)),
    ]


def test_rights_may_be_put_together_of_several_rules() -> None:
    held = [Rule(("get",), ("",), ("pods",)), Rule(("list",), ("",), ("*",))]

    assert uncovered(held, [READ_PODS]) == []
    assert uncovered(held, [Rule(("get",), ("",), ("*",))]) == [Rule(("get",), ("",), ("*",))]


def test_a_rule_of_endless_pieces_is_refused_as_one() -> None:
    many = tuple(f"x{n}" for n in range(300))
    wanted = Rule(many, many, many, many)

    assert uncovered([READ_PODS], [wanted]) == [wanted]
    assert uncovered([Rule(("*",), ("*",), ("*",))], [wanted]) == []
