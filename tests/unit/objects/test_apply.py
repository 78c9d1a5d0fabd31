from copy import deepcopy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import BadRequest, Conflict
from scheduler.objects.apply import Writer, apply, record_update
from scheduler.objects.field_sets import flatten, from_fields, to_fields
from scheduler.objects.schema import load

DEPLOYMENT = "apps.v1.Deployment"


def writer(manager, second=0, subresource=""):
    return Writer(manager, "apps/v1", datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), subresource)


def deployment(*containers, **spec):
    obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    if containers:
        spec["template"] = {"spec": {"containers": [*containers]}}
    return {**obj, "spec": spec}


def entries(obj):
    return {(e["manager"], e["operation"]): e["fieldsV1"] for e in obj["metadata"]["managedFields"]}


def test_a_first_apply_creates_and_records_exactly_what_was_sent():
    applied = deployment(
        {"name": "c", "image": "x", "ports": [{"containerPort": 80}], "args": ["a"]}, replicas=2
    )
    applied["metadata"]["labels"] = {"app": "web"}
    applied["metadata"]["finalizers"] = ["example.com/x"]
    made = apply(None, applied, DEPLOYMENT, writer("me"))
    assert made["spec"] == applied["spec"]
    assert made["metadata"]["managedFields"] == [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {
                    "f:finalizers": {'v:"example.com/x"': {}},
                    "f:labels": {"f:app": {}},
                },
                "f:spec": {
                    "f:replicas": {},
                    "f:template": {
                        "f:spec": {
                            "f:containers": {
                                'k:{"name":"c"}': {
                                    ".": {},
                                    "f:args": {},
                                    "f:image": {},
                                    "f:name": {},
                                    "f:ports": {
                                        'k:{"containerPort":80,"protocol":"TCP"}': {
                                            ".": {},
                                            "f:containerPort": {},
                                        }
                                    },
                                }
                            }
                        }
                    },
                },
            },
        }
    ]


def test_the_same_apply_again_changes_nothing():
    applied = deployment({"name": "c", "image": "x"}, replicas=2)
    made = apply(None, applied, DEPLOYMENT, writer("me"))
    assert apply(made, applied, DEPLOYMENT, writer("me", second=9)) == made


def test_what_is_no_longer_sent_is_removed_and_what_others_own_stays():
    made = apply(
        None,
        deployment(
            {"name": "a", "image": "x"}, {"name": "b", "image": "y"}, replicas=2, paused=True
        ),
        DEPLOYMENT,
        writer("me"),
    )
    made = apply(made, deployment(paused=True), DEPLOYMENT, writer("other"))
    made = apply(made, deployment({"name": "b", "image": "y"}), DEPLOYMENT, writer("me", 1))
    assert made["spec"] == deployment({"name": "b", "image": "y"}, paused=True)["spec"]


def test_an_item_that_another_manager_partly_owns_keeps_its_key():
    made = apply(None, deployment({"name": "a", "image": "x"}), DEPLOYMENT, writer("me"))
    after = deepcopy(made)
    after["spec"]["template"]["spec"]["containers"][0]["tty"] = True
    made = record_update(made, after, DEPLOYMENT, writer("kubectl"))
    made = apply(made, deployment(replicas=1), DEPLOYMENT, writer("me"))
    assert made["spec"]["template"]["spec"]["containers"] == [{"name": "a", "tty": True}]


def test_a_conflict_names_manager_and_field_and_force_takes_it():
    made = apply(None, deployment(replicas=2), DEPLOYMENT, writer("a"))
    with pytest.raises(Conflict) as caught:
        apply(made, deployment(replicas=3), DEPLOYMENT, writer("b"))
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "a": .spec.replicas'
    (cause,) = caught.value.causes
    assert (cause.reason, cause.field) == ("FieldManagerConflict", ".spec.replicas")
    forced = apply(made, deployment(replicas=3), DEPLOYMENT, writer("b"), force=True)
    assert forced["spec"]["replicas"] == 3
    assert [*entries(forced)] == [("b", "Apply")]


def test_equal_values_are_shared_without_conflict():
    made = apply(None, deployment(replicas=2), DEPLOYMENT, writer("a"))
    both = apply(made, deployment(replicas=2), DEPLOYMENT, writer("b"))
    assert [*entries(both)] == [("a", "Apply"), ("b", "Apply")]


def test_an_update_takes_fields_and_several_conflicts_are_listed():
    made = record_update(
        None, deployment({"name": "c", "image": "x"}, replicas=2), DEPLOYMENT, writer("kubectl")
    )
    with pytest.raises(Conflict) as caught:
        apply(made, deployment({"name": "c", "image": "y"}, replicas=1), DEPLOYMENT, writer("b"))
    assert caught.value.message == (
        'Apply failed with 2 conflicts: conflicts with "kubectl" using apps/v1:\n'
        "- .spec.replicas\n"
        '- .spec.template.spec.containers[name="c"].image'
    )


def test_an_object_without_managed_fields_belongs_to_before_first_apply():
    live = deployment(replicas=2)
    with pytest.raises(Conflict, match='"before-first-apply" using apps/v1'):
        apply(live, deployment(replicas=3), DEPLOYMENT, writer("b"))
    made = apply(live, deployment(replicas=2), DEPLOYMENT, writer("b"))
    assert [*entries(made)] == [("b", "Apply"), ("before-first-apply", "Update")]


def test_an_update_moves_ownership_of_what_it_changes_only():
    made = apply(None, deployment(replicas=2, paused=True), DEPLOYMENT, writer("me"))
    after = deepcopy(made)
    after["spec"]["replicas"] = 5
    after = record_update(made, after, DEPLOYMENT, writer("hpa", 1))
    assert entries(after) == {
        ("me", "Apply"): {"f:spec": {"f:paused": {}}},
        ("hpa", "Update"): {"f:spec": {"f:replicas": {}}},
    }
    assert record_update(after, after, DEPLOYMENT, writer("hpa", 2)) == after


@pytest.mark.parametrize(
    ("containers", "says"),
    [([{"image": "x"}], "lacks its key name"), ([{"name": "a"}, {"name": "a"}], "same key")],
)
def test_bad_list_keys_are_refused(containers, says):
    with pytest.raises(BadRequest, match=says):
        apply(deployment({"name": "z"}), deployment(*containers), DEPLOYMENT, writer("b"))


def test_applied_order_wins_and_other_items_keep_their_place():
    live = deployment({"name": "side"}, {"name": "a"}, {"name": "b"})
    made = apply(
        live, deployment({"name": "n"}, {"name": "b"}, {"name": "a"}), DEPLOYMENT, writer("m")
    )
    names = [c["name"] for c in made["spec"]["template"]["spec"]["containers"]]
    assert names == ["n", "side", "b", "a"]


CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc")},
        optional={
            "image": st.sampled_from("xy"),
            "args": st.lists(st.sampled_from("pq"), max_size=2),
        },
    ),
    max_size=3,
    unique_by=lambda c: c["name"],
)
SPECS = st.fixed_dictionaries({}, optional={"replicas": st.integers(0, 2)})


@st.composite
def deployments(draw):
    return deployment(*draw(CONTAINERS), **draw(SPECS))


@given(deployments(), deployments(), deployments())
def test_sole_owners_get_what_they_apply_and_inputs_are_untouched(first, second, third):
    live = None
    for applied in (first, second, third):
        before, sent = deepcopy(live), deepcopy(applied)
        made = apply(live, applied, DEPLOYMENT, writer("me"))
        assert (live, applied) == (before, sent)
        live = made
    wanted = flatten(third, load().message(DEPLOYMENT))
    made = {
        k: v
        for k, v in flatten(live, load().message(DEPLOYMENT)).items()
        if k[1:2] != ("f:managedFields",)
    }
    assert {k: v for k, v in made.items() if v not in ({}, [])}.keys() == {
        k for k, v in wanted.items() if v not in ({}, [])
    }


@given(deployments())
def test_field_sets_survive_their_json_form(obj):
    paths = frozenset(flatten(obj, load().message(DEPLOYMENT)))
    assert from_fields(to_fields(paths)) == paths
