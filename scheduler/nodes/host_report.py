"""What a session finds out of its host, and who hears it."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from ..foreign import ForeignContainer
from ..objects.node import ContainerImage


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears what a session finds out of its host.

    Args:
        stored: takes in which images the host has.
        stuck: told when the engine stops doing what it is told (why), and when it does again ("").
        shared: takes in what runs there that Ironfree does not manage.
        pressed: takes in which of MemoryPressure, PIDPressure and DiskPressure hold.
        sized: takes in how large its disk is, in bytes.
        networked: takes in why Services are not served there, "" when they are.
        leaving: has the host leave the network, if it is to and can by now.
    """

    stored: Callable[[tuple[ContainerImage, ...]], Awaitable[None]]
    stuck: Callable[[str], Coroutine[None, None, None]]
    shared: Callable[[tuple[ForeignContainer, ...]], Awaitable[None]]
    pressed: Callable[[frozenset[str]], Awaitable[None]]
    sized: Callable[[int], Awaitable[None]]
    networked: Callable[[str], Awaitable[None]]
    leaving: Callable[[], Awaitable[None]]
