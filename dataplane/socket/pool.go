// SPDX-License-Identifier: Apache-2.0

package socket

import "golang.org/x/sys/unix"

// BufferSize is the size of one ring buffer in bytes.
const BufferSize = 64 << 10

// buffersPerSlab is how many buffers one mapping holds.
const buffersPerSlab = 16

// Pool is the ring memory of one worker: buffers outside the Go heap, handed to
// sockets while bytes are in flight. It belongs to the worker's thread.
type Pool struct {
	max   int // buffers
	made  int
	free  [][]byte
	cold  int // how many at the bottom of free hold no memory
	slabs [][]byte
}

// NewPool makes a pool of at most size bytes. Memory is mapped when it is first
// needed.
func NewPool(size int) *Pool { return &Pool{max: size / BufferSize} }

// Get hands out one buffer, nil when the bound is reached. Its bytes are
// undefined.
func (p *Pool) Get() []byte {
	if len(p.free) == 0 && !p.grow() {
		return nil
	}
	n := len(p.free) - 1
	b := p.free[n]
	p.free = p.free[:n]
	p.cold = min(p.cold, n)
	return b
}

// Put takes a buffer back; nil is ignored.
func (p *Pool) Put(b []byte) {
	if b != nil {
		p.free = append(p.free, b)
	}
}

// InUse returns how many buffers are handed out.
func (p *Pool) InUse() int { return p.made - len(p.free) }

// Available reports whether Get may succeed.
func (p *Pool) Available() bool { return len(p.free) > 0 || p.made < p.max }

// Trim gives the memory of free buffers back to the kernel; the buffers stay
// free. For a worker that has become idle: it costs a system call per buffer
// that was used since the last time.
func (p *Pool) Trim() {
	for _, b := range p.free[p.cold:] {
		_ = unix.Madvise(b, unix.MADV_DONTNEED)
	}
	p.cold = len(p.free)
}

// Close unmaps everything. No buffer may be used any more.
func (p *Pool) Close() {
	for _, s := range p.slabs {
		_ = unix.Munmap(s)
	}
	*p = Pool{}
}

func (p *Pool) grow() bool {
	n := min(buffersPerSlab, p.max-p.made)
	if n <= 0 {
		return false
	}
	s, err := unix.Mmap(-1, 0, n*BufferSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return false
	}
	p.slabs = append(p.slabs, s)
	p.made += n
	if cap(p.free) < p.made {
		// Put never allocates: there is room for every buffer made.
		p.free = append(make([][]byte, 0, 2*p.made), p.free...)
	}
	for i := range n {
		p.free = append(p.free, s[i*BufferSize:(i+1)*BufferSize:(i+1)*BufferSize])
	}
	return true
}
