#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Make the tests of redis, whose source the current directory is, run the
# installed programs. Tests that load modules need more than these.
set -eu

for program in redis-server redis-cli redis-benchmark redis-check-aof redis-check-rdb; do
	ln -sf "$(command -v $program)" src/$program
done
