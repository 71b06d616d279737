"""CQRS: commands, hooks, sagas, events, and those who hear them; a wing on the channels."""
