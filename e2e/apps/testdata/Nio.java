// SPDX-License-Identifier: Apache-2.0
//
// Echo over java.nio, every byte compared:
//
//	java Nio.java server PORT
//	java Nio.java client ADDRESS PORT CONNECTIONS BYTES
//
// The server prints "ready", the client "ok". Both have one thread and one
// selector.
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.Random;

class Nio {
	public static void main(String[] args) throws Exception {
		if (args[0].equals("server")) {
			server(Integer.parseInt(args[1]));
		} else {
			client(new InetSocketAddress(args[1], Integer.parseInt(args[2])), Integer.parseInt(args[3]), Integer.parseInt(args[4]));
			System.out.println("ok");
		}
	}

	static void server(int port) throws Exception {
		Selector selector = Selector.open();
		ServerSocketChannel listener = ServerSocketChannel.open();
		listener.setOption(StandardSocketOptions.SO_REUSEADDR, true);
		listener.bind(new InetSocketAddress(port), 1024);
		listener.configureBlocking(false);
		listener.register(selector, SelectionKey.OP_ACCEPT);
		System.out.println("ready");
		for (;;) {
			selector.select();
			for (SelectionKey key : selector.selectedKeys()) {
				if (key.isAcceptable()) {
					for (SocketChannel s; (s = listener.accept()) != null;) {
						s.configureBlocking(false);
						s.setOption(StandardSocketOptions.TCP_NODELAY, true);
						s.register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(16 << 10));
					}
				} else {
					echo(key);
				}
			}
			selector.selectedKeys().clear();
		}
	}

	static void echo(SelectionKey key) throws Exception {
		SocketChannel s = (SocketChannel) key.channel();
		ByteBuffer b = (ByteBuffer) key.attachment();
		boolean end = s.read(b) < 0;
		b.flip();
		s.write(b);
		b.compact();
		if (end && b.position() == 0) {
			s.close();
			return;
		}
		int ops = b.position() > 0 ? SelectionKey.OP_WRITE : 0;
		key.interestOps(ops | (end || !b.hasRemaining() ? 0 : SelectionKey.OP_READ));
	}

	static class Stream {
		final ByteBuffer out;
		final byte[] want;
		int got;

		Stream(int seed, int length) {
			want = new byte[length];
			new Random(seed).nextBytes(want);
			out = ByteBuffer.wrap(want);
		}
	}

	static void client(InetSocketAddress to, int connections, int length) throws Exception {
		Selector selector = Selector.open();
		for (int i = 0; i < connections; i++) {
			SocketChannel s = SocketChannel.open();
			s.configureBlocking(false);
			Stream stream = new Stream(i, length);
			s.register(selector, s.connect(to) ? SelectionKey.OP_READ | SelectionKey.OP_WRITE : SelectionKey.OP_CONNECT, stream);
		}
		ByteBuffer in = ByteBuffer.allocateDirect(64 << 10);
		for (int left = connections; left > 0;) {
			if (selector.select(30000) == 0) throw new Exception(left + " connections wait for 30 s");
			for (SelectionKey key : selector.selectedKeys()) {
				SocketChannel s = (SocketChannel) key.channel();
				Stream stream = (Stream) key.attachment();
				if (key.isConnectable()) {
					s.finishConnect();
					if (!s.getRemoteAddress().equals(to)) throw new Exception("connected to " + s.getRemoteAddress());
					key.interestOps(SelectionKey.OP_READ | SelectionKey.OP_WRITE);
					continue;
				}
				if (key.isWritable()) {
					s.write(stream.out);
					if (!stream.out.hasRemaining()) {
						s.shutdownOutput();
						key.interestOps(SelectionKey.OP_READ);
					}
				}
				if (key.isReadable()) {
					in.clear();
					int n = s.read(in);
					in.flip();
					while (in.hasRemaining()) {
						if (in.get() != stream.want[stream.got++]) throw new Exception("byte " + (stream.got - 1) + " changed");
					}
					if (n < 0) {
						if (stream.got != length) throw new Exception("end after " + stream.got + " bytes");
						s.close();
						left--;
					}
				}
			}
			selector.selectedKeys().clear();
		}
	}
}
