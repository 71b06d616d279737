"""What keeps a process going: clock, supervised loops, bounded buffers, telemetry."""
