"""SQL state beside the log: the outbox of guests' transactions, its relay, leases."""
