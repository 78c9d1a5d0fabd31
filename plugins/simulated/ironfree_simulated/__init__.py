"""Simulated hosts for Ironfree."""
