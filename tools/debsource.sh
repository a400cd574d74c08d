#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Unpack the Debian source package PACKAGE, with Debian's patches, as directory
# DIR, which must not exist yet:
#
#	tools/debsource.sh PACKAGE DIR
#
# The host's list of sources is not touched: apt gets one of its own, with
# deb-src lines for the release that runs here.
set -eu

package=$1 dir=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$work/lists/partial" "$work/parts" "$work/cache"

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
key=/usr/share/keyrings/debian-archive-keyring.gpg
cat >"$work/list" <<LIST
deb-src [signed-by=$key] http://deb.debian.org/debian $release main
deb-src [signed-by=$key] http://deb.debian.org/debian-security $release-security main
LIST

apt() {
	apt-get -q -o Dir::Etc::SourceList="$work/list" -o Dir::Etc::SourceParts="$work/parts" \
		-o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@"
}

apt update
cd "$work"
apt source --download-only "$package"
dpkg-source --no-check -x ./*.dsc "$work/unpacked"
case $dir in
/*) ;;
*) dir=$OLDPWD/$dir ;;
esac
mkdir -p "$(dirname "$dir")"
mv "$work/unpacked" "$dir"
