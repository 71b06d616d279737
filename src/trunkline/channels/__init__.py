"""Channels: publish, subscribe, and the one mechanism that carries readers from the log to live."""
