#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The library needs no other, and nothing but two weak names.
set -eu
nm=${NM:-nm}
readelf=${READELF:-readelf}
lib=$1
undefined=$("$nm" -D --undefined-only "$lib" | awk '{ print $1, $2 }' | sort | tr '\n' ';')
[ "$undefined" = 'w __errno_location;w environ;' ] || { echo "undefined: $undefined"; exit 1; }
if "$readelf" -d "$lib" | grep -E 'NEEDED|TEXTREL|RPATH|RUNPATH'; then exit 1; fi
if "$readelf" -V "$lib" | grep -q '^Version'; then echo "symbol versions"; exit 1; fi
defined=$("$nm" -D --defined-only "$lib" | awk '{ print $3 }' | LC_ALL=C sort | tr '\n' ' ')
want='__connect __socket accept accept4 bind connect getpeername getsockname getsockopt listen setsockopt shutdown socket '
[ "$defined" = "$want" ] || { echo "defined: $defined"; exit 1; }
"$readelf" -lW "$lib" | grep 'GNU_STACK' | grep -qv 'RWE'
