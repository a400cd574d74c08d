#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Install the Debian packages named as arguments, those of them that are missing:
#
#	tools/deps.sh PACKAGE...
#
# Nothing is touched when none is missing; another apt that runs is waited for.
# Services that come with a package are not started: while apt runs, policy-rc.d
# says no.
set -eu

if ! command -v dpkg-query >/dev/null; then
	echo "deps: not a Debian system; install what corresponds to: $*" >&2
	exit 1
fi

missing=
for package; do
	status=$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null || true)
	case $status in
	installed*) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0
echo "deps: installing$missing"

root=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
		echo "deps: neither root nor sudo; have these packages installed:$missing" >&2
		exit 1
	fi
	root=sudo
fi

policy=/usr/sbin/policy-rc.d
made=
cleanup() {
	[ -z "$made" ] || $root rm -f "$policy"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
	made=yes
	printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
	$root chmod 755 "$policy"
fi

$root env DEBIAN_FRONTEND=noninteractive apt-get update -q
# Words of $missing are package names.
# shellcheck disable=SC2086
$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 $missing
