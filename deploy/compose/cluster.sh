#!/bin/sh
# Make a cluster of these nodes, unless they are one, and return when it serves. It runs at each start.
set -eu
first=${1%:*} port=${1##*:}
serves() { redis-cli -h "$first" -p "$port" cluster info | grep -q cluster_state:ok; }
if [ "$(redis-cli -h "$first" -p "$port" cluster nodes | wc -l)" -lt 2 ]; then
  redis-cli --cluster create "$@" --cluster-replicas 1 --cluster-yes
fi
until serves; do sleep 0.2; done
