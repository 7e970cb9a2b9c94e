#!/usr/bin/env bash
# Puts a MySQL server into the folder $1, with the libraries that it is linked with, and beside the machine's own: no
# release of Debian has one, its unstable suite has. `$1/mysqld` runs it. Nothing is installed, no service is started.
set -euo pipefail

folder=$1
[ ! -x "$folder/mysqld" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "trisagion: no MySQL can be fetched here; give MYSQLD= the path of one" >&2
    exit 1
fi
mirror=$(apt-get indextargets --format '$(REPO_URI)' | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists,archives,root}
: >"$work/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$work/sources.list"
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists"
    -o "Dir::State::status=$work/status" -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
echo "Fetching MySQL …"
"${apt[@]}" update
"${apt[@]}" --download-only --no-install-recommends -y install mysql-server-core >/dev/null
for package in "$work"/archives/*.deb; do dpkg-deb --extract "$package" "$work/root"; done
rm -rf "$folder"
mkdir -p "$folder"
mv "$work/root/usr" "$folder/usr"
cat >"$folder/mysqld" <<'END'
#!/bin/sh
here=$(dirname "$(realpath "$0")")
exec "$here/usr/lib64/ld-linux-x86-64.so.2" --library-path "$here/usr/lib/x86_64-linux-gnu" \
    "$here/usr/sbin/mysqld" "$@" --basedir="$here/usr"
END
chmod 755 "$folder/mysqld"
