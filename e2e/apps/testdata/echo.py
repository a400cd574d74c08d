# SPDX-License-Identifier: Apache-2.0
"""Echo servers of python's libraries, and a client that compares every byte.

    echo.py [--tls DIR] asyncio|uvloop|forking|threading PORT
    echo.py [--tls DIR] [--uvloop] client ADDRESS PORT CONNECTIONS BYTES
    echo.py [--tls DIR] blocking ADDRESS PORT CONNECTIONS BYTES

Servers print "ready", clients "ok" and how many processes answered them: a
server starts with a line that has its process id. DIR has cert.pem and key.pem.
"""

import argparse
import asyncio
import os
import random
import socket
import socketserver
import ssl
import sys
import threading

HELLO = b"%010d\n"


def server_context(options):
    if not options.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls + "/cert.pem", options.tls + "/key.pem")
    return context


def client_context(options):
    if not options.tls:
        return None
    return ssl.create_default_context(cafile=options.tls + "/cert.pem")


async def echo(reader, writer):
    writer.write(HELLO % os.getpid())
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    # TLS has no half close: its client goes when it has everything.
    if writer.can_write_eof():
        writer.write_eof()
    writer.close()


async def serve_async(options):
    server = await asyncio.start_server(echo, port=options.port, backlog=500, ssl=server_context(options))
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        if self.server.context:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        self.request.sendall(HELLO % os.getpid())
        while data := self.request.recv(65536):
            self.request.sendall(data)
        self.request.close()


class Forking(socketserver.ForkingTCPServer):
    address_family = socket.AF_INET6
    request_queue_size = 500
    allow_reuse_address = True
    max_children = 500


class Threading(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    request_queue_size = 500
    allow_reuse_address = True


def serve_sync(options, kind):
    with kind(("::", options.port), Handler) as server:
        server.context = server_context(options)
        print("ready", flush=True)
        server.serve_forever()


def data_of(options, i):
    return random.Random(i).randbytes(options.bytes)


async def one(options, i, processes):
    data = data_of(options, i)
    context = client_context(options)
    reader, writer = await asyncio.open_connection(options.address, options.port, ssl=context)
    processes.add(await reader.readexactly(len(HELLO % 0)))

    async def write():
        writer.write(data)
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    writing = asyncio.ensure_future(write())
    got = await reader.readexactly(len(data))
    await writing
    if got != data:
        sys.exit(f"connection {i}: bytes changed")
    if not context and await reader.read():
        sys.exit(f"connection {i}: more than was sent")
    writer.close()
    await writer.wait_closed()


async def client(options):
    processes = set()
    async with asyncio.timeout(150):
        await asyncio.gather(*(one(options, i, processes) for i in range(options.connections)))
    print("ok", len(processes))


def one_blocking(options, i, processes):
    data = data_of(options, i)
    with socket.create_connection((options.address, options.port), timeout=60) as s:
        if options.tls:
            s = client_context(options).wrap_socket(s, server_hostname=options.address)
        read = s.makefile("rb")
        processes.add(read.readline())
        if options.tls:
            # An SSL connection is not for two threads at once.
            got = b""
            for at in range(0, len(data), 16384):
                part = data[at : at + 16384]
                s.sendall(part)
                got += read.read(len(part))
        else:
            writing = threading.Thread(target=s.sendall, args=(data,))
            writing.start()
            got = read.read(len(data))
            writing.join()
        if got != data:
            sys.exit(f"connection {i}: bytes changed")
        if not options.tls:
            s.shutdown(socket.SHUT_WR)
            if read.read():
                sys.exit(f"connection {i}: more than was sent")


def blocking(options):
    processes = set()
    for i in range(options.connections):
        one_blocking(options, i, processes)
    print("ok", len(processes))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls")
    parser.add_argument("--uvloop", action="store_true")
    modes = parser.add_subparsers(dest="mode", required=True)
    for mode in "asyncio", "uvloop", "forking", "threading":
        modes.add_parser(mode).add_argument("port", type=int)
    for mode in "client", "blocking":
        sub = modes.add_parser(mode)
        sub.add_argument("address")
        for name in "port", "connections", "bytes":
            sub.add_argument(name, type=int)
    options = parser.parse_args()
    if options.uvloop or options.mode == "uvloop":
        import uvloop

        uvloop.install()
    if options.mode in ("asyncio", "uvloop"):
        asyncio.run(serve_async(options))
    elif options.mode == "forking":
        serve_sync(options, Forking)
    elif options.mode == "threading":
        serve_sync(options, Threading)
    elif options.mode == "client":
        asyncio.run(client(options))
    else:
        blocking(options)


main()
