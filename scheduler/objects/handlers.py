"""Typed views of what is done to a running container: probes and lifecycle hooks (core/v1)."""

import msgspec

from .view import View


class ExecAction(View, frozen=True):
    """core/v1 ExecAction."""

    command: tuple[str, ...] = ()


class HTTPHeader(View, frozen=True):
    """core/v1 HTTPHeader."""

    name: str
    value: str = ""


class HTTPGetAction(View, frozen=True):
    """core/v1 HTTPGetAction; the port is a number or a container port's name."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(View, frozen=True):
    """core/v1 TCPSocketAction."""

    port: int | str
    host: str = ""


class GRPCAction(View, frozen=True):
    """core/v1 GRPCAction."""

    port: int
    service: str = ""


class SleepAction(View, frozen=True):
    """core/v1 SleepAction."""

    seconds: int = 0


class Probe(View, frozen=True):
    """core/v1 Probe, with the API's defaults; times in seconds."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(View, frozen=True):
    """core/v1 LifecycleHandler: exactly one member is set."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(View, frozen=True):
    """core/v1 Lifecycle."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


class RestartRuleExitCodes(View, frozen=True):
    """core/v1 ContainerRestartRuleOnExitCodes; the operator is In or NotIn."""

    operator: str = "In"
    values: tuple[int, ...] = ()


class RestartRule(View, frozen=True):
    """core/v1 ContainerRestartRule."""

    action: str = "Restart"
    exit_codes: RestartRuleExitCodes | None = msgspec.field(default=None)
