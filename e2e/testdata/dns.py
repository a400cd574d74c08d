# SPDX-License-Identifier: Apache-2.0
"""dns.py HOW NAME: asks the first nameserver of resolv.conf for an A record.

HOW is connected or unconnected, by UDP, or tcp: two queries in one segment, and
the end behind them.
"""
import socket
import struct
import sys

how, name = sys.argv[1:]
with open("/etc/resolv.conf") as conf:
    server = [l.split()[1] for l in conf if l.startswith("nameserver")][0]
family = socket.AF_INET6 if ":" in server else socket.AF_INET
query = struct.pack(">6H", 0x1234, 0x100, 1, 0, 0, 0)
query += b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">2H", 1, 1)


def exactly(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        assert more, data
        data += more
    return data


if how == "tcp":
    s = socket.create_connection((server, 53), 20)
    assert s.getpeername()[:2] == (server, 53)
    assert s.getsockname()[1] != 0 and not s.getsockname()[0].startswith("0."), s.getsockname()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(2 * (struct.pack(">H", len(query)) + query))
    s.shutdown(socket.SHUT_WR)
    answer, again = (exactly(s, struct.unpack(">H", exactly(s, 2))[0]) for _ in range(2))
    assert answer == again, again
    assert s.recv(1) == b""
else:
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(20)
    if how == "connected":
        s.connect((server, 53))
        assert s.getpeername()[:2] == (server, 53)
        s.send(query)
    else:
        s.sendto(query, (server, 53))
    answer, peer = s.recvfrom(4096)
    assert peer[:2] == (server, 53), peer
    assert s.getsockname()[1] != 0
assert answer[:2] == query[:2]
code = {0: "NOERROR", 3: "NXDOMAIN", 5: "REFUSED"}[answer[3] & 15]
count = struct.unpack(">H", answer[6:8])[0]
print(code, *([socket.inet_ntoa(answer[-4:])] if count else []))
