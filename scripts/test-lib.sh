# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the parts in scripts/test.d.  Each part runs in the top directory and prints "N passed, N failed,
# N skipped" as its last line.
cd "$(dirname "$0")/../.." || exit 1
jobs=$(nproc 2>/dev/null || echo 1)
make="make -s --no-print-directory"
passed=0 failed=0 skipped=0

# try NAME COMMAND...: one test; its output is shown when it fails.
try() {
  try_name=$1
  shift
  try_log=$(mktemp) || exit 1
  if "$@" >"$try_log" 2>&1 </dev/null; then
    passed=$((passed + 1))
    rm -f "$try_log"
    return 0
  fi
  failed=$((failed + 1))
  echo "FAILED: $try_name"
  tail -"${TEST_LINES:-60}" "$try_log"
  rm -f "$try_log"
  return 1
}

# add_counts COMMAND...: run it and add the counts of its last line; no such line counts as one failure.
add_counts() {
  counts_log=$(mktemp) || exit 1
  "$@" >"$counts_log" 2>&1 </dev/null
  counts_status=$?
  counts=$(grep -aE '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$counts_log" | tail -1 |
    sed -nE 's/.*(^|[^0-9])([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped.*/\2 \3 \4/p')
  if [ -n "$counts" ]; then
    set -- $counts
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
    # A run that says nothing failed and yet ends badly has failed.
    if [ $counts_status -ne 0 ] && [ "$2" -eq 0 ] && [ $counts_status -ne 77 ]; then failed=$((failed + 1)); fi
  else
    failed=$((failed + 1))
    set -- 0 1 0
  fi
  if [ "$2" -ne 0 ] || [ $counts_status -ne 0 ]; then tail -"${TEST_LINES:-200}" "$counts_log"; fi
  rm -f "$counts_log"
}

# missing WHAT: a file this part stands on does not exist.
missing() {
  echo "FAILED: $1 does not exist"
  failed=$((failed + 1))
}

finish() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ]
  exit
}
