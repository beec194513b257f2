"""PostgreSQL: connections, locks, and the problems that errors become."""
