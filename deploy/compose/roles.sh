#!/bin/sh
# Give the service a role that reads and writes rows, and may do nothing else. Its password is set
# anew at each start. The server and its administrator are named by the variables of libpq.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres_password)
DATABASE_PASSWORD=$(cat /run/secrets/database_password)
: "${DATABASE_PASSWORD:?is empty}"
export PGPASSWORD DATABASE_PASSWORD
exec psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\getenv password DATABASE_PASSWORD
SELECT 'CREATE ROLE shop' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop')
\gexec
ALTER ROLE shop LOGIN PASSWORD :'password';
-- The values that a statement of the service fails for are logged by nobody; the service logs the
-- SQLSTATE.
ALTER ROLE shop SET log_min_messages = 'log';
-- On tables that a restored dump has made, and on those that migrations will make.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO shop;
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO shop;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO shop;
SQL
