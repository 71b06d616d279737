"""Protocols as pure functions and state machines: bytes in, values out, and back."""
