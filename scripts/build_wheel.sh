#!/usr/bin/env bash
# Build the wheel from a clean copy of the sources: scripts/build_wheel.sh DIRECTORY
#
# In place, setuptools would leave build/lib behind, and pack modules deleted since from there.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
wheels=$(cd "$1" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

cd "$root"
tar -cf - --exclude=__pycache__ \
  pyproject.toml README.md LICENSE agentgym envs tasks sandboxes | tar -xf - -C "$copy"
.venv/bin/python -m build --wheel --no-isolation --outdir "$wheels" "$copy" >"$copy/log" 2>&1 || {
  cat "$copy/log" >&2
  exit 1
}
