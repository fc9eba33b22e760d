#!/usr/bin/env bash
# Builds the dashboard into web/dist, unless nothing of it changed since.
set -euo pipefail
cd "$(dirname "$0")/../web"
stamp=dist/.built-from
hash=$(git ls-files -co --exclude-standard . | LC_ALL=C sort | while read -r file; do [ ! -f "$file" ] || sha256sum "$file"; done | sha256sum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$hash" ]; then
  exit 0
fi
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules ]; then npm ci --no-audit --no-fund --loglevel=error; fi
npm run --silent build
echo "$hash" >"$stamp"
