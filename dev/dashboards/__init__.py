"""The dashboards of Grafana, from which `make dashboards` writes deploy/monitoring/grafana/."""
