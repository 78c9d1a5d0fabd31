"""What happens before a DockerHost goes: its containers first, then its Node and pods, then itself.

A finalizer keeps a deleted DockerHost until nothing of this installation runs on its engine. Pods
are removed, and so get replaced elsewhere, only after that: none runs twice.
"""

import asyncio

from msgspec.structs import replace

from ..drivers import EngineState, Host, PodObservation
from ..errors import Conflict, HostUnreachable, NotFound
from ..objects.node import node_view, with_unschedulable
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Remove, Replace
from .assigned_pod import BY_NODE
from .docker_host import FINALIZER, RESOURCE, DockerHost
from .heartbeat import lease_key
from .office import Office

_RACES = 8
_AT_ONCE = 16  # pods being removed
_LONGEST_GRACE = 30  # seconds


def blocked(name: str, why: str) -> str:
    """Return what a DockerHost says that cannot be emptied."""
    return (
        f"{why}. The host is being deleted, but its containers may still run: mend the host and "
        "they will be removed, or give them up with: kubectl patch dockerhost "
        f'{name} --type=merge -p \'{{"metadata":{{"finalizers":null}}}}\''
    )


async def hold(office: Office, host: DockerHost) -> StoredObject | None:
    """Put the finalizer on a DockerHost.

    Returns:
        What it is then, None when it is gone or being deleted.
    """
    stored: StoredObject | None = host.stored  # read again only when that is not the latest
    for _ in range(_RACES):
        if stored is None or stored.meta.uid != host.meta.uid or stored.meta.deletion_timestamp:
            return None
        if FINALIZER in stored.meta.finalizers:
            return stored
        meta = replace(stored.meta, finalizers=(*stored.meta.finalizers, FINALIZER))
        try:
            return await office.store.write(
                Replace(RESOURCE, meta, stored.body, stored.status, stored.revision, office.epoch)
            )
        except (Conflict, NotFound):
            stored = await office.store.get(ObjectKey(RESOURCE, "", host.name))
    return None


async def cordon(office: Office, name: str) -> None:
    """Let no new pod come to the node."""
    for _ in range(_RACES):
        stored = await office.store.get(ObjectKey("nodes", "", name))
        if stored is None:
            return
        if node_view(stored).spec.unschedulable:
            return
        changed = with_unschedulable(stored.body, True)
        try:
            await office.store.write(
                Replace("nodes", stored.meta, changed, stored.status, stored.revision, office.epoch)
            )
        except (Conflict, NotFound):
            continue
        return


async def empty(office: Office, name: str, host: Host) -> None:
    """Stop and remove every pod on the host.

    Two looks in a row must find nothing: a create that a cut-off session has sent may come late.

    Raises:
        DriverError: something may still run.
    """
    settings = office.settings
    pods = office.pods.by_index(BY_NODE, name)
    graces = {p.meta.uid: p.spec.termination_grace_period_seconds for p in pods}
    room = asyncio.Semaphore(_AT_ONCE)

    async def remove(pod: PodObservation) -> None:
        async with room:
            await _remove(host, pod, min(graces.get(pod.identity.uid, 0), _LONGEST_GRACE))

    nothing = 0
    while nothing < 2:
        try:
            async with asyncio.timeout(settings.list_timeout):
                found = await host.observe()
        except TimeoutError as error:
            raise HostUnreachable(f"host {name} did not list its containers in time") from error
        nothing = 0 if found else nothing + 1
        async with asyncio.TaskGroup() as group:
            for pod in found:
                group.create_task(remove(pod))
        await asyncio.sleep(settings.settle)


async def _remove(host: Host, pod: PodObservation, grace: int) -> None:
    if grace > 0:
        async with asyncio.TaskGroup() as group:
            for container in pod.containers:
                if container.state is EngineState.RUNNING:
                    group.create_task(host.stop_container(container.id, grace))
    await host.remove_pod(pod.identity.uid)


async def unregister(office: Office, name: str) -> None:
    """Remove the Node and heartbeat of a host that is not there any more."""
    for key in (ObjectKey("nodes", "", name), lease_key(name)):
        try:
            await office.store.write(Remove(key, epoch=office.epoch))
        except NotFound:
            continue


async def forget_pods(office: Office, name: str) -> None:
    """Remove the pods of a host that was emptied, so that they are replaced at once.

    Those with finalizers are left to the collector of pods without a node.
    """
    writes = [
        Remove(
            ObjectKey("pods", pod.meta.namespace, pod.meta.name), pod.meta.uid, epoch=office.epoch
        )
        for pod in office.pods.by_index(BY_NODE, name)
        if not pod.meta.finalizers
    ]
    for outcome in await office.store.write_many(writes):
        if isinstance(outcome, Exception) and not isinstance(outcome, NotFound | Conflict):
            raise outcome


async def let_go(office: Office, host: DockerHost) -> None:
    """Take the finalizer off; the DockerHost goes with its last one."""
    key = ObjectKey(RESOURCE, "", host.name)
    for _ in range(_RACES):
        stored = await office.store.get(key)
        if stored is None or stored.meta.uid != host.meta.uid:
            return
        left = tuple(f for f in stored.meta.finalizers if f != FINALIZER)
        meta = replace(stored.meta, finalizers=left)
        write: Remove | Replace = Remove(key, stored.meta.uid, stored.revision, office.epoch)
        if left:
            write = Replace(
                RESOURCE, meta, stored.body, stored.status, stored.revision, office.epoch
            )
        try:
            await office.store.write(write)
        except Conflict:
            continue
        except NotFound:
            return
        return
    raise Conflict(f'dockerhosts.ironfree.dev "{host.name}" keeps changing')
