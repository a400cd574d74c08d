// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// mapping is a mapping of a socket in this process, as /proc/self/maps has it.
type mapping struct {
	start  uintptr
	offset int64
	socket string // "socket:[inode]"
}

// socketMappings returns what of AF_XDP sockets is mapped: at the offsets of
// their rings.
func socketMappings() (map[mapping]bool, error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("read own mappings: %w", err)
	}
	defer func() { _ = f.Close() }()
	found := map[mapping]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if m, ok := parseMapping(lines.Text()); ok {
			found[m] = true
		}
	}
	return found, lines.Err()
}

// parseMapping reads a line of /proc/self/maps: "start-end perms offset dev
// inode name". It returns false for what is not a ring.
func parseMapping(line string) (mapping, bool) {
	f := strings.Fields(line)
	if len(f) != 6 || !strings.HasPrefix(f[5], "socket:[") {
		return mapping{}, false
	}
	low, _, _ := strings.Cut(f[0], "-")
	start, err1 := strconv.ParseUint(low, 16, 64)
	offset, err2 := strconv.ParseInt(f[2], 16, 64)
	if err1 != nil || err2 != nil {
		return mapping{}, false
	}
	for _, r := range rings {
		if r.offset == offset {
			return mapping{uintptr(start), offset, f[5]}, true
		}
	}
	return mapping{}, false
}

// unmapNew unmaps the rings that were not there before: what a failed NewSocket
// of the library left behind. They would keep the kernel's socket, and the
// memory of its UMEM, until the process ends.
func unmapNew(before map[mapping]bool, l *layout, entries *[numRings]int) error {
	now, err := socketMappings()
	if err != nil {
		return err
	}
	for m := range now {
		if before[m] {
			continue
		}
		for k, r := range rings {
			if r.offset != m.offset {
				continue
			}
			if err := unmapAt(m.start, l.bytes(ringKind(k), entries[k])); err != nil {
				return fmt.Errorf("unmap %s ring: %w", r.name, err)
			}
		}
	}
	return nil
}
