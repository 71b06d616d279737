"""Tests of the protocols: bytes in, values out, and back."""
