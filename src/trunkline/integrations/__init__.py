"""Other libraries' sides of the line: one-line hooks for what applications are made of."""
