"""Collect the documents as tests: what README and docs/ show is what happens.

Python blocks run in one namespace per document and may ``await`` at the top level; in console
blocks every ``$ trunkline …`` line runs and must print the lines below it. Each document works
in a directory of its own. ``<!--- skip: next -->`` spares the block after it.
"""

from __future__ import annotations

import os

from tests.documents import documents

# What a developer's shell sets for a line of theirs must not reach the tests' lines.
for name in [name for name in os.environ if name.startswith("TRUNKLINE_")]:
    del os.environ[name]

pytest_collect_file = documents.pytest()
