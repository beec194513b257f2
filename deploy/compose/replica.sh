#!/bin/sh
# Copy PostgreSQL if there is no copy yet, then follow it.
set -eu
umask 077
printf '*:*:*:replicator:%s\n' "$(sed 's/[\\:]/\\&/g' /run/secrets/postgres_password)" > /tmp/pgpass
[ -s "$PGDATA/PG_VERSION" ] || pg_basebackup --pgdata "$PGDATA" --write-recovery-conf --slot replica \
  --checkpoint fast --dbname "host=postgres user=replicator passfile=/tmp/pgpass application_name=replica"
exec "$@"
