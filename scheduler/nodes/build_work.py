"""One build from its source to the hosts that shall have the image."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import msgspec
from msgspec.structs import replace

from ..drivers import Host
from ..errors import DriverError, EngineRejected, ImageUnavailable, SourceUnavailable
from ..images import BuildOrder, ImageBuilder, ImageStore, RegistryCredentials
from ..objects.image_build import MOST_TOLD, Distribution, ImageBuild, Phase
from ..objects.image_reference import ImageReference, image_reference
from ..objects.json import Json
from ..objects.meta import now_seconds
from ..objects.pod import Pod
from ..objects.selectors import from_label_selector
from ..objects.stored import ObjectKey, StoredObject
from .build_report import BuildReport
from .build_sources import BuildSources
from .environment import secrets_in_arguments
from .image_sharing import HOSTS, architecture, copy_image
from .pull_pacing import Heard, PullPacer, Source
from .registry_logins import RegistryLogins, names_of

_COPIES = 4  # that one build makes at once
_ENDED = {
    Phase.BUILDING: "BuildFailed",
    Phase.PUSHING: "PushFailed",
    Phase.DISTRIBUTING: "DistributionFailed",
}


@dataclass(frozen=True, slots=True)
class BuildTools:
    """What all builds of one leader share.

    Args:
        nodes: returns the Nodes there are.
        host: finds the open connection of a node.
        pod: finds a pod by namespace and name.
        within: seconds that one copy, and a commit, may take.
    """

    sources: BuildSources
    logins: RegistryLogins
    pacer: PullPacer
    nodes: Callable[[], Mapping[ObjectKey, StoredObject]]
    host: Callable[[str], Host | None]
    pod: Callable[[str, str], Pod | None]
    within: float


class BuildWork:
    """One attempt at a build, on one host."""

    def __init__(self, tools: BuildTools, build: ImageBuild, report: BuildReport) -> None:
        self._tools = tools
        self._build = build
        self._report = report

    async def run(self, node: str, images: ImageBuilder) -> None:
        """Build, push and distribute; what the engine or a registry refuses is told in the status.

        Raises:
            HostUnreachable: the outcome is unknown.
            SourceUnavailable: there is nothing to build of.
        """
        report, spec = self._report, self._build.spec
        try:
            await self._make(images)
            found = await images.find(spec.image)
            if found is None:
                raise ImageUnavailable(f"host {node} does not show {spec.image}")
            made = replace(report.status, image_id=found.id, size_bytes=found.size)
            if spec.push is not None:
                await report.write(replace(made, phase=Phase.PUSHING))
                made = replace(made, digest=await self._push(images, spec.push.secret_name))
            if spec.distribute_to is not None:
                await report.write(replace(made, phase=Phase.DISTRIBUTING))
                made = replace(made, distribution=await self._distribute(node, images))
        except (EngineRejected, ImageUnavailable) as error:
            await report.fail(_ENDED[Phase(report.status.phase)], str(error))
            return
        if made.distribution is not None and made.distribution.failed:
            await report.write(made)
            await report.fail("DistributionFailed", made.distribution.failed[0])
            return
        ended = {"phase": Phase.SUCCEEDED, "completion_time": now_seconds()}
        await report.write(replace(made, message="", **ended))

    async def _make(self, images: ImageBuilder) -> None:
        spec, report = self._build.spec, self._report
        if spec.commit is not None:
            pod, container = self._container()
            image, pause = spec.image, spec.commit.pause
            within = self._tools.within
            await images.commit(pod.meta.uid, container, image, pause=pause, within=within)
            return
        credentials = await self._base_credentials()
        async with self._tools.sources.open(self._build, report.line) as context:
            order = BuildOrder(
                spec.image,
                context.dockerfile,
                tuple(sorted(spec.build_args.items())),
                spec.target,
                credentials,
            )
            await images.build(order, context.archive, report.line)

    def _container(self) -> tuple[Pod, str]:
        """Return the pod of a commit and its container's id."""
        commit = self._build.spec.commit
        assert commit is not None
        pod = self._tools.pod(self._build.meta.namespace, commit.pod)
        if pod is None:
            raise SourceUnavailable("PodNotFound", f'pod "{commit.pod}" not found')
        names = [each.name for each in pod.spec.containers]
        name = commit.container or (names[0] if len(names) == 1 else "")
        if not name:
            why = f'pod "{commit.pod}" has containers {", ".join(names)}: name one'
            raise SourceUnavailable("ContainerNotFound", why)
        secrets = [
            variable
            for each in pod.spec.containers
            if each.name == name
            for variable in secrets_in_arguments(each)
        ]
        if secrets:
            shown = ", ".join(f"$({variable})" for variable in secrets)
            why = (
                f'container "{name}" has values of Secrets in its args ({shown}), which the '
                "history of the image would show; have it read them as variables or files"
            )
            raise SourceUnavailable("SecretInArguments", why)
        for status in pod.status.container_statuses:
            if status.name == name and status.container_id:
                return pod, status.container_id.rpartition("/")[2]
        why = f'pod "{commit.pod}" has no running container "{name}"'
        raise SourceUnavailable("ContainerNotFound", why)

    async def _base_credentials(self) -> tuple[RegistryCredentials, ...]:
        names = names_of(self._build.spec.image_pull_secrets)
        keyring, missing = await self._tools.logins.keyring(self._build.meta.namespace, names)
        if missing:
            why = f"no credentials in secrets {', '.join(missing)} of spec.imagePullSecrets"
            raise SourceUnavailable("SecretNotFound", why)
        return keyring.all()

    async def _push(self, images: ImageBuilder, secret: str) -> str:
        """Push as the first login that the registry takes; returns the digest."""
        namespace, image = self._build.meta.namespace, self._build.spec.image
        keyring, missing = await self._tools.logins.keyring(namespace, [secret] if secret else [])
        if missing:
            why = f'secret "{secret}" of spec.push has no credentials, or is not there'
            raise SourceUnavailable("SecretNotFound", why)
        reference = image_reference(image)
        assert isinstance(reference, ImageReference)  # the API has seen to it
        found = keyring.lookup(reference.repository)
        if secret and not found:
            why = f'secret "{secret}" of spec.push has no credentials for {reference.registry}'
            raise SourceUnavailable("InvalidSecret", why)
        for credentials in found[:-1]:
            try:
                return await images.push(image, credentials)
            except ImageUnavailable as error:
                self._report.line(str(error))
        return await images.push(image, found[-1] if found else None)

    # --- copies on other hosts ----------------------------------------------------------------

    async def _distribute(self, node: str, images: ImageStore) -> Distribution:
        """Copy the image to every host that is asked for and answers."""
        targets, skipped = self._targets(node)
        places = asyncio.Semaphore(_COPIES)

        async def copy(target: str, host: Host) -> str:
            async with places:
                return await self._copy(images, target, host.images)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(copy(name, host)) for name, host in targets.items()]
        failed = [why for task in tasks if (why := task.result())]
        for why in (*skipped, *failed):
            self._report.line(why)
        return Distribution(
            hosts=len(targets) + len(skipped),
            copied=len(targets) - len(failed),
            skipped=tuple(skipped[:MOST_TOLD]),
            failed=tuple(failed[:MOST_TOLD]),
        )

    def _targets(self, node: str) -> tuple[dict[str, Host], list[str]]:
        """Return the hosts to copy to, and why others are left out."""
        wanted = self._build.spec.distribute_to
        selector = from_label_selector(cast(Json, msgspec.to_builtins(wanted)))
        nodes = self._tools.nodes()
        here = nodes.get(ObjectKey("nodes", "", node))
        processor = architecture(here) if here is not None else ""
        targets: dict[str, Host] = {}
        skipped: list[str] = []
        for each in sorted(nodes.values(), key=lambda each: each.meta.name):
            name = each.meta.name
            if name == node or not selector.matches(each.meta.labels):
                continue
            host = self._tools.host(name)
            if architecture(each) != processor:
                skipped.append(f"{name}: its architecture is {architecture(each) or 'not known'}")
            elif host is None:
                skipped.append(f"{name}: it does not answer")
            else:
                targets[name] = host
        return targets, skipped

    async def _copy(self, source: ImageStore, node: str, target: ImageStore) -> str:
        """Have the image on a host; returns why it is not there, "" when it is."""
        image, tools = self._build.spec.image, self._tools

        async def run(_heard: Heard) -> None:
            async with asyncio.timeout(tools.within):
                await copy_image(source, target, image)

        # nothing is shared with pods' copies, which may be of what the name stood for before
        made = self._report.status.image_id
        what = Source(f"{image_reference(image)} {made} {node}", HOSTS)
        try:
            found = await target.find(image)
            if found is None or found.id != self._report.status.image_id:
                await tools.pacer.pull(node, what, run, lambda _: None)
        except DriverError as error:
            return f"{node}: {error}"[:300]
        except TimeoutError:
            return f"{node}: copying took more than {tools.within:g} s"
        self._report.line(f"copied to host {node}")
        return ""
