# SPDX-License-Identifier: Apache-2.0
"""hold.py HOST PORT UDP-PORT: connects to a web server and to an echo server of UDP.

After a line on the standard input it uses both and prints the SHA-256 of /file and
what came back, then what becomes of new sockets.
"""
import errno
import hashlib
import socket
import sys

host, port, udp = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
stream = socket.create_connection((host, port), 20)
dgram = socket.socket(family, socket.SOCK_DGRAM)
dgram.settimeout(20)
dgram.connect((host, udp))
dgram.send(b"first")
assert dgram.recv(100) == b"first"
print("ready", flush=True)
sys.stdin.readline()

stream.sendall(b"GET /file HTTP/1.0\r\n\r\n")
answer = b""
while block := stream.recv(1 << 16):
    answer += block
print(hashlib.sha256(answer.partition(b"\r\n\r\n")[2]).hexdigest())
dgram.send(b"second")
print(dgram.recv(100).decode())
for kind, to in (socket.SOCK_STREAM, port), (socket.SOCK_DGRAM, udp):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(20)
            s.connect((host, to))
            print("connected")
    except OSError as e:
        print(errno.errorcode.get(e.errno, e))
