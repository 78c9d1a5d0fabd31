"""Carries out one instruction on a host, and says what the host has afterwards."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from msgspec.structs import replace as with_fields

from ..access import Holder
from ..drivers import (
    EngineState,
    FilesHost,
    Host,
    ImageHost,
    PodObservation,
    SandboxStatus,
)
from ..errors import EngineRejected, HostUnreachable, ImageUnavailable
from ..networks import PodNetwork
from ..objects.kinds.runtime import RESOURCE as RUNTIME_CLASSES
from ..objects.kinds.runtime import runtime_view
from ..objects.pod import Container, EphemeralContainer, Pod
from ..objects.stored import ObjectKey
from ..volumes import FilesVolume
from . import effects
from .api_access import (
    Account,
    account_key,
    has_access,
    may_have_access,
    no_account,
    with_access,
)
from .assigned_pod import AssignedPod, service_account
from .claims import ClaimProblem, News, with_claims
from .configuration import environment_sources, object_data
from .container_limits import NodeLimits, limited
from .effects import Effect
from .environment import (
    ConfigProblem,
    PodFacts,
    resolve,
)
from .health import post_start
from .hooks import LEAST_GRACE, pod_address, prepare_stop, run_hook
from .image_pulling import ImagePuller, ImageRequest, Words
from .instructions import (
    EnsureContainer,
    EnsureSandbox,
    FinishDeletion,
    Instruction,
    PullImage,
    RemoveContainer,
    RemovePod,
    RemoveSandbox,
    RunPostStart,
    StopContainer,
    StopSandbox,
    WriteVolumes,
)
from .pod_status import failed_start
from .pod_tokens import NO_TOKENS, ApiForPods, PodTokens, begun
from .registry_logins import Objects
from .security import effective, lone_group, root_problem, runs_as_non_root, with_group
from .settings import NodeSettings
from .translation import before_claims, container_spec, part_problem, sandbox_spec
from .volume_content import ACCOUNTS, files_of, sources, token_sources, written


@dataclass(frozen=True, slots=True)
class Refusal:
    """The host, or the pod's own configuration, does not allow an instruction.

    Args:
        reason: for the container's waiting state.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Subject:
    """The pod an instruction is about; assigned is None for one the store does not have."""

    uid: str
    assigned: AssignedPod | None
    observed: PodObservation | None

    @property
    def pod(self) -> Pod:
        """The pod; instructions that need it are only given when there is one."""
        assert self.assigned is not None
        return self.assigned.pod

    @property
    def sandbox(self) -> SandboxStatus | None:
        """The pod's sandbox, None when the host has none."""
        return self.observed.sandbox if self.observed else None

    def container(self, name: str) -> Container:
        """Return a container of the pod's spec."""
        spec = self.pod.spec
        every = (*spec.init_containers, *spec.containers, *spec.ephemeral_containers)
        return next(c for c in every if c.name == name)

    def target_id(self, container: Container) -> str | None:
        """Return the engine's id of the container that an ephemeral one is to look at.

        Returns:
            "" when it looks at none, None when that does not run.
        """
        if not isinstance(container, EphemeralContainer) or not container.target_container_name:
            return ""
        present = self.observed.containers if self.observed else ()
        running = (c for c in present if c.state is EngineState.RUNNING)
        return next((c.id for c in running if c.name == container.target_container_name), None)


def subject_of(uid: str, assigned: AssignedPod | None, observed: PodObservation | None) -> Subject:
    """Return the pod an instruction is about, with the volume that its sandbox has besides."""
    sandbox = observed.sandbox if observed else None
    if assigned is not None and sandbox is not None and sandbox.api_access:
        assigned = with_fields(assigned, pod=with_access(assigned.pod))
    return Subject(uid, assigned, observed)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What instructions of one host are carried out with.

    Args:
        host_ip, allocatable: of the node, for references in environments.
        limits: what the node sets for all of its containers.
        network: that the host is part of, None for none.
        links: the variables that tell a pod's containers of Services.
        api: by which pods can ask the API; None where they cannot.
        account: finds a ServiceAccount.
        puller: has images on the host.
        news: of changes of an object that is waited for.
        tell: records an event of a pod: words and container.
    """

    node: str
    host: Host
    puller: ImagePuller
    objects: Objects
    news: News
    settings: NodeSettings
    epoch: int
    host_ip: str
    allocatable: Mapping[str, str | int | float]
    limits: NodeLimits
    network: PodNetwork | None
    links: Callable[[Pod], Mapping[str, str]]
    api: ApiForPods | None
    account: Callable[[ObjectKey], Awaitable[Account | None]]
    tell: Callable[[Pod, Words, str], None]


async def carry_out(shop: Workshop, step: Instruction, subject: Subject) -> Effect | Refusal:
    """Do one instruction (never FinishDeletion: that is the store's).

    Returns:
        How what the host has of the pod has changed, or a Refusal.

    Raises:
        HostUnreachable: the outcome is unknown.
    """
    try:
        async with asyncio.timeout(_limit(shop.settings, step)):
            return await _do(shop, step, subject)
    except TimeoutError as error:
        raise HostUnreachable(
            f"{type(step).__name__} took too long; its outcome is unknown"
        ) from error
    except (EngineRejected, ImageUnavailable) as error:
        return _refused(shop, step, subject, str(error))


def _limit(settings: NodeSettings, step: Instruction) -> float | None:
    match step:
        case PullImage():
            return None  # the puller's: waiting for one's turn is no failure
        case StopContainer(_, _, grace, _):
            return grace + LEAST_GRACE + settings.remove_timeout
        case RunPostStart():
            return settings.hook_timeout + settings.remove_timeout
        case EnsureSandbox() | EnsureContainer() | WriteVolumes():
            return settings.start_timeout
        case _:
            return settings.remove_timeout


async def _do(shop: Workshop, step: Instruction, subject: Subject) -> Effect | Refusal:
    host = shop.host
    match step:
        case EnsureSandbox(attempt):
            return await _make_sandbox(shop, subject, attempt)
        case WriteVolumes():
            return await _write_volumes(shop, subject)
        case PullImage(name, _):
            return await _pull(shop, subject, subject.container(name))
        case EnsureContainer(name, attempt):
            return await _start(shop, subject, subject.container(name), attempt)
        case RunPostStart():
            return await _post_start(shop, step, subject)
        case StopContainer():
            await _stop(shop, step, subject)
            return effects.unchanged  # how it ended is for the next look to tell
        case RemoveContainer(_, container_id):
            await host.remove_container(container_id)
            return partial(effects.without_container, container_id)
        case StopSandbox(sandbox_id):
            await host.stop_container(sandbox_id, 0)
            return effects.with_sandbox_stopped
        case RemoveSandbox(sandbox_id):
            text = "Pod sandbox changed, it will be killed and re-created."
            shop.tell(subject.pod, ("Normal", "SandboxChanged", text), "")
            await host.remove_container(sandbox_id)
            return effects.without_sandbox
        case RemovePod(uid):
            await host.remove_pod(uid)
            return effects.nothing
        case FinishDeletion():
            raise AssertionError("FinishDeletion is not the host's to do")


async def _make_sandbox(shop: Workshop, subject: Subject, attempt: int) -> Effect | Refusal:
    pod = await _with_claims(shop, subject)
    if isinstance(pod, Refusal):
        return pod
    pod = await _with_access(shop, pod)
    if isinstance(pod, Refusal):
        return pod
    runtime = await _runtime(shop, pod)
    if runtime is None:
        why = f'RuntimeClass "{pod.spec.runtime_class_name}" not found'
        return _refused(shop, EnsureSandbox(attempt), subject, why)
    made = sandbox_spec(pod, attempt, shop.epoch, shop.network)
    spec = with_fields(made, runtime=runtime)
    return partial(effects.with_sandbox, spec.identity, await shop.host.ensure_sandbox(spec))


def awaited(shop: Workshop, pod: Pod) -> frozenset[ObjectKey]:
    """Return the objects that a pod's sandbox waits for."""
    offered = shop.api is not None and shop.network is not None
    if not offered or not isinstance(shop.host, FilesHost) or not may_have_access(pod.spec):
        return frozenset()
    return frozenset({account_key(pod)})


async def _with_access(shop: Workshop, pod: Pod) -> Pod | Refusal:
    """Return the pod with what its containers ask the API with, if they are to have it."""
    for key in awaited(shop, pod):
        account = await shop.account(key)
        if account is None:
            missing = no_account(pod).message
            text = f"{missing}; make it, or have the pod set automountServiceAccountToken: false"
            shop.tell(pod, ("Warning", "FailedMount", f"MountVolume.SetUp failed: {text}"), "")
            return Refusal("FailedMount", text)
        if has_access(pod.spec, account):
            return with_access(pod)
    return pod


async def _runtime(shop: Workshop, pod: Pod) -> str | None:
    """Return the engine's name of a pod's runtime, "" for its default; None without its class."""
    name = pod.spec.runtime_class_name
    if not name:
        return ""
    found = await shop.objects.get(ObjectKey(RUNTIME_CLASSES, "", name))
    return None if found is None else runtime_view(found).handler


# --- pulling and starting -------------------------------------------------------------------


async def _pull(shop: Workshop, subject: Subject, container: Container) -> Effect | Refusal:
    pod = subject.pod
    tell = partial(_tell, shop, pod, container.name)
    request = ImageRequest(shop.node, shop.host.images, pod, container, tell)
    problem = await shop.puller.ensure(request)
    return effects.unchanged if problem is None else Refusal(problem.reason, problem.message)


def _tell(shop: Workshop, pod: Pod, container: str, words: Words) -> None:
    shop.tell(pod, words, container)


async def _start(
    shop: Workshop, subject: Subject, container: Container, attempt: int
) -> Effect | Refusal:
    sandbox = subject.sandbox
    if sandbox is None:
        raise HostUnreachable("the sandbox is gone; look again")
    env = await _environment(shop, subject, container, sandbox)
    if isinstance(env, ConfigProblem):
        shop.tell(subject.pod, ("Warning", "Failed", f"Error: {env.message}"), container.name)
        return Refusal("CreateContainerConfigError", env.message)
    problem = part_problem(container, env) or await _root_problem(shop, subject, container)
    if problem:
        shop.tell(subject.pod, ("Warning", "Failed", f"Error: {problem}"), container.name)
        return Refusal("CreateContainerConfigError", problem)
    target = subject.target_id(container)
    if target is None:
        return _refused(
            shop,
            EnsureContainer(container.name, attempt),
            subject,
            "its target container does not run",
        )
    pod = await _with_claims(shop, subject)
    if isinstance(pod, Refusal):
        return pod
    alone = container_spec(pod.spec, container, attempt, sandbox.attempt, env)
    spec = limited(alone, pod, container, shop.limits)
    user = await _user(shop, pod, container, spec.user)
    spec = replace(spec, process_namespace_of=target, user=user)
    status = await shop.host.ensure_container(sandbox, spec)
    name = container.name
    if failed_start(status):
        shop.tell(subject.pod, ("Warning", "Failed", f"Error: {status.message}"), name)
    elif status.state is not EngineState.CREATED:
        shop.tell(subject.pod, ("Normal", "Created", f"Created container: {name}"), name)
        shop.tell(subject.pod, ("Normal", "Started", f"Started container {name}"), name)
    return partial(effects.with_container, sandbox.identity, status)


async def _root_problem(shop: Workshop, subject: Subject, container: Container) -> str:
    """Return why a container that must not run as root would, "" if it does not."""
    spec = subject.pod.spec
    if not runs_as_non_root(spec, container):
        return ""
    user = effective(spec, container).user
    if not user:
        if not isinstance(shop.host, ImageHost):
            return "container has runAsNonRoot and this sort of host cannot tell the image's user"
        user = await shop.host.image_user(container.image)
    return root_problem(user)


async def _user(shop: Workshop, pod: Pod, container: Container, told: str) -> str:
    """Return whom a container runs as, "" for its image's user with its own group."""
    group = lone_group(pod.spec, container)
    if group is None:
        return told
    if not isinstance(shop.host, ImageHost):
        raise EngineRejected(
            "container has runAsGroup without runAsUser, and this sort of host cannot tell the "
            "image's user"
        )
    return with_group(await shop.host.image_user(container.image), group)


async def _post_start(shop: Workshop, step: RunPostStart, subject: Subject) -> Effect | Refusal:
    container, pod = subject.container(step.container), subject.pod
    hook = post_start(container)
    if hook is None:
        return effects.unchanged
    where = (step.container_id, pod_address(pod, subject.sandbox))
    why = await run_hook(shop.host, hook, container, where, shop.settings.hook_timeout)
    if not why:
        return effects.unchanged
    shop.tell(
        pod, ("Warning", "FailedPostStartHook", f"PostStartHook failed: {why}"), step.container
    )
    return Refusal(f"FailedPostStartHook: container {step.container}", why)


async def _stop(shop: Workshop, step: StopContainer, subject: Subject) -> None:
    grace = step.grace_seconds
    if subject.assigned is not None:
        pod, name = subject.pod, step.container
        shop.tell(pod, ("Normal", "Killing", step.why), name)

        def failed(why: str) -> None:
            words = ("Warning", "FailedPreStopHook", f"PreStopHook failed: {why}")
            shop.tell(pod, words, name)

        where = (step.container_id, pod_address(pod, subject.sandbox))
        container = subject.container(name)
        grace = await prepare_stop(shop.host, container, where, grace, failed)
    await shop.host.stop_container(step.container_id, grace)


async def _environment(
    shop: Workshop, subject: Subject, container: Container, sandbox: SandboxStatus
) -> tuple[tuple[str, str], ...] | ConfigProblem:
    pod = subject.pod
    sources = await environment_sources(shop.objects, pod.meta.namespace, container)
    return resolve(container, _facts(shop, subject, sandbox), sources, shop.links(pod))


def _facts(shop: Workshop, subject: Subject, sandbox: SandboxStatus) -> PodFacts:
    assert subject.assigned is not None
    pod = subject.pod
    return PodFacts(
        pod=pod,
        pod_ip=shop.host_ip if pod.spec.host_network else sandbox.ip,
        host_ip=shop.host_ip,
        service_account=service_account(subject.assigned.stored),
        allocatable=shop.allocatable,
    )


async def _write_volumes(shop: Workshop, subject: Subject) -> Effect | Refusal:
    sandbox, pod = subject.sandbox, subject.pod
    if sandbox is None:
        raise HostUnreachable("the sandbox is gone; look again")
    keys = [key for key in sources(pod) if key.resource != ACCOUNTS]
    contents = {key: await object_data(shop.objects, key) for key in keys}
    tokens = await _tokens(shop, pod, sandbox) if token_sources(pod) else NO_TOKENS
    facts = _facts(shop, subject, sandbox)
    there = {key: data for key, data in contents.items() if data is not None}
    volumes, why = list[FilesVolume](), ""
    for volume in written(pod):
        made = files_of(volume, facts, there, tokens)
        if isinstance(made, ConfigProblem):
            why = why or f'MountVolume.SetUp failed for volume "{volume.name}" : {made.message}'
        else:
            volumes.append(made)
    if not isinstance(shop.host, FilesHost):
        return _mount_failed(shop, pod, "this sort of host offers no way to fill volumes")
    claiming = await _with_claims(shop, subject)
    certain = before_claims(pod) if isinstance(claiming, Refusal) else claiming
    spec = sandbox_spec(certain, sandbox.attempt, shop.epoch)
    placed = {volume.name for volume in spec.volumes}
    volumes = [volume for volume in volumes if volume.name in placed]
    if volumes:  # also beside those that fail: a token in them may be due
        await shop.host.write_volumes(sandbox, spec, volumes)
    if isinstance(claiming, Refusal):
        return claiming
    return _mount_failed(shop, pod, why) if why else effects.unchanged


async def _tokens(shop: Workshop, pod: Pod, sandbox: SandboxStatus) -> PodTokens | ConfigProblem:
    """Return what makes a pod's tokens, or why they cannot be had yet."""
    if shop.api is None:
        return NO_TOKENS
    account = await shop.account(account_key(pod))
    if account is None:
        return no_account(pod)
    meta = account.meta
    holder = Holder(meta.namespace, meta.name, meta.uid, pod.meta.name, pod.meta.uid)
    return PodTokens(shop.api, holder, begun(sandbox.created_at), int(time.time()))


async def _with_claims(shop: Workshop, subject: Subject) -> Pod | Refusal:
    """Return the pod with what its claims stand for."""
    found = await with_claims(shop.objects.get, shop.news, subject.pod)
    if isinstance(found, ClaimProblem):
        text = f'MountVolume.SetUp failed for volume "{found.volume}" : {found.message}'
        return _mount_failed(shop, subject.pod, text)
    return found


def _mount_failed(shop: Workshop, pod: Pod, text: str) -> Refusal:
    shop.tell(pod, ("Warning", "FailedMount", text), "")
    return Refusal("FailedMount", text)


# --- refusals -------------------------------------------------------------------------------


def _refused(shop: Workshop, step: Instruction, subject: Subject, message: str) -> Refusal:
    match step:
        case EnsureSandbox():
            text = f"Failed to create pod sandbox: {message}"
            shop.tell(subject.pod, ("Warning", "FailedCreatePodSandBox", text), "")
            return Refusal("FailedCreatePodSandBox", message)
        case WriteVolumes():
            return _mount_failed(shop, subject.pod, message)
        case EnsureContainer(name, _):
            shop.tell(subject.pod, ("Warning", "Failed", f"Error: {message}"), name)
            return Refusal("CreateContainerError", message)
        case _:
            if subject.assigned is not None:
                shop.tell(subject.pod, ("Warning", "FailedKillPod", message), "")
            return Refusal(type(step).__name__, message)
