// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"testing"
	"unsafe"
)

func TestCoreRecordSizes(t *testing.T) {
	for name, s := range map[string][2]uintptr{
		"conn": {unsafe.Sizeof(conn{}), 232}, "work": {unsafe.Sizeof(work{}), 256}, "run": {unsafe.Sizeof(run{}), 24},
		"span": {unsafe.Sizeof(span{}), 16}, "half open": {unsafe.Sizeof(halfOpen{}), 64}, "time wait": {unsafe.Sizeof(timeWait{}), 64},
	} {
		t.Logf("%s: %d bytes", name, s[0])
		if s[0] > s[1] || s[0]%8 != 0 {
			t.Errorf("%s: %d bytes, want at most %d and a multiple of 8", name, s[0], s[1])
		}
	}
}
