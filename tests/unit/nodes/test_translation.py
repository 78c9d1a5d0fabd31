"""From pods to driver specs."""

import pytest

from scheduler.drivers import PortMapping, PullPolicy
from scheduler.nodes.api_access import VOLUME, with_access
from scheduler.nodes.pod_case import spec_hash
from scheduler.nodes.translation import (
    before_claims,
    container_spec,
    part_problem,
    pull_policy,
    sandbox_spec,
)
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import (
    Container,
    ContainerPort,
    EmptyDirVolumeSource,
    HostAlias,
    Pod,
    PodSpec,
    PodStatus,
    ResourceRequirements,
    Volume,
    VolumeMount,
)
from scheduler.objects.security import DNSConfig, PodSecurityContext
from scheduler.objects.volumes import ClaimSource, HostPathSource
from scheduler.volumes import EmptyDir, HostPathVolume


def pod(**spec):
    meta = ObjectMeta(name="web-" + "x" * 80, namespace="shop", uid="u-1")
    return Pod(meta, PodSpec(**spec), PodStatus(), "h1", 1, b"")


def test_a_sandbox_has_what_its_containers_share():
    ports = (ContainerPort(80, 8080), ContainerPort(53, 5353, "UDP", "192.0.2.1"), ContainerPort(1))
    found = sandbox_spec(
        pod(
            containers=(Container("c", ports=ports),),
            volumes=(
                Volume("scratch", EmptyDirVolumeSource("Memory", "64Mi")),
                Volume("disk", EmptyDirVolumeSource()),
            ),
            host_aliases=(HostAlias("192.0.2.9", ("db", "cache")),),
        ),
        attempt=2,
        epoch=7,
    )
    assert found.ports == (PortMapping(80, 8080), PortMapping(53, 5353, "UDP", "192.0.2.1"))
    assert found.volumes == (EmptyDir("scratch", "Memory", 64 << 20), EmptyDir("disk"))
    assert found.host_aliases == (("db", "192.0.2.9"), ("cache", "192.0.2.9"))
    assert len(found.hostname) <= 63
    assert (found.attempt, found.identity.epoch, found.identity.uid) == (2, 7, "u-1")


def test_a_pods_name_and_domain():
    named = {"hostname": "db", "subdomain": "shop"}
    found = sandbox_spec(pod(**named), 0, 1)
    assert (found.hostname, found.domain) == ("db", "shop.shop.svc.cluster.local")
    found = sandbox_spec(pod(set_hostname_as_fqdn=True, **named), 0, 1)
    assert (found.hostname, found.domain) == ("db.shop.shop.svc.cluster.local", "")
    found = sandbox_spec(pod(set_hostname_as_fqdn=True, hostname="db"), 0, 1)
    assert (found.hostname, found.domain) == ("db", "")


@pytest.mark.parametrize(
    ("policy", "searches", "told"),
    [
        ("None", (), (".",)),
        ("None", ("a.example",), ("a.example",)),
        ("Default", (), ()),
        ("ClusterFirst", ("a.example",), ("a.example",)),
    ],
)
def test_without_a_policy_no_domain_of_the_host_is_searched(policy, searches, told):
    config = DNSConfig(nameservers=("192.0.2.53",), searches=searches)
    found = sandbox_spec(pod(dns_policy=policy, dns_config=config), 0, 1)
    assert (found.dns_servers, found.dns_searches) == (("192.0.2.53",), told)


@pytest.mark.parametrize("claim", [None, ClaimSource("data")])
@pytest.mark.parametrize("part", [{"sub_path": "db"}, {"sub_path_expr": "$(X)"}, {}])
@pytest.mark.parametrize("kind", ["Directory", "", "DirectoryOrCreate"])
def test_a_directory_of_the_host_that_is_seen_in_parts_is_in_the_sandbox(claim, part, kind):
    path = HostPathSource("/srv/data", kind)
    container = Container("c", volume_mounts=(VolumeMount("v", "/d", **part),))
    volumes = (Volume("v", host_path=path, persistent_volume_claim=claim),)
    context = PodSecurityContext(fs_group=2000)
    found = pod(containers=(container,), volumes=volumes, security_context=context)
    made = HostPathVolume("v", "/srv/data", create=kind != "Directory")
    assert sandbox_spec(found, 0, 1).volumes == ((made,) if part else ())
    (mount,) = container_spec(found.spec, container, 0, 0, (("X", "db"),)).mounts
    assert (mount.host_path, mount.sub_path) == ("/srv/data", "db" if part else "")
    assert mount.group == (2000 if claim else 0), "the fsGroup has nothing of the host"


def test_volumes_of_a_sandbox_keep_the_places_they_had_in_earlier_versions():
    part = VolumeMount("plain", "/p", sub_path="x"), VolumeMount("claimed", "/c", sub_path="x")
    there = HostPathSource("/srv")
    volumes = (
        Volume("plain", host_path=there),
        Volume("claimed", host_path=there, persistent_volume_claim=ClaimSource("data")),
        Volume("disk", EmptyDirVolumeSource()),
    )
    found = pod(containers=(Container("c", volume_mounts=part),), volumes=volumes)
    assert [v.name for v in sandbox_spec(found, 0, 1).volumes] == ["claimed", "disk", "plain"]


def test_places_before_those_of_claims_are_certain():
    part = VolumeMount("path", "/p", sub_path="x")
    disk = EmptyDirVolumeSource()
    volumes = (
        Volume("path", host_path=HostPathSource("/srv")),
        Volume("first", disk),
        Volume("claimed", persistent_volume_claim=ClaimSource("data")),
        Volume("later", disk),
    )
    found = with_access(pod(containers=(Container("c", volume_mounts=(part,)),), volumes=volumes))
    certain = [each.name for each in sandbox_spec(before_claims(found), 0, 1).volumes]
    assert certain == [VOLUME.name, "first", "path"]


def test_a_part_must_be_known():
    mounts = (VolumeMount("v", "/d", sub_path_expr="$$(A)/$(B)/$(C)"),)
    container = Container("c", volume_mounts=mounts)
    assert part_problem(container, (("B", ""), ("C", "x"))) == ""
    assert "names C, which" in part_problem(container, (("B", ""),))


def test_where_containers_leave_messages():
    spec = PodSpec(
        init_containers=(Container("i"),),
        containers=(Container("a"), Container("b", termination_message_path="/end")),
    )
    found = [container_spec(spec, c, 0, 0, ()) for c in (*spec.init_containers, *spec.containers)]
    assert [(f.position, f.message_path) for f in found] == [(0, ""), (1, ""), (2, "/end")]


def test_the_hosts_network_needs_no_published_ports():
    found = sandbox_spec(
        pod(containers=(Container("c", ports=(ContainerPort(80, 80),)),), host_network=True), 0, 1
    )
    assert found.host_network
    assert found.ports == ()


def test_a_container_gets_its_limits_and_expanded_words():
    container = Container(
        "c",
        "img:1",
        command=("run", "$(WORD)"),
        args=("$(NONE)",),
        resources=ResourceRequirements(limits={"cpu": "1500m", "memory": "1Gi"}),
        volume_mounts=(
            VolumeMount("disk", "/data", read_only=True),
            VolumeMount("disk", "more/data"),
        ),
    )
    found = container_spec(PodSpec(), container, 3, 1, (("WORD", "hush"),))
    assert found.command == ("run", "hush")
    assert found.args == ("$(NONE)",)
    assert (found.cpu_request, found.cpu_limit, found.memory_limit) == (1500, 1500, 1 << 30)
    assert [mount.path for mount in found.mounts] == ["/data", "/more/data"]
    assert found.mounts[0].read_only
    assert found.spec_hash == spec_hash(container, 1)
    assert container_spec(PodSpec(), Container("c"), 0, 0, ()).command is None


def test_the_hash_tells_images_and_sandboxes_apart_and_nothing_else():
    base = Container("c", "img:1")
    assert spec_hash(base, 0) == spec_hash(Container("c", "img:1", args=("x",)), 0)
    assert len({spec_hash(base, 0), spec_hash(base, 1), spec_hash(Container("c", "img:2"), 0)}) == 3


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("web", PullPolicy.ALWAYS),
        ("web:latest", PullPolicy.ALWAYS),
        ("web:1", PullPolicy.IF_NOT_PRESENT),
        ("registry:5000/web", PullPolicy.ALWAYS),
        ("web@sha256:00", PullPolicy.IF_NOT_PRESENT),
    ],
)
def test_images_are_pulled_by_kubernetes_defaults(image, policy):
    assert pull_policy(Container("c", image)) is policy
    never = Container("c", image, image_pull_policy="Never")
    assert pull_policy(never) is PullPolicy.NEVER
