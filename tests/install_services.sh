#!/bin/sh
# What the tests need besides Python: Chromium for the journeys, PostgreSQL for the
# second database. Installed when missing (Debian or Ubuntu, as root or with sudo).
set -eu

missing=""
[ -x /usr/bin/chromium ] || missing="$missing chromium"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
[ -z "$missing" ] && exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 && as_root="sudo"
    [ -n "$as_root" ] || { echo "make test needs:$missing. Install them, then call it again." >&2; exit 1; }
fi
command -v apt-get >/dev/null 2>&1 || { echo "make test needs:$missing. Install them, then call it again." >&2; exit 1; }
echo "Installing$missing for the tests …"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
