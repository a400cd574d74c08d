// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"golang.org/x/sys/unix"
)

// fionbio is FIONBIO of asm-generic/ioctls.h.
const fionbio = 0x5421

// symbols are the constants that scripts write, as on Linux.
var symbols = map[string]int64{
	"AF_INET": unix.AF_INET, "AF_INET6": unix.AF_INET6, "AF_UNSPEC": unix.AF_UNSPEC, "PF_INET": unix.AF_INET, "PF_INET6": unix.AF_INET6,
	"SOCK_STREAM": unix.SOCK_STREAM, "SOCK_DGRAM": unix.SOCK_DGRAM, "SOCK_RAW": unix.SOCK_RAW,
	"SOCK_NONBLOCK": unix.SOCK_NONBLOCK, "SOCK_CLOEXEC": unix.SOCK_CLOEXEC,
	"IPPROTO_TCP": unix.IPPROTO_TCP, "IPPROTO_UDP": unix.IPPROTO_UDP, "IPPROTO_IP": unix.IPPROTO_IP, "IPPROTO_IPV6": unix.IPPROTO_IPV6,
	"IPPROTO_MPTCP": unix.IPPROTO_MPTCP, "INADDR_ANY": 0,

	"SOL_SOCKET": unix.SOL_SOCKET, "SOL_TCP": unix.SOL_TCP, "SOL_IP": unix.SOL_IP, "SOL_IPV6": unix.SOL_IPV6,
	"SO_REUSEADDR": unix.SO_REUSEADDR, "SO_REUSEPORT": unix.SO_REUSEPORT, "SO_KEEPALIVE": unix.SO_KEEPALIVE, "SO_LINGER": unix.SO_LINGER,
	"SO_ERROR": unix.SO_ERROR, "SO_SNDBUF": unix.SO_SNDBUF, "SO_RCVBUF": unix.SO_RCVBUF, "SO_SNDBUFFORCE": unix.SO_SNDBUFFORCE,
	"SO_RCVBUFFORCE": unix.SO_RCVBUFFORCE, "SO_SNDTIMEO": unix.SO_SNDTIMEO, "SO_RCVTIMEO": unix.SO_RCVTIMEO, "SO_RCVLOWAT": unix.SO_RCVLOWAT,
	"SO_TYPE": unix.SO_TYPE, "SO_ACCEPTCONN": unix.SO_ACCEPTCONN, "SO_PROTOCOL": unix.SO_PROTOCOL, "SO_DOMAIN": unix.SO_DOMAIN,
	"SO_ZEROCOPY": unix.SO_ZEROCOPY, "SO_PRIORITY": unix.SO_PRIORITY, "SO_MARK": unix.SO_MARK, "SO_TIMESTAMPING": unix.SO_TIMESTAMPING,
	"SO_MAX_PACING_RATE": unix.SO_MAX_PACING_RATE, "SO_BUSY_POLL": unix.SO_BUSY_POLL,

	"TCP_NODELAY": unix.TCP_NODELAY, "TCP_MAXSEG": unix.TCP_MAXSEG, "TCP_CORK": unix.TCP_CORK, "TCP_KEEPIDLE": unix.TCP_KEEPIDLE,
	"TCP_KEEPINTVL": unix.TCP_KEEPINTVL, "TCP_KEEPCNT": unix.TCP_KEEPCNT, "TCP_SYNCNT": unix.TCP_SYNCNT, "TCP_LINGER2": unix.TCP_LINGER2,
	"TCP_DEFER_ACCEPT": unix.TCP_DEFER_ACCEPT, "TCP_WINDOW_CLAMP": unix.TCP_WINDOW_CLAMP, "TCP_INFO": unix.TCP_INFO,
	"TCP_QUICKACK": unix.TCP_QUICKACK, "TCP_CONGESTION": unix.TCP_CONGESTION, "TCP_USER_TIMEOUT": unix.TCP_USER_TIMEOUT,
	"TCP_NOTSENT_LOWAT": unix.TCP_NOTSENT_LOWAT, "TCP_FASTOPEN": unix.TCP_FASTOPEN, "TCP_FASTOPEN_CONNECT": unix.TCP_FASTOPEN_CONNECT,
	"TCP_FASTOPEN_KEY": unix.TCP_FASTOPEN_KEY, "TCP_FASTOPEN_NO_COOKIE": unix.TCP_FASTOPEN_NO_COOKIE, "TCP_TIMESTAMP": unix.TCP_TIMESTAMP,
	"TCP_INQ": unix.TCP_INQ, "TCP_CM_INQ": unix.TCP_CM_INQ, "TCP_MD5SIG": unix.TCP_MD5SIG, "TCP_ZEROCOPY_RECEIVE": unix.TCP_ZEROCOPY_RECEIVE,
	"TCP_SAVE_SYN": unix.TCP_SAVE_SYN, "TCP_SAVED_SYN": unix.TCP_SAVED_SYN, "TCP_THIN_LINEAR_TIMEOUTS": unix.TCP_THIN_LINEAR_TIMEOUTS,

	"IP_TOS": unix.IP_TOS, "IP_TTL": unix.IP_TTL, "IP_MTU": unix.IP_MTU, "IP_MTU_DISCOVER": unix.IP_MTU_DISCOVER, "IP_RECVERR": unix.IP_RECVERR,
	"IP_BIND_ADDRESS_NO_PORT": unix.IP_BIND_ADDRESS_NO_PORT,
	"IP_PMTUDISC_DONT":        unix.IP_PMTUDISC_DONT, "IP_PMTUDISC_WANT": unix.IP_PMTUDISC_WANT, "IP_PMTUDISC_DO": unix.IP_PMTUDISC_DO,
	"IPV6_V6ONLY": unix.IPV6_V6ONLY, "IPV6_TCLASS": unix.IPV6_TCLASS, "IPV6_UNICAST_HOPS": unix.IPV6_UNICAST_HOPS, "IPV6_RECVERR": unix.IPV6_RECVERR,

	"MSG_PEEK": unix.MSG_PEEK, "MSG_DONTWAIT": unix.MSG_DONTWAIT, "MSG_WAITALL": unix.MSG_WAITALL, "MSG_TRUNC": unix.MSG_TRUNC,
	"MSG_NOSIGNAL": unix.MSG_NOSIGNAL, "MSG_MORE": unix.MSG_MORE, "MSG_OOB": unix.MSG_OOB, "MSG_EOR": unix.MSG_EOR,
	"MSG_ERRQUEUE": unix.MSG_ERRQUEUE, "MSG_ZEROCOPY": unix.MSG_ZEROCOPY, "MSG_FASTOPEN": unix.MSG_FASTOPEN, "MSG_CTRUNC": unix.MSG_CTRUNC,

	"SHUT_RD": unix.SHUT_RD, "SHUT_WR": unix.SHUT_WR, "SHUT_RDWR": unix.SHUT_RDWR,
	"F_GETFL": unix.F_GETFL, "F_SETFL": unix.F_SETFL, "O_RDONLY": unix.O_RDONLY, "O_WRONLY": unix.O_WRONLY, "O_RDWR": unix.O_RDWR,
	"O_NONBLOCK": unix.O_NONBLOCK,
	"SIOCINQ":    unix.SIOCINQ, "SIOCOUTQ": unix.SIOCOUTQ, "SIOCOUTQNSD": unix.SIOCOUTQNSD, "FIONREAD": unix.SIOCINQ, "FIONBIO": fionbio,
	"TIOCOUTQ": unix.SIOCOUTQ,

	"POLLIN": unix.POLLIN, "POLLOUT": unix.POLLOUT, "POLLERR": unix.POLLERR, "POLLHUP": unix.POLLHUP, "POLLNVAL": unix.POLLNVAL,
	"POLLPRI": unix.POLLPRI, "POLLRDHUP": unix.POLLRDHUP, "POLLRDNORM": unix.EPOLLRDNORM, "POLLWRNORM": unix.EPOLLWRNORM,
	"POLLRDBAND": unix.EPOLLRDBAND, "POLLWRBAND": unix.EPOLLWRBAND,
	"EPOLLIN": unix.EPOLLIN, "EPOLLOUT": unix.EPOLLOUT, "EPOLLERR": unix.EPOLLERR, "EPOLLHUP": unix.EPOLLHUP, "EPOLLPRI": unix.EPOLLPRI,
	"EPOLLRDHUP": unix.EPOLLRDHUP, "EPOLLRDNORM": unix.EPOLLRDNORM, "EPOLLWRNORM": unix.EPOLLWRNORM, "EPOLLET": unix.EPOLLET & 0xffffffff,
	"EPOLLONESHOT": unix.EPOLLONESHOT, "EPOLLEXCLUSIVE": unix.EPOLLEXCLUSIVE,
	"EPOLL_CTL_ADD": unix.EPOLL_CTL_ADD, "EPOLL_CTL_MOD": unix.EPOLL_CTL_MOD, "EPOLL_CTL_DEL": unix.EPOLL_CTL_DEL,
	"EPOLL_CLOEXEC": unix.EPOLL_CLOEXEC,
	"true":          1, "false": 0, "NULL": 0,
}

// infoSymbols are the names that code blocks know beside members of tcp_info.
var infoSymbols = map[string]int64{
	"TCP_ESTABLISHED": 1, "TCP_SYN_SENT": 2, "TCP_SYN_RECV": 3, "TCP_FIN_WAIT1": 4, "TCP_FIN_WAIT2": 5, "TCP_TIME_WAIT": 6,
	"TCP_CLOSE": 7, "TCP_CLOSE_WAIT": 8, "TCP_LAST_ACK": 9, "TCP_LISTEN": 10, "TCP_CLOSING": 11,
	"TCP_CA_Open": 0, "TCP_CA_Disorder": 1, "TCP_CA_CWR": 2, "TCP_CA_Recovery": 3, "TCP_CA_Loss": 4,
	"TCPI_OPT_TIMESTAMPS": 1, "TCPI_OPT_SACK": 2, "TCPI_OPT_WSCALE": 4, "TCPI_OPT_ECN": 8, "TCPI_OPT_ECN_SEEN": 16, "TCPI_OPT_SYN_DATA": 32,
}

// eval returns the number that an expression stands for.
func (r *runner) eval(e Expr) (int64, error) {
	switch e.Kind {
	case exprInt:
		return e.Int, nil
	case exprWord:
		if v, ok := symbols[e.Text]; ok {
			return v, nil
		}
		if v, ok := errnoByName[e.Text]; ok {
			return int64(v), nil
		}
		return 0, r.unsupported("constant %s is not known", e.Text)
	case exprOr:
		var v int64
		for _, o := range e.List {
			n, err := r.eval(o)
			if err != nil {
				return 0, err
			}
			v |= n
		}
		return v, nil
	case exprCall:
		if e.Text == "htons" && len(e.List) == 1 { // ports stay in host order here
			return r.eval(e.List[0])
		}
	case exprList:
		if len(e.List) == 1 { // [1]
			return r.eval(e.List[0])
		}
	}
	return 0, r.unsupported("want a number")
}
