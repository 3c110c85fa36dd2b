#!/bin/sh
# Makes the passwords of compose.yaml at the first start, each where only its user reads it. Redis
# gets the digest of keyward's, not the password.
set -eu
umask 077
cd /secrets

# 256 bits, as hexadecimal digits.
password() { head -c 32 /dev/urandom | sha256sum | cut -d ' ' -f 1; }

# The last file that is made: with it, there are all.
if [ -s redis/users.acl ]; then
    echo 'the passwords are there'
    exit
fi
password > keyward/redis-password
password > grafana/admin-password
digest=$(tr -d '\n' < keyward/redis-password | sha256sum | cut -d ' ' -f 1)
# The default user is off, but keeps its rights: with them Redis reads its append-only file again,
# and leaves out what they do not allow. What keyward needs is in docs/fleet.md. The user of the
# health check may do nothing else.
rights='+@read +@write +@connection +@pubsub -@dangerous -@scripting +eval +evalsha +info +time'
cat > redis/users.new <<ACL
user default off ~* &* +@all
user keyward on #$digest ~{keyward}:* &{keyward}:* $rights
user health on nopass +ping
ACL
chown -R 10001:10001 keyward
chown -R 472:0 grafana
chown -R 999:1000 redis
mv redis/users.new redis/users.acl
echo 'passwords were made'
