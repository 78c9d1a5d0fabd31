"""The base of the typed views: what of an object Ironfree acts on, decoded once."""

import msgspec


class View(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of the typed views."""
