#!/bin/sh
# Make an authority, and certificates that it signs for PostgreSQL, Redis, nginx and the service. Run
# again, it makes new certificates of the same authority: a renewal. Then: deploy/tls/reload.sh
#
#   deploy/tls/make-certificates.sh [DIRECTORY]     # by default ./secrets
#
# DAYS is how long certificates are valid. POSTGRES_NAMES, REDIS_NAMES and FRONT_NAMES are the names
# that clients use, as subjectAltName writes them. The certificate of nginx is made only where there
# is none, or one of this authority: that of a public authority is left alone.
#
# Each container sees the directory of its own certificate, and none sees the authority's key.
set -eu
umask 077
place=${1:-secrets}
days=${DAYS:-90}
authority=$place/authority
local=DNS:localhost,IP:127.0.0.1
mkdir -p "$authority"

new_key() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "$@" 2>/dev/null; }

if [ ! -e "$authority/ca.key" ]; then
  new_key -x509 -days 3650 -subj "/CN=shop authority" -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$authority/ca.key" -out "$authority/ca.crt"
  echo "$authority: new, for ten years"
fi

issue() { # DIRECTORY CERTIFICATE KEY NAMES
  mkdir -p "$place/$1"
  chmod 755 "$place/$1"
  new_key -subj "/CN=$1" -keyout "$place/$1/$3.new" -out "$authority/request"
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$4" > "$authority/extension"
  openssl x509 -req -in "$authority/request" -CA "$authority/ca.crt" -CAkey "$authority/ca.key" \
    -CAcreateserial -days "$days" -extfile "$authority/extension" -out "$place/$1/$2.new" 2>/dev/null
  cp "$authority/ca.crt" "$place/$1/ca.crt.new"
  # Containers read as users of their own; ./secrets lets no other account of the machine in.
  chmod 444 "$place/$1"/*.new
  for file in ca.crt "$3" "$2"; do mv "$place/$1/$file.new" "$place/$1/$file"; done
  rm "$authority/request" "$authority/extension"
  echo "$place/$1/$2: $4, for $days days"
}

issue tls-postgres server.crt server.key "${POSTGRES_NAMES:-DNS:postgres,$local}"
issue tls-redis server.crt server.key "${REDIS_NAMES:-DNS:redis,$local}"
issue tls-client client.crt client.key DNS:shop
if [ ! -e "$place/tls/certificate.pem" ] || [ -e "$place/tls/ca.crt" ]; then
  issue tls certificate.pem key.pem "${FRONT_NAMES:-$local}"
fi
