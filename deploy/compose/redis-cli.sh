#!/bin/sh
# Be `redis-cli` in the container of Redis, logged in as the administrator: `docker exec
# ecommerce_redis_prod redis-cli …` needs no password, and none is in the container's environment.
export REDISCLI_AUTH="$(cat /run/secrets/redis_admin_password)"
tls=/run/tls
[ ! -e $tls/server.crt ] || set -- --tls --cacert $tls/ca.crt --cert $tls/server.crt --key $tls/server.key "$@"
exec /usr/local/bin/redis-cli "$@"
