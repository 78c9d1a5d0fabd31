"""What kind of request a visit counts as, and when."""

import pytest

from scheduler.api.routes import Place, find
from scheduler.api.traffic import Traffic, Visit
from scheduler.objects.kinds import REGISTRY

PODS = "api/v1/namespaces/default/pods"


def place(path) -> Place:
    return find(path.split("/"), REGISTRY)


@pytest.mark.parametrize(
    ("method", "path", "flags", "verb", "subresource", "scope"),
    [
        ("GET", PODS, (), "LIST", "", "namespace"),
        ("GET", "api/v1/pods", (), "LIST", "", "cluster"),
        ("GET", f"{PODS}/a", (), "GET", "", "resource"),
        ("HEAD", f"{PODS}/a", (), "GET", "", "resource"),
        ("GET", f"{PODS}/a/log", (), "GET", "log", "resource"),
        ("GET", f"{PODS}/a/status", ("watches",), "GET", "status", "resource"),
        ("DELETE", f"{PODS}/a", (), "DELETE", "", "resource"),
        ("DELETE", PODS, (), "DELETECOLLECTION", "", "namespace"),
        ("PATCH", f"{PODS}/a", (), "PATCH", "", "resource"),
        ("POST", f"{PODS}/a/binding", (), "POST", "binding", "resource"),
        ("POST", f"{PODS}/a", ("follows",), "POST", "", "resource"),
    ],
)
def test_requests_have_the_labels_of_kube_apiserver(method, path, flags, verb, subresource, scope):
    traffic = Traffic()
    visit = Visit(traffic, method)
    where = place(path)
    visit.goes_to(where, watches="watches" in flags, follows="follows" in flags)
    assert sum(traffic.in_flight.values()) == 1
    visit.end(200)
    labels = (verb, "", "v1", "pods", subresource, scope)
    assert traffic.requests == {(*labels, "200"): 1}
    assert traffic.seconds[labels].count == 1
    assert not any(traffic.in_flight.values())
    assert not traffic.lasting


@pytest.mark.parametrize(
    ("path", "watches", "labels"),
    [
        (PODS, True, ("WATCH", "", "v1", "pods", "", "namespace")),
        (f"{PODS}/a", True, ("WATCH", "", "v1", "pods", "", "resource")),
        (f"{PODS}/a/log", False, ("GET", "", "v1", "pods", "log", "resource")),
    ],
)
def test_what_lasts_by_intention_has_no_duration(path, watches, labels):
    traffic = Traffic()
    visit = Visit(traffic, "GET")
    visit.goes_to(place(path), watches=watches, follows=not watches)
    assert traffic.lasting == {labels: 1}
    assert traffic.in_flight == {"readOnly": 0}
    visit.end(200)
    assert traffic.lasting == {labels: 0}
    assert traffic.requests == {(*labels, "200"): 1}
    assert not traffic.seconds


def test_methods_that_nobody_knows_make_no_labels_of_their_own():
    traffic = Traffic()
    for number in range(5):
        Visit(traffic, f"BREW{number}").end(405)
    assert traffic.requests == {("OTHER", "", "", "", "", "", "405"): 5}
