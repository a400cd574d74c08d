# SPDX-License-Identifier: Apache-2.0
"""Datagrams, from either side.

serve PORT LOCAL4 LOCAL6 GROUP...   echo what comes, also to the groups and to
                                    the broadcast address; LOCAL6 is an address,
                                    on whose interface IPv6 groups are joined
ask FROM TO PORT SIZE...            send datagrams of these sizes and compare the
                                    echoes; "TO" may be a group or broadcast
poll FROM TO PORT SIZE              send one datagram, and print who echoed it, in
                                    order, when nobody did for a second
deaf PORT                           bind, and read nothing
flood TO PORT COUNT SIZE            send and wait for nothing
refused TO PORT                     a connected socket is told of a closed port
"""
import os, select, socket, struct, subprocess, sys, time


def family(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


def interface_of(addr):
    for index, name in socket.if_nameindex():
        out = subprocess.run(["ip", "-o", "addr", "show", "dev", name], capture_output=True, text=True).stdout
        if " %s/" % addr in out:
            return index
    return 0


def serve(port, local4, local6, groups):
    socks = []
    for f in (socket.AF_INET, socket.AF_INET6):
        s = socket.socket(f, socket.SOCK_DGRAM)
        if f == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind(("", port))
        for g in groups:
            if family(g) != f:
                continue
            if f == socket.AF_INET:
                mreq = socket.inet_aton(g) + socket.inet_aton(local4)
                s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, mreq)
            else:
                mreq = socket.inet_pton(f, g) + struct.pack("@I", interface_of(local6))
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, mreq)
        socks.append(s)
    print("ready", flush=True)
    while True:
        for s in select.select(socks, [], [])[0]:
            data, peer = s.recvfrom(70000)
            s.sendto(data, peer)


def sender(src, to):
    s = socket.socket(family(to), socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind((src, 0))
    if family(to) == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface_of(src))
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(src))
    s.settimeout(5)
    return s


def ask(src, to, port, sizes):
    s = sender(src, to)
    for size in sizes:
        data = os.urandom(size)
        s.sendto(data, (to, port))
        got, peer = s.recvfrom(70000)
        assert got == data, "%d bytes came back as %d" % (size, len(got))
        print("echo", size, "from", peer[0], flush=True)


def poll(src, to, port, size):
    s = sender(src, to)
    data = os.urandom(size)
    s.sendto(data, (to, port))
    who = []
    while not who or select.select([s], [], [], 1)[0]:
        got, peer = s.recvfrom(70000)
        assert got == data, "%d bytes came back as %d" % (size, len(got))
        who.append(peer[0])
    print(*sorted(who))


def deaf(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", port))
    print("ready", flush=True)
    time.sleep(3600)


def flood(to, port, count, size):
    s = socket.socket(family(to), socket.SOCK_DGRAM)
    for _ in range(count):
        s.sendto(bytes(size), (to, port))


def refused(to, port):
    s = socket.socket(family(to), socket.SOCK_DGRAM)
    s.connect((to, port))
    s.settimeout(5)
    for call in (lambda: s.recv(100), lambda: s.send(b"again")):
        s.send(b"x")
        try:
            select.select([s], [], [], 5)
            call()
        except ConnectionRefusedError:
            continue
        raise AssertionError("not refused")
    print("refused", flush=True)


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
elif sys.argv[1] == "ask":
    ask(sys.argv[2], sys.argv[3], int(sys.argv[4]), [int(n) for n in sys.argv[5:]])
elif sys.argv[1] == "poll":
    poll(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
elif sys.argv[1] == "deaf":
    deaf(int(sys.argv[2]))
elif sys.argv[1] == "flood":
    flood(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
else:
    refused(sys.argv[2], int(sys.argv[3]))
