"""What a pod spec may not say."""

import pytest

from scheduler.objects.kinds import REGISTRY

POD = REGISTRY.by_resource("pods")
MAIN = {"name": "c", "image": "i:1"}


def causes(*containers, **spec):
    """Return field and message of every cause, of a pod with containers like MAIN."""
    made = [{**MAIN, **each} for each in containers or [{}]]
    obj = {"metadata": {"name": "p"}, "spec": {"containers": made, **spec}}
    POD.default(obj)
    return [(cause.field, cause.message) for cause in POD.validate(obj)]


def mounting(**mount):
    return {"volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]}


HOST = [{"name": "v", "hostPath": {"path": "/srv"}}]


@pytest.mark.parametrize("part", [{"subPath": "x"}, {"subPathExpr": "$(X)"}])
def test_a_part_of_a_path_of_the_host_does_not_propagate(part):
    propagating = {"mountPropagation": "HostToContainer"}
    assert causes(mounting(**propagating), volumes=HOST) == []
    assert causes(mounting(**part), volumes=HOST) == []
    ((field, message),) = causes(mounting(**propagating, **part), volumes=HOST)
    assert field == "spec.containers[0].volumeMounts[0].mountPropagation"
    assert "only whole mounts of hostPath volumes" in message


@pytest.mark.parametrize("field", ["subPath", "subPathExpr"])
def test_an_ephemeral_container_mounts_whole_volumes(field):
    debugger = {"name": "d", "image": "i:1", **mounting(**{field: "x"})}
    assert causes(ephemeralContainers=[debugger], volumes=HOST) == [
        (
            f"spec.ephemeralContainers[0].volumeMounts[0].{field}",
            "Forbidden: cannot be set for an Ephemeral Container",
        )
    ]


@pytest.mark.parametrize("user", [{"runAsUser": 1000}, {}])
def test_a_pods_group_goes_with_each_containers_user(user):
    assert causes({"securityContext": user}, securityContext={"runAsGroup": 3000}) == []


def test_where_volumes_are_mounted():
    assert causes(mounting(mountPath="data"), volumes=HOST) == []
    where = "spec.containers[0].volumeMounts[0].mountPath"
    why = "Invalid value: \"/a:b\": must not contain ':'"
    assert causes(mounting(mountPath="/a:b"), volumes=HOST) == [(where, why)]


@pytest.mark.parametrize(("prefix", "fine"), [("1 a-", True), ("a=", False), ("é", False)])
def test_a_prefix_makes_names_of_variables(prefix, fine):
    source = {"prefix": prefix, "configMapRef": {"name": "m"}}
    found = [field for field, _ in causes({"envFrom": [source]})]
    assert found == ([] if fine else ["spec.containers[0].envFrom[0].prefix"])


def projecting(**token):
    return [{"name": "v", "projected": {"sources": [{"serviceAccountToken": token}]}}]


@pytest.mark.parametrize(
    ("token", "field", "message"),
    [
        ({}, "path", "Required value"),
        ({"path": "/a"}, "path", "must be a relative path"),
        ({"path": "../a"}, "path", "must not contain '..'"),
        ({"path": "a", "expirationSeconds": 599}, "expirationSeconds", "less than 10 minutes"),
        ({"path": "a", "expirationSeconds": 0}, "expirationSeconds", "less than 10 minutes"),
        (
            {"path": "a", "expirationSeconds": (1 << 32) + 1},
            "expirationSeconds",
            "larger than 2^32 seconds",
        ),
        ({"path": "a", "user": 5}, "user", "runAsUser"),
    ],
)
def test_a_token_in_a_volume(token, field, message):
    ((where, said),) = causes(volumes=projecting(**token))
    assert where == f"spec.volumes[0].projected.sources[0].serviceAccountToken.{field}"
    assert message in said


@pytest.mark.parametrize("seconds", [None, 600, 1 << 32])
def test_a_token_lives_an_hour_if_nothing_is_said(seconds):
    volumes = projecting(path="a/token", expirationSeconds=seconds)
    assert causes(volumes=volumes) == []
    (source,) = volumes[0]["projected"]["sources"]
    assert source["serviceAccountToken"]["expirationSeconds"] == (seconds or 3600)
