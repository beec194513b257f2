#!/bin/sh
# Let the containers of deploy/compose/tls.yaml and front.yaml read renewed certificates. Nothing is
# restarted: connections go on, and new ones get the new certificate.
set -eu
docker exec ecommerce_redis_prod redis-cli CONFIG SET \
  tls-cert-file /run/tls/server.crt tls-key-file /run/tls/server.key
docker exec ecommerce_postgres_prod sh /usr/local/bin/postgres-tls.sh reload
[ -z "$(docker ps --quiet --filter name=ecommerce_nginx_prod)" ] || docker kill --signal HUP ecommerce_nginx_prod
