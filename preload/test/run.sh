#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs tests, each with a daemon of its own: run.sh LABEL FAKEDAEMON SHIM|- PROGRAM...
# Fails when one fails; a skip is told and counted as a failure if NO_SKIP is set.
set -u
label=$1 daemon=$2 shim=$3
shift 3
[ "$shim" = - ] && shim=
TMPDIR=$(mktemp -d) || exit 2
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
failed=0 passed=0
for test in "$@"; do
	timeout "${TEST_TIMEOUT:-30}" "$daemon" ${shim:+"$shim"} -- "$test"
	case $? in
	0) passed=$((passed + 1)) ;;
	77) echo "SKIP $label $(basename "$test")"; [ -z "${NO_SKIP:-}" ] || failed=$((failed + 1)) ;;
	*) echo "FAIL $label $(basename "$test")"; failed=$((failed + 1)) ;;
	esac
done
echo "$label: $passed passed, $failed failed"
[ "$failed" = 0 ]
