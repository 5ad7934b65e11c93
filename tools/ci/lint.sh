#!/bin/bash
# Checks the formatting of all files, or mends it:
#
#   tools/ci/lint.sh         # lists what is wrong and fails
#   tools/ci/lint.sh --fix   # rewrites what can be rewritten
#
# clang-format and ruff come from the Python environment that the builds use,
# buildifier from the npm registry; all in fixed versions.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fix=
case "${1:-}" in
  '') ;;
  --fix) fix=1 ;;
  *) echo "usage: tools/ci/lint.sh [--fix]" >&2 && exit 2 ;;
esac
readonly fix

# Prints the files of the repository, new ones too, that match the patterns.
files() {
  git ls-files --cached --others --exclude-standard --deduplicate -z -- "$@" |
    while IFS= read -r -d '' file; do
      if [[ -f "${file}" ]]; then printf '%s\0' "${file}"; fi
    done
}

readonly python_folder=third_party/python
environment="$("${MONOLITH_PYTHON:-/usr/bin/python3}" -B \
  "${python_folder}/create_environment.py" --print-folder \
  "${python_folder}"/{build_requirements,requirements,data_requirements}.txt)"
readonly tools="${environment}/bin"

failed=0
# Runs one check: its name, then the command.
check() {
  local name="$1"
  shift
  if "$@"; then
    echo "lint: ${name} is content"
  else
    echo "lint: ${name} is not; tools/ci/lint.sh --fix mends what can be mended" >&2
    failed=1
  fi
}

clang_format() {
  local mode=(--dry-run --Werror)
  [[ -n "${fix}" ]] && mode=(-i)
  files '*.cc' '*.h' | xargs -0 -r "${tools}/clang-format" "${mode[@]}"
}

ruff_format() {
  local mode=(--diff)
  [[ -n "${fix}" ]] && mode=()
  "${tools}/ruff" format --no-cache --quiet "${mode[@]}" .
}

ruff_check() {
  local mode=()
  [[ -n "${fix}" ]] && mode=(--fix)
  "${tools}/ruff" check --no-cache --quiet "${mode[@]}" .
}

buildifier() {
  local mode=(-mode=check -lint=warn) warnings
  [[ -n "${fix}" ]] && mode=(-mode=fix -lint=fix)
  if ! command -v npx >/dev/null; then
    echo "lint: npx is missing; install the system package npm" >&2
    return 1
  fi
  # Bazel's own rules are called in one file only, and a workspace's macro makes
  # repositories with names of their own.
  warnings=-native-cc-binary,-native-cc-library,-native-cc-test,-native-py,-unnamed-macro
  files 'WORKSPACE' '*/WORKSPACE' 'BUILD' '*/BUILD' '*.bzl' |
    xargs -0 -r npx --yes --loglevel=error @bazel/buildifier@8.2.1 \
      "${mode[@]}" "-warnings=${warnings}"
}

check clang-format clang_format
check 'ruff format' ruff_format
check 'ruff check' ruff_check
check buildifier buildifier
exit "${failed}"
