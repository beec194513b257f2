#!/bin/sh
# Restore a dump into a new database, which then takes the name of the one that is there.
#
#   COMPOSE=1 deploy/restore.sh FILE    the database of docker-compose.production.yaml
#   PGHOST=... deploy/restore.sh FILE   the database that libpq's variables name
#
# The one that was there is kept under another name. A dump that is broken changes nothing, and stops
# nothing. With COMPOSE the API and the worker stop for the moment in which the names are swapped;
# otherwise nobody may use the database. YES=1 asks nothing.
set -eu
. "$(dirname "$0")/postgres.sh"

file=${1:-}
[ -n "$file" ] || fail "which dump? FILE=... names it"
[ -r "$file" ] || fail "$file cannot be read"
time=$(date -u +%Y%m%d_%H%M%S)
new=${PGDATABASE}_restored_$time
old=${PGDATABASE}_before_$time

sql() { # DATABASE: run what comes on standard input, with the names of the three databases
  pg psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 \
    --set name="$PGDATABASE" --set new="$new" --set old="$old" --dbname="$1"
}

services() (
  cd "$(dirname "$0")/.."
  COMPOSE_FILE=${COMPOSE_FILE:-docker-compose.production.yaml}
  export COMPOSE_FILE
  docker compose --env-file .env.production "$@"
)

content() { # DATABASE
  echo "SELECT format('%s products and %s orders, the last of %s', (SELECT count(*) FROM products),
    count(*), coalesce(max(created_at)::text, 'never')) FROM orders" | sql "$1"
}

made=$(pg pg_restore --list < "$file" | sed -n 's/^;.*Archive created at //p')
[ -n "$made" ] || fail "$file is no dump of backup.sh"
if [ -z "${COMPOSE:-}" ]; then
  users=$(echo "SELECT count(*) FROM pg_stat_activity WHERE datname = :'name'" | sql postgres)
  [ "$users" = 0 ] || fail "$users sessions use $PGDATABASE: stop the service first"
fi

if [ "${YES:-}" != 1 ]; then
  echo "The database has $(content "$PGDATABASE" 2> /dev/null || echo 'no tables of the shop')."
  printf 'Restore what it was at %s? [y/N] ' "$made"
  read -r answer || answer=
  case $answer in [yY]*) ;; *) fail "nothing is changed" ;; esac
fi

undo() {
  echo 'DROP DATABASE IF EXISTS :"new"' | sql postgres
  echo "the dump was not restored, and the database is as it was" >&2
}
trap undo EXIT
trap 'exit 1' INT TERM
echo 'CREATE DATABASE :"new" TEMPLATE template0' | sql postgres
pg pg_restore --exit-on-error --no-owner --no-privileges --dbname="$new" < "$file"
echo 'ANALYZE' | sql "$new"
restored=$(content "$new")

undo_stop() {
  echo 'ALTER DATABASE :"name" ALLOW_CONNECTIONS true' | sql postgres
  undo
  [ -z "${COMPOSE:-}" ] || services start api worker
}
trap undo_stop EXIT
[ -z "${COMPOSE:-}" ] || services stop api worker
sql postgres << 'SQL' > /dev/null
ALTER DATABASE :"name" ALLOW_CONNECTIONS false;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'name';
BEGIN;
ALTER DATABASE :"name" RENAME TO :"old";
ALTER DATABASE :"new" RENAME TO :"name";
COMMIT;
ALTER DATABASE :"old" ALLOW_CONNECTIONS true;
SQL
trap - EXIT

echo "$PGDATABASE is what it was at $made: $restored"
echo "What it was before is kept as the database $old; once nobody misses anything: DROP DATABASE $old"
[ -z "${COMPOSE:-}" ] || services up -d
