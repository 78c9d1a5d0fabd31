"""`ironfree kubeconfig`, and reading and writing kubeconfig files (kubectl's own format)."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from ..errors import ConfigurationError
from ..objects.json import JsonObject
from ..settings import read_settings

DEFAULT_SERVER = "http://127.0.0.1:7443"


@dataclass(frozen=True, slots=True)
class Target:
    """A server to speak to.

    Args:
        ca: PEM text, or "" for the system's authorities.
        token: bearer token; "" for none.
        namespace: used when a command names none.
    """

    url: str
    ca: str = ""
    token: str = ""
    namespace: str = "default"


def default_path() -> Path:
    """Return the kubeconfig `ironfree up` writes, in its data directory."""
    return read_settings(os.environ).data_dir / "kubeconfig"


def write(path: Path, target: Target) -> None:
    """Write a kubeconfig with one context, readable by its owner only; replaces atomically."""
    cluster: JsonObject = {"server": target.url}
    user: JsonObject = {"token": target.token} if target.token else {}
    document: JsonObject = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "ironfree", "cluster": cluster}],
        "users": [{"name": "ironfree", "user": user}],
        "contexts": [
            {
                "name": "ironfree",
                "context": {
                    "cluster": "ironfree",
                    "user": "ironfree",
                    "namespace": target.namespace,
                },
            }
        ],
        "current-context": "ironfree",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(document, file, sort_keys=False)
    scratch.replace(path)


def read(path: Path) -> Target:
    """Return the current context's server.

    Raises:
        ConfigurationError: not a kubeconfig, or its current context names nothing.
    """
    try:
        document: object = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"kubeconfig {path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} is not a kubeconfig")
    config = cast(dict[str, object], document)
    context = _named(config, "contexts", "context", config.get("current-context"))
    cluster = _named(config, "clusters", "cluster", context.get("cluster"))
    user = _named(config, "users", "user", context.get("user"))
    url = cluster.get("server")
    if not isinstance(url, str):
        raise ConfigurationError(
            f"kubeconfig {path}: its current context names no server; "
            "set current-context, or use --server URL"
        )
    namespace = str(context.get("namespace") or "default")
    return Target(url, token=str(user.get("token") or ""), namespace=namespace)


def _named(config: dict[str, object], section: str, field: str, name: object) -> dict[str, object]:
    entries = config.get(section)
    for entry in cast(list[object], entries) if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            named = cast(dict[str, object], entry)
            value = named.get(field)
            if named.get("name") == name and isinstance(value, dict):
                return cast(dict[str, object], value)
    return {}


def locate(server: str | None) -> Target:
    """Find the server: the argument, IRONFREE_SERVER, KUBECONFIG, what `up` wrote, the default."""
    if url := server or os.environ.get("IRONFREE_SERVER"):
        return Target(url)
    if listed := os.environ.get("KUBECONFIG"):
        for name in listed.split(os.pathsep):
            if name and Path(name).is_file():
                return read(Path(name))
    path = default_path()
    return read(path) if path.is_file() else Target(DEFAULT_SERVER)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `ironfree kubeconfig`."""
    parser.add_argument("--server", metavar="URL", help="the server the file names")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="default: in the data directory"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the file and print the line that makes kubectl use it."""
    path = cast(Path, arguments.output or default_path())
    write(path, locate(cast("str | None", arguments.server)))
    print(f"export KUBECONFIG={path}")
    return 0
