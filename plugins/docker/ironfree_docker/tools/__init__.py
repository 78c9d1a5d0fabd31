"""The static program that does on a host what the engine's API cannot; its source is tools.c."""

from importlib.resources import files

PATH = "/tools"
"""Where it is in the infra image."""


def program(architecture: str) -> bytes | None:
    """The program for GOARCH `architecture`, or None if there is none."""
    found = files(__name__).joinpath(f"tools-{architecture}")
    return found.read_bytes() if found.is_file() else None
