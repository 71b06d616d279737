"""The SQL databases: connections, the one SQLite writer, units of work, migrations."""
