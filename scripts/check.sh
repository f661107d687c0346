#!/usr/bin/env bash
# Static checks: ruff, codespell, and mypy --strict on the installed wheel.
#
# mypy reads the wheel because only there do agentgym.envs, .tasks and .sandboxes lie where their
# names say; in the source tree a checker follows nothing across the mapped folders.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A part's time, and its output when it failed.
check() {
  local name=$1 started milliseconds
  shift
  started=$(date +%s%N)
  "$@" || {
    printf '[check] %s: FAILED\n' "$name" >&2
    exit 1
  }
  milliseconds=$((($(date +%s%N) - started) / 1000000))
  printf '[check] %s … %d.%d s\n' "$name" $((milliseconds / 1000)) $((milliseconds % 1000 / 100))
}

types() {
  # From inside, so that paths, and with them mypy's cache, are the same at every run.
  scripts/build_wheel.sh "$work" &&
    "$bin/python" -m pip install -q --no-deps --no-index --target "$work/site" "$work"/*.whl &&
    cd "$work/site" &&
    MYPYPATH=. "$bin/mypy" --strict --config-file "$root/pyproject.toml" \
      --cache-dir "$root/.mypy_cache" --python-executable "$bin/python" -p agentgym
}

check "ruff check" "$bin/ruff" check -q .
check "ruff format" "$bin/ruff" format -q --check .
check codespell "$bin/codespell"
check mypy types
