from scheduler.controllers.informers import EVENTS, Informers
from scheduler.objects.kinds import REGISTRY


def test_every_kind_that_can_have_objects_is_looked_at_but_events():
    looked_at = Informers.open(None, REGISTRY).all()
    assert {kind.resource for kind in REGISTRY.kinds} - looked_at.keys() == {
        EVENTS,
        "adoptions.ironfree.dev",
        "customresourcedefinitions.apiextensions.k8s.io",
        "explanations.ironfree.dev",
        "localsubjectaccessreviews.authorization.k8s.io",
        "nodes.metrics.k8s.io",
        "pods.metrics.k8s.io",
        "selfsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectreviews.authentication.k8s.io",
        "selfsubjectrulesreviews.authorization.k8s.io",
        "simulations.ironfree.dev",
        "subjectaccessreviews.authorization.k8s.io",
        "tokenreviews.authentication.k8s.io",
    }


def test_no_kind_is_looked_at_twice():
    informers = Informers.open(None, REGISTRY)
    fields = (informers.jobs, informers.deployments, *informers.replications.values())
    assert {id(each) for each in fields} <= {id(each) for each in informers.all().values()}
