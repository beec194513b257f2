# For backup.sh and restore.sh: run programs of PostgreSQL, in the container where COMPOSE is set.
# Otherwise they are those on PATH, and libpq's variables (PGHOST, PGUSER, ...) name the server.
PGDATABASE=${PGDATABASE:-shop}
export PGDATABASE

fail() {
  echo "$1" >&2
  exit 1
}

pg() {
  if [ -n "${COMPOSE:-}" ]; then
    docker exec --interactive --env PGUSER=postgres --env PGDATABASE="$PGDATABASE" \
      ecommerce_postgres_prod "$@"
  else
    "$@"
  fi
}
