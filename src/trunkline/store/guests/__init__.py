"""Guests: other libraries' transactions, which only insert rows into the outbox.

No library is imported here: a guest is recognized by the names of its classes, for whoever has
one has imported its library.
"""
