#!/bin/sh
# Start pgbouncer with the password of the service, which is a file. It goes into a file of its own
# form, with " doubled.
set -eu
umask 077
printf '"shop" "%s"\n' "$(sed 's/"/""/g' /run/secrets/database_password)" > /tmp/userlist.txt
exec pgbouncer /etc/pgbouncer/pgbouncer.ini
