"""Ironfree: a container scheduler for plain Docker hosts."""
