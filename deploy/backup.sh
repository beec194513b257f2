#!/bin/sh
# Dump the database while it serves, and check that the dump can be read to its end.
#
#   COMPOSE=1 deploy/backup.sh [DIRECTORY]    the database of docker-compose.production.yaml
#   PGHOST=... deploy/backup.sh [DIRECTORY]   the database that libpq's variables name
#
# The dump is DIRECTORY/shop-TIME.dump, where DIRECTORY is ./backups by default; others than this
# account cannot read it. A dump that fails leaves no file.
set -eu
umask 077
. "$(dirname "$0")/postgres.sh"

directory=${1:-backups}
mkdir -p "$directory"
file=$directory/shop-$(date -u +%Y%m%dT%H%M%SZ).dump
[ ! -e "$file" ] || fail "$file exists"
trap 'rm -f "$file.unfinished"' EXIT
trap 'exit 1' INT TERM

pg pg_dump --format=custom --lock-wait-timeout=60000 > "$file.unfinished"
pg pg_restore --file=- < "$file.unfinished" > /dev/null || fail "the dump cannot be read"
mv "$file.unfinished" "$file"

echo "$file: $(du -h "$file" | cut -f 1), read to its end"
echo "It has customers' names and addresses: encrypt it, and keep it on another machine."
