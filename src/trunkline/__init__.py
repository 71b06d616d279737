"""Trunkline: one durable line from what happened to everyone who must know."""

__version__ = "0.1.0"
