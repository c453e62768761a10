#!/usr/bin/env bash
# Install Chromium for the browser tests from the system's packages; without it those tests are skipped.
set -euo pipefail
if ! command -v apt-get >/dev/null; then
  echo "Chromium was not found, and this system has no apt-get: install it by hand to run the browser tests." >&2
  exit 0
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq chromium >/dev/null
