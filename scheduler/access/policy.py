"""The roles and bindings of the cluster as they are now, found by whom they bear on."""

import asyncio
import logging
from collections.abc import Collection, Sequence

from ..errors import Unavailable
from ..informer import Informer
from ..objects.role import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Role,
    RoleBinding,
    binding_view,
    role_view,
)
from ..store.store import Store
from .rbac import subject_key

_SUBJECT = "subject"
_log = logging.getLogger(__name__)


class Policy:
    """Holds every role and binding; changes count within moments, as in Kubernetes.

    Once they are followed no more, nothing is decided: a right that was taken would be had still.
    """

    def __init__(self, store: Store) -> None:
        self._ended = False
        index = {_SUBJECT: _subjects}
        self._roles = Informer(store, ROLES, role_view)
        self._cluster_roles = Informer(store, CLUSTER_ROLES, role_view)
        self._bindings = Informer(store, ROLE_BINDINGS, binding_view, index)
        self._cluster_bindings = Informer(store, CLUSTER_ROLE_BINDINGS, binding_view, index)
        self._informers: dict[str, Informer[Role] | Informer[RoleBinding]] = {
            ROLES: self._roles,
            CLUSTER_ROLES: self._cluster_roles,
            ROLE_BINDINGS: self._bindings,
            CLUSTER_ROLE_BINDINGS: self._cluster_bindings,
        }

    async def run(self) -> None:
        """Keep current until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for informer in self._informers.values():
                    group.create_task(informer.run())
        except Exception:
            _log.exception("roles and their bindings are followed no more")
            raise
        finally:
            self._ended = True

    async def synced(self) -> None:
        """Wait until everything has been seen once; nothing may be decided before.

        Raises:
            Unavailable: it is not kept current.
        """
        if self._ended:
            raise Unavailable(
                "rights cannot be decided: roles are followed no more; the service's log says why, "
                "and a restart helps"
            )
        for informer in self._informers.values():
            await informer.synced()

    async def reached(self, resource: str, revision: int) -> None:
        """Wait until what was written at that revision counts, if it is a role or a binding."""
        informer = self._informers.get(resource)
        if informer is not None:
            await informer.reached(revision)

    def bindings(self, namespace: str, subject: str) -> Collection[RoleBinding]:
        """Return a namespace's bindings ("": of the cluster) for a subject by its key."""
        informer = self._bindings if namespace else self._cluster_bindings
        return informer.by_index(_SUBJECT, _place(namespace, subject))

    def role(self, namespace: str, name: str) -> Role | None:
        """Return a Role, or with namespace "" a ClusterRole."""
        informer = self._roles if namespace else self._cluster_roles
        return informer.get(namespace, name)


def _subjects(binding: RoleBinding) -> Sequence[str]:
    namespace = binding.meta.namespace
    keys = (subject_key(each, namespace) for each in binding.subjects)
    return [_place(namespace, key) for key in keys if key]


def _place(namespace: str, subject: str) -> str:
    return f"{namespace} {subject}"
