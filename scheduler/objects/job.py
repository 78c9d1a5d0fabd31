"""Typed view of Jobs, and the sets of completion indexes that their status carries as text."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from .meta import ObjectMeta
from .pod import Condition, View
from .pod_owner import JOB, OwnerKind, PodTemplate, label_selector
from .selectors import Selector
from .stored import StoredObject

TRACKING = "batch.kubernetes.io/job-tracking"
"""Finalizer of a Job's pod that the Job has not counted yet."""
INDEX = "batch.kubernetes.io/job-completion-index"
"""Label and annotation of a pod of an Indexed Job."""
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
INDEXED = "Indexed"
COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
SUCCESS_MET, FAILURE_TARGET = "SuccessCriteriaMet", "FailureTarget"


class ExitCodes(View, frozen=True):
    """batch/v1 PodFailurePolicyOnExitCodesRequirement."""

    operator: str = "In"
    values: tuple[int, ...] = ()
    container_name: str = ""


class ConditionPattern(View, frozen=True):
    """batch/v1 PodFailurePolicyOnPodConditionsPattern."""

    type: str
    status: str = "True"


class FailureRule(View, frozen=True):
    """batch/v1 PodFailurePolicyRule: FailJob, Ignore or Count."""

    action: str
    on_exit_codes: ExitCodes | None = None
    on_pod_conditions: tuple[ConditionPattern, ...] = ()


class FailurePolicy(View, frozen=True):
    """batch/v1 PodFailurePolicy."""

    rules: tuple[FailureRule, ...] = ()


class JobSpec(View, frozen=True):
    """batch/v1 JobSpec, the fields Ironfree acts on."""

    parallelism: int = 1
    completions: int | None = None
    completion_mode: str = "NonIndexed"
    backoff_limit: int = 6
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    suspend: bool = False
    pod_failure_policy: FailurePolicy | None = None
    pod_replacement_policy: str = "TerminatingOrFailed"
    selector: msgspec.Raw = msgspec.Raw(b"null")
    template: PodTemplate = PodTemplate()


class Uncounted(View, frozen=True):
    """batch/v1 UncountedTerminatedPods: uids of ended pods that are in no count yet."""

    succeeded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class JobStatus(View, frozen=True):
    """batch/v1 JobStatus."""

    conditions: tuple[Condition, ...] = ()
    start_time: datetime | None = None
    completion_time: datetime | None = None
    active: int = 0
    ready: int = 0
    terminating: int = 0
    succeeded: int = 0
    failed: int = 0
    completed_indexes: str = ""
    uncounted_terminated_pods: Uncounted = Uncounted()

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type, if it is True."""
        return next((c for c in self.conditions if c.type == kind and c.status == "True"), None)

    @property
    def finished(self) -> Condition | None:
        """The condition that says that the Job is over, if it is."""
        return self.condition(COMPLETE) or self.condition(FAILED)


class Job(msgspec.Struct, frozen=True):
    """A Job as its controller sees it."""

    meta: ObjectMeta
    spec: JobSpec
    status: JobStatus = JobStatus()
    revision: int = 0
    stored: StoredObject | None = None

    @property
    def owner_kind(self) -> OwnerKind:
        """Its kind."""
        return JOB

    @property
    def selector(self) -> Selector:
        """Which pods are its own."""
        return label_selector(bytes(self.spec.selector))

    @property
    def template(self) -> PodTemplate:
        """What its pods are like."""
        return self.spec.template

    @property
    def indexed(self) -> bool:
        """Whether each of its completions has a number."""
        return self.spec.completion_mode == INDEXED


class _Body(msgspec.Struct):
    spec: JobSpec = JobSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(JobStatus)


def job_view(stored: StoredObject) -> Job:
    """Return the typed view of a stored Job."""
    return Job(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else JobStatus(),
        revision=stored.revision,
        stored=stored,
    )


def read_indexes(text: str) -> Iterator[int]:
    """Yield the numbers of a text like "1,3-5"."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def write_indexes(numbers: Iterable[int]) -> str:
    """Return numbers as text: "1,3-5"; two in a row are written one by one, as upstream does."""
    parts: list[str] = []
    ordered = sorted(set(numbers))
    start = 0
    for at, number in enumerate(ordered):
        if at + 1 < len(ordered) and ordered[at + 1] == number + 1:
            continue
        first, length = ordered[start], at + 1 - start
        parts.append(str(first) if length == 1 else f"{first}{',' if length == 2 else '-'}{number}")
        start = at + 1
    return ",".join(parts)
