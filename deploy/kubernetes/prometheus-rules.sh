#!/bin/sh
# Print the rules of deploy/monitoring as resources of the Prometheus operator:
#   deploy/kubernetes/prometheus-rules.sh | kubectl apply --namespace shop --filename -
set -eu
cd "$(dirname "$0")/../monitoring"
for name in recording alerts; do
  cat <<END
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: shop-$name
  labels: {app.kubernetes.io/name: shop}
spec:
END
  sed 's/^/  /' "$name.yml"
done
