"""The tests; folders mirror src/trunkline."""
