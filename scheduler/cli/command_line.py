"""Finds the verb, imports its module, and turns errors into messages and exit codes.

Exit codes: 0 done, 1 an error (message on standard error), 2 wrong usage, 130 interrupted.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from ..errors import ConfigurationError, IronfreeError, PluginError, StatusError

Arguments = argparse.Namespace


class VerbModule(Protocol):
    """What a verb's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        ...

    def run(self, arguments: Arguments) -> int:
        """Do it; returns the exit code."""
        ...


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb, the module that does it, and one line of help."""

    name: str
    module: str
    summary: str


VERBS = (
    Verb("up", "service", "start everything in one process: API, scheduler, controllers, nodes"),
    Verb("serve", "service", "the same as up, without looking for hosts or examples"),
    Verb("migrate", "migrate", "bring the database's schema to this version"),
    Verb("node", "node", "add, list, examine or drain hosts"),
    Verb("adopt", "adopt", "make pods of containers that run already, without a restart"),
    Verb("apply", "apply", "create or change objects from YAML or JSON files"),
    Verb("get", "get", "print objects"),
    Verb("describe", "describe", "print one object in full, with its events"),
    Verb("delete", "delete", "delete objects"),
    Verb("logs", "logs", "print a container's output"),
    Verb("scale", "scale", "set how many replicas there should be"),
    Verb("explain", "explain", "why a pod is where it is: every node, every rule, every score"),
    Verb("why-not", "explain", "why a pod is not on a node, and what would change that"),
    Verb("simulate", "simulate", "what would happen if: place pods without doing it"),
    Verb("place", "place", "pack pods onto hosts as well as possible, with a proven bound"),
    Verb("plan", "plan", "what more or fewer hosts would mean, and the cheapest that suffice"),
    Verb("build", "build", "make an image of a directory or a git repository, on a host"),
    Verb("commit", "commit", "make an image of a running container"),
    Verb("kubeconfig", "kubeconfig", "write a kubeconfig for kubectl"),
    Verb("tour", "tour", "on an empty cluster: offer hosts, run an example, say where and why"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the words after `ironfree`; None takes the process's.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_help())
        return 0 if words else 2
    if words[0] in {"-V", "--version", "version"}:
        version = import_module("importlib.metadata").version("ironfree")
        print(f"ironfree {version}")
        return 0
    verb = next((verb for verb in VERBS if verb.name == words[0]), None)
    if verb is None:
        print(f'ironfree: no verb "{words[0]}"; see `ironfree --help`', file=sys.stderr)
        return 2
    module = cast(VerbModule, import_module(f"{__package__}.{verb.module}"))
    parser = argparse.ArgumentParser(prog=f"ironfree {verb.name}", description=verb.summary)
    module.add_arguments(parser)
    arguments = parser.parse_args(words[1:])
    arguments.verb = verb.name
    return _guarded(module.run, arguments)


def _guarded(run: Callable[[Arguments], int], arguments: Arguments) -> int:
    try:
        code = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except IronfreeError as error:
        _complain(error, as_json=bool(getattr(arguments, "json", False)))
        return 1
    except ExceptionGroup as group:  # of a service that could not start
        expected, bugs = group.split((ConfigurationError, PluginError))
        if expected is None or bugs is not None:
            raise
        _complain(_first(expected), as_json=False)
        return 1
    else:
        return code


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error


def _complain(error: Exception, *, as_json: bool) -> None:
    if not as_json:
        print(f"Error: {error}", file=sys.stderr)
        return
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": str(error)}
    answer = isinstance(error, StatusError)
    print(json.dumps(status | ({"reason": error.reason, "code": error.code} if answer else {})))


def _help() -> str:
    width = max(len(verb.name) for verb in VERBS)
    lines = [f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS]
    return "\n".join(
        [
            "Usage: ironfree VERB [arguments]   (ironfree VERB --help says more)",
            "",
            *lines,
            "",
            "Client verbs find the server by --server, IRONFREE_SERVER, KUBECONFIG, or the",
            "kubeconfig that `ironfree up` wrote. kubectl works with the same server.",
        ]
    )
