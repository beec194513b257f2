"""PostgreSQL: where it is, how connections to it are made, and what its errors mean."""
