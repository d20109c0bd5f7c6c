#!/bin/sh
# Makes the virtual environment of the stock-client tests, once per set of pins, and prints its Python's path.
# The environment lies in ~/.cache/cliquepay/venv, or where STOCK_VENV says.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${STOCK_VENV:-$HOME/.cache/cliquepay/venv}
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
  mkdir -p "$(dirname "$venv")"
  python3 -m venv --clear "$venv" >&2
  "$venv/bin/python" -m pip install -q -r "$here/requirements.txt" >&2
  cp "$here/requirements.txt" "$venv/installed.txt"
fi
echo "$venv/bin/python"
