// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// memory is what an engine keeps its records in: one memfd of sparse regions,
// each mapped at the greatest size it may reach. A page that was never touched
// costs nothing, so memory follows use in steps of 4 KiB without a copy; a page
// that is released costs nothing again. The Go heap holds no part of it and the
// collector never sees it.
//
// The first page describes the rest: a process that gets the memfd can find and
// check every region before it trusts one.
type memory struct {
	fd   int // -1: no memfd was to be had, the regions are anonymous
	head []byte
	maps [][]byte
	end  int64 // where the next region begins in the file
}

const (
	pageSize = 4096

	memoryMagic   = 0x4e43_5443_5031_0a00 // "NCTCP1\n\0"
	memoryVersion = 1

	// Layout of the first page: magic, version, number of regions, then 64
	// bytes per region: name (24), offset, size (8 each), record size and
	// layout (8 each), and 8 for its owner.
	memoryHeadLen  = 64
	memoryEntryLen = 64
	memoryMost     = pageSize/memoryEntryLen - 1
)

// newMemory makes an empty memory. name is for people who look at /proc.
func newMemory(name string) (*memory, error) {
	m := &memory{fd: -1, end: pageSize}
	fd, err := unix.MemfdCreate("netcon-tcp-"+name, unix.MFD_CLOEXEC)
	switch {
	case err == nil:
		m.fd = fd
	case !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("memory of engine %q: memfd_create: %w", name, err)
	}
	if m.head, err = m.mapping(0, pageSize); err != nil {
		m.close()
		return nil, fmt.Errorf("memory of engine %q: %w", name, err)
	}
	binary.LittleEndian.PutUint64(m.head, memoryMagic)
	binary.LittleEndian.PutUint32(m.head[8:], memoryVersion)
	return m, nil
}

// region adds size bytes of zeros. layout is a hash of what a record looks like
// (layoutOf).
func (m *memory) region(name string, size, record int, layout uint64) ([]byte, error) {
	size = (size + pageSize - 1) &^ (pageSize - 1)
	n := len(m.maps)
	if n >= memoryMost || size <= 0 {
		return nil, fmt.Errorf("memory region %q of %d bytes: no room", name, size)
	}
	b, err := m.mapping(m.end, size)
	if err != nil {
		return nil, fmt.Errorf("memory region %q of %d bytes: %w", name, size, err)
	}
	m.maps = append(m.maps, b)
	e := m.head[memoryHeadLen+n*memoryEntryLen:][:memoryEntryLen]
	copy(e[:24], name)
	binary.LittleEndian.PutUint64(e[24:], uint64(m.end))
	binary.LittleEndian.PutUint64(e[32:], uint64(size))
	binary.LittleEndian.PutUint64(e[40:], uint64(record))
	binary.LittleEndian.PutUint64(e[48:], layout)
	binary.LittleEndian.PutUint32(m.head[12:], uint32(n+1))
	m.end += int64(size)
	return b, nil
}

func (m *memory) mapping(at int64, size int) ([]byte, error) {
	flags := unix.MAP_SHARED | unix.MAP_NORESERVE
	if m.fd < 0 {
		flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE
	} else if err := unix.Ftruncate(m.fd, at+int64(size)); err != nil {
		return nil, fmt.Errorf("ftruncate to %d bytes: %w", at+int64(size), err)
	}
	b, err := unix.Mmap(m.fd, at, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes: %w", size, err)
	}
	return b, nil
}

// release gives the pages of b, part of a region, back to the kernel: they read
// as zeros afterwards. b begins and ends on page boundaries of the region. The
// system call is not worth its failing: then the pages are only cleared.
func (m *memory) release(b []byte) {
	advice := unix.MADV_REMOVE // a hole in the file
	if m.fd < 0 {
		advice = unix.MADV_DONTNEED
	}
	if len(b) > 0 && unix.Madvise(b, advice) != nil {
		clear(b)
	}
}

// close unmaps everything. What points into it must not be used again.
func (m *memory) close() {
	for _, b := range m.maps {
		_ = unix.Munmap(b)
	}
	if m.head != nil {
		_ = unix.Munmap(m.head)
	}
	if m.fd >= 0 {
		_ = unix.Close(m.fd)
	}
	*m = memory{fd: -1}
}
