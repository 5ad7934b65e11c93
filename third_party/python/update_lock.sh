#!/bin/bash
# Rewrites the locks beside this script from the .in files. Run it from anywhere:
#
#   third_party/python/update_lock.sh             # keeps the locked versions that still fit
#   third_party/python/update_lock.sh --upgrade   # takes the newest versions
#
# The locks name exact versions and the hash of every file, and no package host.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
readonly scratch="$(mktemp -d)"
trap 'rm -rf "${scratch}"' EXIT

"${MONOLITH_PYTHON:-python3}" -m venv "${scratch}/venv"
"${scratch}/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9

lock() {
  "${scratch}/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 \
    --generate-hashes --custom-compile-command third_party/python/update_lock.sh \
    --output-file "$@"
}

lock build_requirements.txt build_requirements.in "$@"
lock requirements.txt requirements.in --constraint build_requirements.txt "$@"
lock data_requirements.txt data_requirements.in --no-deps "$@"
lock ../recommenders_addons/requirements.txt ../recommenders_addons/requirements.in "$@"
