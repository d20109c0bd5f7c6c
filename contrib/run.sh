#!/usr/bin/env bash
# Installs what is missing, builds CliquePay with its web app, and runs it on this machine.
#
#   contrib/run.sh [FOLDER]
#
# FOLDER (./data) holds config.toml, written at the first run, and everything that the server keeps. The configuration is
# one for trying things out: loopback only, and whoever reaches it may create accounts.
set -euo pipefail
# shellcheck source=contrib/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

case "${1:-}" in
  -h | --help)
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac
folder=$(realpath -m "${1:-$root/data}")

check_toolchains
# shellcheck disable=SC2046
install_packages $(missing_for_build)

echo "building the web app"
install_web
build_web
echo "building the server (the first time takes a while)"
(cd "$root" && cargo build --release --locked --package homeserver)

config=$folder/config.toml
if [ ! -e "$config" ]; then
  mkdir -p "$folder"
  cat >"$config.new" <<TOML
# Written by contrib/run.sh for trying things out on one machine. config.toml.example explains every option.
server_name = "localhost"
data_dir = '$folder'
listen = ["127.0.0.1:8008"]

# Open registration: right on loopback, wrong where strangers can reach it.
[auth.registration]
enabled = true
without_verification = true
TOML
  mv "$config.new" "$config"
  echo "wrote $config: the server is called localhost, and whoever reaches 127.0.0.1:8008 may create accounts"
fi

exec "$CARGO_TARGET_DIR/release/cliquepay" --config "$config"
