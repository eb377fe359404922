#!/bin/bash
# Sets up the peers that are not Rust: two npm packages, and nginx with nchan from Debian. Says what it had to skip.
set -u
cd "$(dirname "$0")" || exit 1
skipped=()

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    skipped+=("@fanoutio/eventstream and better-sse: node and npm are missing")
elif ! npm ci --no-audit --no-fund; then
    skipped+=("@fanoutio/eventstream and better-sse: npm ci failed")
fi

nchan=/usr/lib/nginx/modules/ngx_nchan_module.so
if [ ! -e "$nchan" ]; then
    root=()
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    if ! command -v apt-get >/dev/null; then
        skipped+=("nchan: no apt-get here; nginx and $nchan are needed")
    elif ! "${root[@]}" apt-get install -y --no-install-recommends nginx libnginx-mod-nchan; then
        skipped+=("nchan: apt-get could not install nginx and libnginx-mod-nchan")
    fi
fi

for what in "${skipped[@]}"; do
    echo "skipped $what"
done
[ ${#skipped[@]} -gt 0 ] || echo "all peers are set up"
