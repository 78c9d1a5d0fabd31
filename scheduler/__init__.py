"""Ironfree: a container scheduler for plain Docker hosts."""

from .hookspecs import hookimpl

__all__ = ["hookimpl"]
