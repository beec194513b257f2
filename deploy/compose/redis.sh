#!/bin/sh
# Start Redis with its users, whose passwords are files. Arguments are those of redis-server.
#
# `default` is the administrator, as whom redis-cli.sh logs in. `shop` is the service, with the
# names and commands of docs/redis.md, and those of REDIS_KEY_PREFIX. `monitor` is redis_exporter,
# which reads figures and no key. The file of users has hashes of the passwords.
set -eu
umask 077

hash_of() {
  password=$(cat "/run/secrets/$1") && [ -n "$password" ] || { echo "secrets/$1 is empty" >&2; exit 1; }
  printf %s "$password" | sha256sum | cut -d ' ' -f 1
}

administrator=$(hash_of redis_admin_password)
service=$(hash_of redis_password)
monitor=$(hash_of monitor_password)
cat > /tmp/users.acl <<END
user default on #$administrator ~* &* +@all
user shop on #$service${REDIS_KEY_PREFIX:+ ~$REDIS_KEY_PREFIX*} ~products:* ~categories:* ~session:* ~key:* ~stats:* ~values:* ~rate_limit:* ~{products:trending:* ~shop:owner ~ops:* +evalsha +eval +info +time +mget +get +set +append +strlen +getrange +setrange +setbit +del +incrby +pexpire +ping +exists +unlink +expire +zadd +zincrby +zscore +zrevrange +zunionstore +zremrangebyrank +ttl +scan +client|tracking +cluster|slots +command
user monitor on #$monitor +ping +info +client|setname +slowlog|get +slowlog|len +latency|latest +latency|histogram
END
# Of a replica: how it logs in to its master, and the name that sentinels tell of it.
cat > /tmp/login.conf <<END
aclfile /tmp/users.acl
masterauth "$(cat /run/secrets/redis_admin_password)"
replica-announce-ip $(hostname)
END
exec redis-server "$@" --include /tmp/login.conf
