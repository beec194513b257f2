#!/bin/sh
# Make the passwords of docker-compose.production.yaml, one file each in ./secrets, where none is.
#
# A password that .env.production still has, as it had to until they became files, is taken from
# there, because the database on the volume knows that one. A file that is there is left alone.
#
# The directory is open to this account alone. The files in it are readable by all, because Docker
# mounts them as they are, and each container reads as a user of its own.
set -eu
cd "$(dirname "$0")/../.."
chmod -R a+rX deploy 2> /dev/null || : # a checkout with a strict umask; containers read these, too
umask 077
settings=.env.production
mkdir -p secrets
chmod 700 secrets

old_value() {
  [ -f "$settings" ] || return 0
  value=$(sed -n "s/^$1=//p" "$settings" | tail -n 1)
  case $value in
    \'*\') value=${value#\'} value=${value%\'} ;;
    *[\"\'\$\\\#\ ]*)
      echo "$1 in $settings is quoted or has a special character: write it to secrets/$2 yourself" >&2
      exit 1 ;;
  esac
  printf %s "$value"
}

make_secret() { # FILE NAME: the name that it had in .env.production
  [ ! -e "secrets/$1" ] || return 0
  value=$(old_value "$2" "$1")
  source="taken from $settings"
  if [ -z "$value" ]; then
    value=$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')
    source=new
  fi
  printf '%s\n' "$value" > secrets/.unfinished
  chmod 444 secrets/.unfinished
  mv secrets/.unfinished "secrets/$1"
  echo "secrets/$1: $source"
}

make_secret postgres_password POSTGRES_PASSWORD
make_secret database_password DATABASE_PASSWORD
make_secret redis_admin_password -
make_secret redis_password REDIS_PASSWORD
make_secret admin_api_key ADMIN_API_KEY
make_secret metrics_token METRICS_TOKEN
make_secret secret_key SECRET_KEY
make_secret monitor_password -
make_secret grafana_password -

[ -f "$settings" ] || exit 0
for name in POSTGRES_PASSWORD DATABASE_PASSWORD REDIS_PASSWORD ADMIN_API_KEY METRICS_TOKEN SECRET_KEY; do
  ! grep -q "^$name=." "$settings" || echo "Delete $name from $settings: it has no effect there."
done
host=$(sed -n 's/^REDIS_HOST=//p' "$settings" | tail -n 1)
case $host in ''|redis) ;; *)
  grep -q '^REDIS_USERNAME=' "$settings" ||
    echo "Set REDIS_USERNAME in $settings to the user of the Redis at REDIS_HOST; empty: its default user." ;;
esac
