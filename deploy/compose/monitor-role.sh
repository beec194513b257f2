#!/bin/sh
# Give postgres_exporter a role that reads statistics, and may do nothing else. Its password is set
# anew at each start. The server and its administrator are named by the variables of libpq.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres_password)
MONITOR_PASSWORD=$(cat /run/secrets/monitor_password)
: "${MONITOR_PASSWORD:?is empty}"
export PGPASSWORD MONITOR_PASSWORD
exec psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\getenv password MONITOR_PASSWORD
SELECT 'CREATE ROLE monitor' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor')
\gexec
ALTER ROLE monitor LOGIN CONNECTION LIMIT 5 PASSWORD :'password';
ALTER ROLE monitor SET statement_timeout = '5s';
GRANT pg_monitor TO monitor;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
SQL
