"""PostgreSQL: addresses, connections, what errors mean, migrations."""
