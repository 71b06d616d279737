"""The log: one port, several engines, one contract that all of them pass."""
