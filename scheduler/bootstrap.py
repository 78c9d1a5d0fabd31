"""What every cluster has from its beginning: namespaces, classes, roles, and the API's Service."""

import asyncio
import logging
import uuid
from collections.abc import Iterator

import msgspec

from .access import DEFAULT_ROLES
from .errors import AlreadyExists, Conflict, NotFound, Unavailable
from .objects.json import JsonObject
from .objects.kinds import REGISTRY
from .objects.kinds.priority_class import SYSTEM_CLASSES
from .objects.meta import now_seconds
from .objects.pod_class import SERVICES
from .objects.service import service_view
from .objects.storage import DEFAULT_CLASS, PROVISIONER
from .objects.stored import ObjectKey
from .objects.wire import decompose
from .store.operations import Create, Remove
from .store.store import Store

logger = logging.getLogger(__name__)

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
API_PORT = 443
_API_SERVICE = ObjectKey(SERVICES, "default", "kubernetes")
_OURS = {"component": "apiserver", "provider": "kubernetes"}
_PAUSE = 1.0  # seconds before asking an absent database again


async def bootstrap(store: Store, api_address: str) -> None:
    """Create what every cluster has; keeps what is present.

    Args:
        api_address: where pods find the API; "" where they find none.
    """
    given = [*_namespaces(), *_classes(), *DEFAULT_ROLES]
    if api_address:
        given.append(_api_service(api_address))
    while True:
        try:
            if api_address:
                await _drop_service_elsewhere(store, api_address)
            outcomes = await store.write_many([_creation(obj) for obj in given])
            break
        except Unavailable as error:
            logger.warning("%s; asking again in %g s", error, _PAUSE)
            await asyncio.sleep(_PAUSE)
    for outcome in outcomes:
        if isinstance(outcome, Exception) and not isinstance(outcome, AlreadyExists):
            raise outcome


async def _drop_service_elsewhere(store: Store, address: str) -> None:
    """Remove the API's Service if the range of Services has been another one."""
    found = await store.get(_API_SERVICE)
    if found is None or service_view(found).spec.cluster_ip == address:
        return
    if _OURS.items() - found.meta.labels.items():
        logger.warning(
            "Service default/kubernetes is somebody's own, so pods do not find the API; delete it "
            "and start the service anew"
        )
        return
    try:
        await store.write(Remove(found.key, uid=found.meta.uid))
    except (NotFound, Conflict):  # another process has done it
        return


def _namespaces() -> Iterator[JsonObject]:
    for name in NAMESPACES:
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _classes() -> Iterator[JsonObject]:
    for name, value in SYSTEM_CLASSES.items():
        yield {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": "Used for system critical pods that must not be moved.",
        }
    yield {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "docker-volume", "annotations": {DEFAULT_CLASS: "true"}},
        "provisioner": PROVISIONER,
    }


def _api_service(address: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": _API_SERVICE.name,
            "namespace": _API_SERVICE.namespace,
            "labels": {**_OURS},
        },
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "ports": [{"name": "https", "port": API_PORT, "targetPort": API_PORT}],
        },
    }


def _creation(obj: JsonObject) -> Create:
    """Return the write that creates an object of ours, defaulted as the API would."""
    kind = REGISTRY.by_gvk(str(obj["apiVersion"]), str(obj["kind"]))
    assert kind is not None
    kind.default(obj)
    if kind.has_status:
        obj["status"] = kind.initial_status(obj)
    parts = decompose(obj, kind)
    meta = msgspec.structs.replace(
        parts.meta, uid=str(uuid.uuid4()), creation_timestamp=now_seconds(), generation=1
    )
    return Create(kind.resource, meta, parts.body, parts.status)
