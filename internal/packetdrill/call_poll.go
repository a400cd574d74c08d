// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// epoll is an epoll descriptor.
type epoll struct{ items []*epollItem }

// epollItem is one socket that an epoll descriptor watches.
type epollItem struct {
	s        *sock
	events   uint32
	data     int64 // as the script gave it
	ready    bool
	disabled bool // by EPOLLONESHOT
	gone     bool // the socket was closed
}

func (*epoll) mask(*runner) uint32 { return 0 }

// poll returns what an item would report now.
func (i *epollItem) poll(r *runner) uint32 {
	return i.s.mask(r) & (i.events | unix.EPOLLERR | unix.EPOLLHUP)
}

type pollEntry struct {
	fd, events, revents int64
}

func (r *runner) members(e Expr, names ...string) (map[string]int64, error) {
	if e.Kind != exprStruct {
		return nil, r.unsupported("want a structure")
	}
	got := map[string]int64{}
	for _, f := range e.Fld {
		ok := false
		for _, n := range names {
			ok = ok || n == f.Name
		}
		if !ok {
			return nil, r.unsupported("member %s is not known", f.Name)
		}
		v, err := r.eval(f.Value)
		if err != nil {
			return nil, err
		}
		got[f.Name] = v
	}
	return got, nil
}

func (r *runner) sysPoll(c *Call) (try, time.Duration, error) {
	if err := r.args(c, 3, 3); err != nil {
		return nil, 0, err
	}
	if c.Args[0].Kind != exprList {
		return nil, 0, r.unsupported("want [{fd=4, events=POLLIN, revents=POLLIN}]")
	}
	var list []pollEntry
	for _, e := range c.Args[0].List {
		v, err := r.members(e, "fd", "events", "revents")
		if err != nil {
			return nil, 0, err
		}
		list = append(list, pollEntry{v["fd"], v["events"], v["revents"]})
	}
	ms, err := r.eval(c.Args[2])
	if err != nil {
		return nil, 0, err
	}
	return func(last bool) (result, bool) {
		res := result{}
		got := make([]int64, len(list))
		for i, p := range list {
			if f, ok := r.files[int(p.fd)]; ok {
				got[i] = int64(f.mask(r)) & (p.events | unix.POLLERR | unix.POLLHUP)
			} else {
				got[i] = unix.POLLNVAL
			}
			res.n += b2i(got[i] != 0)
		}
		res.check = func() error {
			for i, p := range list {
				if got[i] != p.revents {
					return r.fail("poll: expected revents %#x of fd %d, got %#x", p.revents, p.fd, got[i])
				}
			}
			return nil
		}
		return res, res.n > 0 || last || ms == 0
	}, milliseconds(ms), nil
}

// milliseconds turns a timeout in milliseconds into a time; negative: for ever.
func milliseconds(ms int64) time.Duration {
	if ms < 0 {
		return forever
	}
	return time.Duration(ms) * time.Millisecond
}

func (r *runner) sysEpollCreate(c *Call) (try, time.Duration, error) {
	if err := r.args(c, 1, 1); err != nil {
		return nil, 0, err
	}
	n, err := r.eval(c.Args[0])
	if err != nil {
		return nil, 0, err
	}
	if c.Name == "epoll_create" && n <= 0 {
		return now(failed(syscall.EINVAL)), forever, nil
	}
	fd, err := r.newFD(c)
	if err != nil {
		return nil, 0, err
	}
	r.files[fd] = &epoll{}
	return now(result{n: int64(fd)}), forever, nil
}

func (r *runner) epollArg(c *Call) (*epoll, syscall.Errno, error) {
	fd, err := r.eval(c.Args[0])
	if err != nil {
		return nil, 0, err
	}
	f, ok := r.files[int(fd)]
	if !ok {
		return nil, syscall.EBADF, nil
	}
	e, ok := f.(*epoll)
	if !ok {
		return nil, syscall.EINVAL, nil
	}
	return e, 0, nil
}

// epollEvent reads {events=EPOLLIN, fd=4}; the data may be named ptr, u32 or u64.
func (r *runner) epollEvent(e Expr) (events uint32, data int64, err error) {
	v, err := r.members(e, "events", "fd", "ptr", "u32", "u64")
	if err != nil {
		return 0, 0, err
	}
	return uint32(v["events"]), v["fd"] + v["ptr"] + v["u32"] + v["u64"], nil
}

func (r *runner) sysEpollCtl(c *Call) (try, time.Duration, error) {
	if err := r.args(c, 4, 4); err != nil {
		return nil, 0, err
	}
	ep, e, err := r.epollArg(c)
	if err != nil || ep == nil {
		return now(failed(e)), forever, err
	}
	op, err := r.eval(c.Args[1])
	if err != nil {
		return nil, 0, err
	}
	fd, err := r.eval(c.Args[2])
	if err != nil {
		return nil, 0, err
	}
	var events uint32
	var data int64
	if c.Args[3].Kind == exprStruct {
		if events, data, err = r.epollEvent(c.Args[3]); err != nil {
			return nil, 0, err
		}
	} else if op != unix.EPOLL_CTL_DEL {
		return nil, 0, r.unsupported("want {events=EPOLLIN, fd=4}")
	}
	s, ok := r.files[int(fd)].(*sock)
	if !ok {
		return now(failed(syscall.EBADF)), forever, nil
	}
	return now(status(ep.control(r, op, s, events, data))), forever, nil
}

func (ep *epoll) control(r *runner, op int64, s *sock, events uint32, data int64) syscall.Errno {
	at := -1
	for i, item := range ep.items {
		if item.s == s && !item.gone {
			at = i
		}
	}
	switch op {
	case unix.EPOLL_CTL_ADD:
		if at >= 0 {
			return syscall.EEXIST
		}
		item := &epollItem{s: s, events: events, data: data}
		item.ready = item.poll(r) != 0
		ep.items, s.items = append(ep.items, item), append(s.items, item)
	case unix.EPOLL_CTL_MOD:
		if at < 0 {
			return syscall.ENOENT
		}
		item := ep.items[at]
		if events&unix.EPOLLEXCLUSIVE != 0 || item.events&unix.EPOLLEXCLUSIVE != 0 {
			return syscall.EINVAL
		}
		item.events, item.data, item.disabled = events, data, false
		item.ready = item.poll(r) != 0
	case unix.EPOLL_CTL_DEL:
		if at < 0 {
			return syscall.ENOENT
		}
		ep.items[at].gone = true
		ep.items = append(ep.items[:at], ep.items[at+1:]...)
	default:
		return syscall.EINVAL
	}
	return 0
}

type epollEvent struct {
	events uint32
	data   int64
}

// collect returns what epoll_wait returns, at most n, and settles what is ready
// afterwards: level-triggered items stay ready while they have something.
func (ep *epoll) collect(r *runner, n int64) (list []epollEvent) {
	var again []*epollItem
	for i := 0; i < len(ep.items) && int64(len(list)) < n; i++ {
		item := ep.items[i]
		if item.gone || item.disabled || !item.ready {
			continue
		}
		m := item.poll(r)
		item.ready = false
		if m == 0 {
			continue
		}
		list = append(list, epollEvent{m, item.data})
		switch {
		case item.events&unix.EPOLLONESHOT != 0:
			item.disabled = true
		case item.events&unix.EPOLLET == 0:
			again = append(again, item)
		}
	}
	for _, item := range again {
		item.ready = true
	}
	return list
}

func (r *runner) sysEpollWait(c *Call) (try, time.Duration, error) {
	if err := r.args(c, 4, 4); err != nil {
		return nil, 0, err
	}
	ep, e, err := r.epollArg(c)
	if err != nil || ep == nil {
		return now(failed(e)), forever, err
	}
	var want []epollEvent
	items := []Expr{c.Args[1]}
	if c.Args[1].Kind == exprList {
		items = c.Args[1].List
	}
	for _, i := range items {
		if i.Kind == exprEllipsis {
			continue
		}
		events, data, err := r.epollEvent(i)
		if err != nil {
			return nil, 0, err
		}
		want = append(want, epollEvent{events, data})
	}
	most, err := r.eval(c.Args[2])
	if err != nil {
		return nil, 0, err
	}
	if most <= 0 {
		return now(failed(syscall.EINVAL)), forever, nil
	}
	ms, err := r.eval(c.Args[3])
	if err != nil {
		return nil, 0, err
	}
	return func(last bool) (result, bool) {
		got := ep.collect(r, most)
		res := result{n: int64(len(got)), check: func() error {
			for i, g := range got {
				if i < len(want) && g != want[i] {
					return r.fail("epoll_wait: expected events %#x data %d, got events %#x data %d", want[i].events, want[i].data, g.events, g.data)
				}
			}
			return nil
		}}
		return res, len(got) > 0 || last || ms == 0
	}, milliseconds(ms), nil
}
