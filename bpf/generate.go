// SPDX-License-Identifier: Apache-2.0

package bpf

//go:generate go tool -modfile=../tools/go.mod bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel,bpfeb -type verdict overlay overlay.c -- -O2 -mcpu=v3 -Wall -Werror
