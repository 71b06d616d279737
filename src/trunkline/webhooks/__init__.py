"""Signals for customers' apps: installed, granted, resolved, signed, delivered; and services."""
