#!/bin/sh
# Start a sentinel, which logs in to Redis as the administrator. What it learns is lost with the
# container: the others tell it anew. Its identity is that of its name, or they would count two.
set -eu
umask 077
password=$(cat /run/secrets/redis_admin_password)
{
  cat /usr/local/etc/redis/sentinel.conf
  echo "sentinel auth-pass main \"$password\""
  echo "sentinel announce-ip $(hostname)"
  echo "sentinel myid $(hostname | sha1sum | cut -d ' ' -f 1)"
} > /tmp/sentinel.conf
exec redis-server /tmp/sentinel.conf --sentinel
