# SPDX-License-Identifier: Apache-2.0
"""udp.py HOST PORT...: sends to an echo server, connected and not; prints what comes.

Of a port that begins with - only the error of a connected socket is printed.
"""
import errno
import socket
import sys

host, ports = sys.argv[1], sys.argv[2:]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
for port in ports:
    try:
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.settimeout(20)
        if port.startswith("-"):
            s.connect((host, int(port[1:])))
            s.send(b"x")
            s.recv(1)
            continue
        for size in 0, 1, 1400, 20000:
            s.sendto(bytes(size), (host, int(port)))
            data, peer = s.recvfrom(65536)
            assert len(data) == size and peer[:2] == (host, int(port)), (len(data), peer)
        assert s.getsockname()[1] != 0
        s.connect((host, int(port)))
        assert s.getpeername()[:2] == (host, int(port))
        s.send(b"hello")
        print(s.recv(100).decode())
        # One socket for everything: IPv6 with an IPv4 address.
        if family == socket.AF_INET:
            d = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            d.settimeout(20)
            d.sendto(b"mapped", ("::ffff:" + host, int(port)))
            data, peer = d.recvfrom(100)
            assert peer[0] == "::ffff:" + host, peer
            print(data.decode())
    except OSError as e:
        print(errno.errorcode.get(e.errno, e))
