"""What a Placement may ask for."""

from scheduler.objects.kinds import REGISTRY

KIND = REGISTRY.by_resource("placements.ironfree.dev")


def causes(**spec):
    obj = {"metadata": {"name": "p"}, "spec": {"pods": {"selector": {}}, **spec}}
    KIND.default(obj)
    return {cause.field: cause.message for cause in KIND.validate(obj)}


def test_an_objective_has_sixteen_goals_at_most():
    assert causes(objective=[{"place": "count"}] * 16) == {}
    assert "spec.objective" in causes(objective=[{"place": "count"}] * 17)
