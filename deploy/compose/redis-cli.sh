#!/bin/sh
# Be `redis-cli` in the container of Redis, logged in as the administrator: `docker exec
# ecommerce_redis_prod redis-cli …` needs no password, and none is in the container's environment.
export REDISCLI_AUTH="$(cat /run/secrets/redis_admin_password)"
exec /usr/local/bin/redis-cli "$@"
