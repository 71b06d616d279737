"""Collect the documents as tests: what README and docs/ show is what happens.

Python blocks run in one namespace per document and may ``await`` at the top level; in console
blocks every ``$ trunkline …`` line runs and must print the lines below it. Each document works
in a directory of its own. ``<!--- skip: next -->`` spares the block after it.
"""

from __future__ import annotations

from tests.documents import documents

pytest_collect_file = documents.pytest()
