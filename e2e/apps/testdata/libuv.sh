#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Build libuv and its tests in the current directory, which is libuv's source.
set -eu

unix='async core dl epoll fs getaddrinfo getnameinfo linux-core linux-inotify linux-syscalls loop loop-watcher
	pipe poll process procfs-exepath proctitle random-devurandom random-getrandom random-sysctl-linux signal
	stream tcp thread tty udp'
flags='-O1 -w -D_GNU_SOURCE -Iinclude -Isrc -pthread'

# The tests include some of the library's files: its own must not be seen.
# shellcheck disable=SC2046,SC2086
gcc $flags -shared -fPIC -fvisibility=hidden -DBUILDING_UV_SHARED=1 -o libuv-tested.so \
	src/*.c $(printf 'src/unix/%s.c ' $unix) -ldl
# shellcheck disable=SC2086
gcc $flags -DUSING_UV_SHARED=1 -o uv_run_tests test/test-*.c test/blackhole-server.c test/echo-server.c \
	test/run-tests.c test/runner.c test/runner-unix.c -Wl,-rpath,"$PWD" "$PWD/libuv-tested.so" -ldl -lutil
