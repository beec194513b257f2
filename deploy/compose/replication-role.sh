#!/bin/sh
# Give the replica a login, with the administrator's password, and a slot. It runs at each start.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres_password)
export PGPASSWORD
exec psql --no-psqlrc --quiet --output /dev/null --set ON_ERROR_STOP=1 <<'SQL'
\getenv password PGPASSWORD
SELECT 'CREATE ROLE replicator' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'replicator')
\gexec
ALTER ROLE replicator LOGIN REPLICATION PASSWORD :'password';
SELECT pg_create_physical_replication_slot('replica')
  WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'replica');
SQL
