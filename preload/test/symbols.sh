#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The library needs no other, and nothing but a few weak names.
set -eu
nm=${NM:-nm}
readelf=${READELF:-readelf}
lib=$1
undefined=$("$nm" -D --undefined-only "$lib" | awk '{ print $1, $2 }' | sort | tr '\n' ';')
[ "$undefined" = 'w __errno_location;w __libc_dlopen_mode;w __libc_dlsym;w __nss_configure_lookup;w dlsym;w environ;w gnu_get_libc_version;' ] || { echo "undefined: $undefined"; exit 1; }
if "$readelf" -d "$lib" | grep -E 'NEEDED|TEXTREL|RPATH|RUNPATH'; then exit 1; fi
if "$readelf" -V "$lib" | grep -q '^Version'; then echo "symbol versions"; exit 1; fi
defined=$("$nm" -D --defined-only "$lib" | awk '{ print $3 }' | LC_ALL=C sort | tr '\n' ' ')
want='__connect __poll __poll_chk __ppoll_chk __read __read_chk __recv_chk __recvfrom_chk __send __socket __write '\
'_nss_netcon_gethostbyaddr2_r _nss_netcon_gethostbyaddr_r _nss_netcon_gethostbyname2_r _nss_netcon_gethostbyname3_r '\
'_nss_netcon_gethostbyname4_r _nss_netcon_gethostbyname_r accept accept4 bind connect '\
'execl execle execlp execv execve execveat execvp execvpe fexecve fopen fopen64 freeaddrinfo freeifaddrs getaddrinfo gethostbyaddr gethostbyaddr_r gethostbyname gethostbyname2 gethostbyname2_r gethostbyname_r getifaddrs getnameinfo getpeername getsockname getsockopt if_freenameindex if_indextoname if_nameindex if_nametoindex ioctl listen '\
'poll posix_spawn posix_spawnp ppoll read readv recv recvfrom recvmmsg recvmsg send sendfile sendfile64 sendmmsg sendmsg sendto '\
'setsockopt shutdown socket splice syscall write writev '
[ "$defined" = "$want" ] || { echo "defined: $defined"; exit 1; }
"$readelf" -lW "$lib" | grep 'GNU_STACK' | grep -qv 'RWE'
