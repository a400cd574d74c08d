# SPDX-License-Identifier: Apache-2.0
"""Datagrams of asyncio: an echo server, and clients that compare.

    datagrams.py serve PORT
    datagrams.py client ADDRESS PORT CLIENTS DATAGRAMS
    datagrams.py refused ADDRESS PORT

The server prints "ready". Half of the clients are connected. Each waits for the
echo of a datagram before it sends the next, and sends again what was lost. Only
the first sends large ones: those of all do not fit into a socket's queue. asyncio
sends no empty ones.
"""

import asyncio
import random
import sys


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class Client(asyncio.DatagramProtocol):
    def __init__(self):
        self.queue = asyncio.Queue()

    def datagram_received(self, data, address):
        self.queue.put_nowait((data, address))

    def error_received(self, error):
        self.queue.put_nowait((error, None))


async def serve(port):
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Echo, local_addr=("::", port))
    print("ready", flush=True)
    await asyncio.Event().wait()


async def client(address, port, number, count):
    loop = asyncio.get_running_loop()
    connected = number % 2 == 0
    where = {"remote_addr": (address, port)} if connected else {"local_addr": ("::" if ":" in address else "0.0.0.0", 0)}
    transport, protocol = await loop.create_datagram_endpoint(Client, **where)
    for i in range(count):
        size = random.choice((1, 100, 1400, 1500, 9000, 60000 if number == 0 else 5000))
        data = random.randbytes(size)
        for attempt in range(5):
            transport.sendto(data, None if connected else (address, port))
            try:
                got, sender = await asyncio.wait_for(protocol.queue.get(), 5)
                break
            except asyncio.TimeoutError:
                print("lost", file=sys.stderr)
        assert got == data, (i, size, len(got))
        assert sender[:2] == (address, port), sender
    transport.close()


async def refused(address, port):
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Client, remote_addr=(address, port))
    transport.sendto(b"anybody there?")
    error, _ = await asyncio.wait_for(protocol.queue.get(), 20)
    assert isinstance(error, ConnectionRefusedError), error
    transport.close()


async def main(mode, *args):
    if mode == "serve":
        await serve(int(args[0]))
    elif mode == "client":
        address, port, clients, count = args[0], *map(int, args[1:])
        await asyncio.gather(*(client(address, port, i, count) for i in range(clients)))
        print("ok")
    else:
        await refused(args[0], int(args[1]))
        print("ok")


asyncio.run(main(*sys.argv[1:]))
