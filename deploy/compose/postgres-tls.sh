#!/bin/sh
# Start PostgreSQL with a key that is its own, as it demands. `reload`: take a renewed certificate.
set -eu
umask 077
mkdir -p /tmp/tls
for file in server.key server.crt; do
  cp /run/tls/$file /tmp/tls/$file.new
  mv /tmp/tls/$file.new /tmp/tls/$file
done
[ "${1:-}" != reload ] || exec kill -HUP 1
exec docker-entrypoint.sh "$@"
