"""Has a container's image on its host: policy, credentials, and what is said of it.

Reasons, messages and events are those of kubelet's image manager.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial

from ..drivers import PullPolicy
from ..errors import EngineRejected, ImageUnavailable
from ..images import ImageStore, LocalImage, PullProgress, RegistryCredentials
from ..objects.image_reference import ImageReference, InvalidReference, image_reference
from ..objects.pod import Container, Pod
from .image_sharing import HOSTS, ImageSharing
from .pull_pacing import Heard, PullPacer, Source
from .registry_logins import RegistryLogins, names_of
from .translation import pull_policy

Words = tuple[str, str, str]  # an event's type, reason and message

_log = logging.getLogger(__name__)
_SLOW_PULL = 1.0  # seconds after which a pull is worth an event of its own
_TELL_AGAIN = 30.0  # seconds after which how far it is is told; the next times take twice as long
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """The image that a container is about to be made of.

    Args:
        tell: records an event of the container.
    """

    node: str
    images: ImageStore
    pod: Pod
    container: Container
    tell: Callable[[Words], None]

    def warn(self, reason: str, message: str) -> None:
        """Record a Warning."""
        self.tell(("Warning", reason, message))


@dataclass(frozen=True, slots=True)
class ImageProblem:
    """Why there is no image; the reason is that of the container's waiting state."""

    reason: str
    message: str


class ImagePuller:
    """One per leader.

    Args:
        logins: the credentials of pods and the service's own.
        pacer: says when which host pulls what.
        within: seconds that one pull may take.
        sharing: copies images that cannot be pulled from host to host; None: that is not wanted.
    """

    def __init__(
        self,
        logins: RegistryLogins,
        pacer: PullPacer,
        within: float,
        sharing: ImageSharing | None = None,
    ) -> None:
        self._logins = logins
        self._pacer = pacer
        self._within = within
        self._sharing = sharing

    async def ensure(self, request: ImageRequest) -> ImageProblem | None:
        """Have the image on the host by the container's policy, or say why it cannot be had.

        Raises:
            HostUnreachable: the outcome is unknown.
        """
        problem = await self._ensure(request)
        if problem is not None:
            request.warn("Failed", f"Error: {problem.reason}")
        return problem

    async def _ensure(self, request: ImageRequest) -> ImageProblem | None:
        image, policy = request.container.image, pull_policy(request.container)
        reference = image_reference(image)
        if isinstance(reference, InvalidReference):
            text = f'Failed to apply default image tag "{image}": '
            text += f'couldn\'t parse image name "{image}": {reference.why}'
            request.warn("InspectFailed", text)
            return ImageProblem("InvalidImageName", text)
        try:
            present = await request.images.find(image)
        except EngineRejected as error:
            text = f'Failed to inspect image "{image}": {error}'
            request.warn("InspectFailed", text)
            return ImageProblem("ImageInspectError", text)
        if present is not None and policy is not PullPolicy.ALWAYS:
            text = f'Container image "{image}" already present on machine'
            request.tell(("Normal", "Pulled", text))
            return None
        if policy is PullPolicy.NEVER:
            if await self._share(request, reference):
                return None
            text = f'Container image "{image}" is not present with pull policy of Never'
            request.warn("ErrImageNeverPull", text)
            return ImageProblem("ErrImageNeverPull", text)
        return await self._pull(request, reference, present)

    async def _pull(
        self, request: ImageRequest, reference: ImageReference, before: LocalImage | None
    ) -> ImageProblem | None:
        image = request.container.image
        loop = asyncio.get_running_loop()
        begun = loop.time()
        failures: list[str] = []
        with _told(request) as heard:
            for credentials in await self._credentials(request, reference) or (None,):
                source = Source(str(reference), reference.registry, credentials)
                run = partial(self._run, request, credentials)
                try:
                    took = await self._pacer.pull(request.node, source, run, heard)
                    found = await self._found(request, reference, before)
                except (ImageUnavailable, EngineRejected) as error:
                    failures.append(str(error))
                    continue
                text = f'Successfully pulled image "{image}" in {took:.1f}s '
                text += f"({loop.time() - begun:.1f}s including waiting). "
                request.tell(("Normal", "Pulled", f"{text}Image size: {found.size} bytes."))
                return None
        if before is None and await self._share(request, reference):
            return None
        why = failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]"
        request.warn("Failed", f'Failed to pull image "{image}": {why}')
        return ImageProblem("ErrImagePull", why)

    async def _share(self, request: ImageRequest, reference: ImageReference) -> bool:
        """Have an image of another host; returns whether that was possible."""
        sharing = self._sharing
        if sharing is None or reference.digest:  # an archive does not say of which digest it was
            return False
        source = Source(str(reference), HOSTS)
        image, node = request.container.image, request.node

        async def run(_heard: Heard) -> None:
            async with asyncio.timeout(self._within):
                await sharing.copy(node, image, request.images)

        try:
            took = await self._pacer.pull(node, source, run, lambda _: None)
            found = await request.images.find(image)
        except (ImageUnavailable, EngineRejected, TimeoutError) as error:
            _log.info("image %s comes to host %s from no other: %s", image, node, error)
            return False
        if found is None:
            return False
        await request.images.mark_pulled(found)
        text = f'Container image "{image}" copied from another host in {took:.1f}s. '
        request.tell(("Normal", "Pulled", f"{text}Image size: {found.size} bytes."))
        return True

    async def _run(
        self, request: ImageRequest, credentials: RegistryCredentials | None, heard: Heard
    ) -> None:
        image = request.container.image
        try:
            async with asyncio.timeout(self._within):
                await request.images.pull(image, credentials, heard)
        except TimeoutError as error:
            raise ImageUnavailable(
                f"pulling {image} on {request.node} took more than {self._within:g} s"
            ) from error

    async def _found(
        self, request: ImageRequest, reference: ImageReference, before: LocalImage | None
    ) -> LocalImage:
        """Return the image, marked as pulled unless it was there, by this or another name."""
        image = request.container.image
        found = await request.images.find(image)
        if found is None:
            raise ImageUnavailable(f"host {request.node} pulled {image} but does not show it")
        tags = (name for name in found.names if "@" not in name)
        alone = all(str(image_reference(tag)) == str(reference) for tag in tags)
        if alone and (before is None or before.id != found.id):
            await request.images.mark_pulled(found)
        return found

    async def _credentials(
        self, request: ImageRequest, reference: ImageReference
    ) -> tuple[RegistryCredentials, ...]:
        """Return what to try, in order: the pod's, then the service's own."""
        pod = request.pod
        namespace = pod.meta.namespace
        names = names_of(pod.spec.image_pull_secrets)
        if not pod.spec.image_pull_secrets:  # else its service account's (admission plugin)
            account = pod.spec.service_account_name or "default"
            names = await self._logins.of_account(namespace, account)
        found, missing = await self._logins.for_pull(namespace, names, reference)
        if missing:
            text = f"Unable to retrieve some image pull secrets ({', '.join(missing)}); "
            text += "attempting to pull the image may not succeed."
            request.warn("FailedToRetrieveImagePullSecret", text)
        return found


@contextlib.contextmanager
def _told(request: ImageRequest) -> Generator[Heard]:
    """Record that an image is being pulled, unless it is there at once; later on how far it is."""
    loop = asyncio.get_running_loop()
    far: list[PullProgress] = [PullProgress()]
    timers: list[asyncio.TimerHandle] = []

    def tell(again: float) -> None:
        text = f'Pulling image "{request.container.image}"{_how_far(far[0])}'
        request.tell(("Normal", "Pulling", text))
        timers[:] = [loop.call_later(again, tell, again * 2)]

    def heard(progress: PullProgress) -> None:
        far[0] = progress

    timers.append(loop.call_later(_SLOW_PULL, tell, _TELL_AGAIN))
    try:
        yield heard
    finally:
        timers[0].cancel()


def _how_far(progress: PullProgress) -> str:
    if not progress.layers:
        return ""
    there, size = progress.bytes_done // _MIB, progress.bytes // _MIB
    return f": {progress.layers_done} of {progress.layers} layers, {there} of {size} MiB"
