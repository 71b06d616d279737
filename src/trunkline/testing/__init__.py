"""For tests, yours and ours: contract suites, virtual time, real servers."""
