"""The one error tree.

    IronfreeError
    ├── StatusError                an answer with an HTTP meaning; becomes a Kubernetes Status
    │   ├── BadRequest             400 cannot be decoded or understood
    │   ├── NotFound               404
    │   ├── AlreadyExists          409 create of a name in use
    │   ├── Conflict               409 stale resourceVersion, failed precondition, node taken
    │   ├── Expired                410 list or watch position compacted
    │   ├── Invalid                422 understood, but a field's value is not allowed
    │   └── Unavailable            503 the database does not answer
    ├── Fenced                     a deposed leader tried to write
    ├── LeadershipLost             this process leads no longer; its work was cancelled
    ├── DriverError                a container engine refused or could not be asked
    │   ├── HostUnreachable        no answer: the outcome is unknown
    │   ├── EngineRejected         the engine said no; repeating will not help
    │   └── ImageUnavailable       the image cannot be had
    ├── SourceUnavailable          what an image is to be built of cannot be had
    ├── SolverFailed               the solver's process ended, or failed by a bug
    ├── PluginError                a plugin broke its contract
    └── ConfigurationError         settings that cannot work

Outcomes that are expected in normal work (an unschedulable pod, a lost optimistic write inside the
scheduler) are values, not exceptions. This module imports nothing of the package.
"""

from dataclasses import dataclass


class IronfreeError(Exception):
    """Root of every error that Ironfree raises on purpose."""


@dataclass(frozen=True)
class Cause:
    """One field's complaint inside an Invalid error (Kubernetes StatusCause)."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


class StatusError(IronfreeError):
    """An outcome a client must see, with its HTTP code and Kubernetes reason.

    Args:
        message: what, which object, why, and what to do.
        kind: plural resource, e.g. "pods"; group: its API group; name: the object's name.
        causes: one per field, where there are any.
        retry_after: seconds after which repeating is sensible.
    """

    code = 500
    reason = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        kind: str = "",
        group: str = "",
        name: str = "",
        causes: tuple[Cause, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.group = group
        self.name = name
        self.causes = causes
        self.retry_after = retry_after


class BadRequest(StatusError):
    """The request cannot be decoded or understood."""

    code = 400
    reason = "BadRequest"


class Forbidden(StatusError):
    """Understood, but not allowed in the object's present state."""

    code = 403
    reason = "Forbidden"


class NotFound(StatusError):
    """No object has that name."""

    code = 404
    reason = "NotFound"


class AlreadyExists(StatusError):
    """An object of that name exists."""

    code = 409
    reason = "AlreadyExists"


class Conflict(StatusError):
    """The object changed since it was read, or a precondition failed."""

    code = 409
    reason = "Conflict"


class Expired(StatusError):
    """The list or watch position has been compacted; start again from a list."""

    code = 410
    reason = "Expired"


class Invalid(StatusError):
    """A field's value is not allowed; one cause per field."""

    code = 422
    reason = "Invalid"


class Unavailable(StatusError):
    """A part the request needs (the database) does not answer now."""

    code = 503
    reason = "ServiceUnavailable"


class Fenced(IronfreeError):
    """A write carried the epoch of a leader that has been replaced."""


class LeadershipLost(IronfreeError):
    """This process leads no longer: its connection to the leader lock went away."""


class DriverError(IronfreeError):
    """A container engine refused, failed or could not be asked."""


class HostUnreachable(DriverError):
    """No answer from the host: whether the call happened is unknown."""


class EngineRejected(DriverError):
    """The engine answered that it will not do this; repeating will not help.

    Args:
        message: the engine's words.
        code: the engine's HTTP status.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code


class ImageUnavailable(DriverError):
    """An image cannot be pulled, or is absent under policy Never."""


class SourceUnavailable(IronfreeError):
    """What an image is to be built of cannot be had; trying again will not help.

    Args:
        reason: one CamelCase word.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SolverFailed(IronfreeError):
    """The solver's process ended or failed; nothing was decided, and trying again may do."""


class PluginError(IronfreeError):
    """A plugin broke its contract: wrong shape, wrong type, unknown hook, or it raised."""


class ConfigurationError(IronfreeError):
    """Settings that cannot work together or name something absent."""
