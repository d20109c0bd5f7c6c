# shellcheck shell=bash
# Shared by run.sh and test.sh: finds the project, installs what is missing. Sourced by bash, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cliquepay
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}

fail() {
  echo "error: $*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null || fail "run as root, or install sudo: $*"
    sudo "$@"
  fi
}

# install_packages NAME …: those Debian packages that are not there yet.
install_packages() {
  [ $# -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "these Debian packages, or what your system calls them, are missing: $*"
  echo "installing: $*"
  as_root apt-get update -qq || return 1
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null
}

# version_at_least FOUND WANTED
version_at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# Prints the Debian packages that a build needs and that are not there.
missing_for_build() {
  if ! type -P cc c++ make >/dev/null || ! echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1; then
    echo build-essential
  fi
  # bindgen reads RocksDB's headers through it: the library, and the compiler's own headers.
  if ! { compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' && compgen -G '/usr/lib/llvm-*/lib/clang/*/include'; } >/dev/null; then
    echo libclang-dev
  fi
}

# Prints those that the tests need beside.
missing_for_tests() {
  [ -n "${CHROMIUM:-}" ] || [ -x /usr/bin/chromium ] || echo chromium
  type -P strace >/dev/null || echo strace
  type -P kill >/dev/null || echo procps
  type -P mount >/dev/null || echo mount
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

check_toolchains() {
  type -P cargo >/dev/null || fail "Rust is missing: see https://rustup.rs"
  type -P node npm >/dev/null || fail "Node.js 20 with npm is missing: see https://nodejs.org"
  local wanted
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
  version_at_least "$(rustc --version | cut -d' ' -f2)" "$wanted" || fail "Rust $wanted or newer is needed, this is $(rustc --version)"
  version_at_least "$(node --version | tr -d v)" 20.19 || fail "Node.js 20.19 or newer is needed, this is $(node --version)"
}

# install_npm FOLDER: npm ci, unless what is installed is what package-lock.json says already.
install_npm() {
  local folder=$root/$1
  local mark=$folder/node_modules/.installed
  if ! cmp -s "$folder/package-lock.json" "$mark"; then
    (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error </dev/null) && cp "$folder/package-lock.json" "$mark"
  fi
}

install_web() {
  install_npm src/web
}

# What runs in a newer Node.js than npm itself, which venv.sh brings.
install_test_scripts() {
  install_npm tests
}

build_web() {
  (cd "$root/src/web" && npm run --silent build </dev/null)
}
