# SPDX-License-Identifier: Apache-2.0
"""udpserver.py PORT: tells everybody who writes to it who they are, and echoes.

A datagram "connect" is answered by a second socket, connected to who sent it.
"""
import socket
import sys

port = int(sys.argv[1])
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
s.bind(("::", port))
print("ready", flush=True)
while True:
    data, control, _, peer = s.recvmsg(65536, 256)
    local = socket.inet_ntop(socket.AF_INET6, control[0][2][:16])
    answer = "%s %d %s\n" % (peer[0], peer[1], local)
    if data == b"connect":
        c = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        c.bind(("::", port))
        c.connect(peer)
        c.send(answer.encode())
        c.recv(100)  # from that peer alone
        c.send(b"again")
        c.close()
        continue
    s.sendto(answer.encode() + data, peer)
