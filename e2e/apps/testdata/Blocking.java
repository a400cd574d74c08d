// SPDX-License-Identifier: Apache-2.0
//
// What java.net promises of blocking sockets:
//
//	java Blocking.java server PORT	echoes; a thread for each connection
//	java Blocking.java client ADDRESS PORT OWN
//
// The client closes sockets under threads that sleep in a call of theirs, lets
// timeouts expire, and sends and gets resets. OWN is a port for listeners of its
// own. It prints "ok".
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

class Blocking {
	interface Call { Object run() throws Exception; }

	public static void main(String[] args) throws Exception {
		if (args[0].equals("server")) {
			server(Integer.parseInt(args[1]));
			return;
		}
		InetSocketAddress to = new InetSocketAddress(args[1], Integer.parseInt(args[2]));
		int own = Integer.parseInt(args[3]);
		echo(to);
		asyncClose(to, own);
		channels(to, own);
		timeouts(to, own);
		reset(to);
		refused(to);
		System.out.println("ok");
		System.exit(0);
	}

	static void server(int port) throws Exception {
		ServerSocket listener = new ServerSocket(port, 200);
		System.out.println("ready");
		for (;;) {
			Socket s = listener.accept();
			new Thread(() -> {
				try (s) {
					s.getInputStream().transferTo(s.getOutputStream());
				} catch (IOException e) {
					System.out.println("a connection ended: " + e.getMessage());
				}
			}).start();
		}
	}

	// Another thread's call, and the exception it ends with.
	static class Caller {
		final CompletableFuture<Object> result = new CompletableFuture<>();
		final Thread thread;

		Caller(Call call) throws Exception {
			thread = new Thread(() -> {
				try {
					result.complete(call.run());
				} catch (Throwable e) {
					result.complete(e);
				}
			});
			thread.start();
			// It sleeps in the kernel when its stack says so.
			String top = "";
			for (int i = 0; i < 3000; i++) {
				StackTraceElement[] stack = thread.getStackTrace();
				top = stack.length == 0 ? "" : stack[0].getMethodName() + " " + (stack.length > 1 ? stack[1].getMethodName() : "");
				if (top.matches("(accept|accept0|poll|read0|connect0|write0|socketAccept|net_poll).*") || result.isDone()) break;
				Thread.sleep(10);
			}
			if (result.isDone()) throw new Exception("the call did not wait: " + result.get());
			Thread.sleep(50);
		}

		void ends(String what, Class<?> with) throws Exception {
			Object got = result.get(20, TimeUnit.SECONDS);
			if (!with.isInstance(got)) throw new Exception(what + ": " + got + ", want " + with);
		}
	}

	static void echo(InetSocketAddress to) throws Exception {
		byte[] data = new byte[1 << 20];
		for (int i = 0; i < data.length; i++) data[i] = (byte) (i * 31 >> 3);
		try (Socket s = new Socket(to.getAddress(), to.getPort())) {
			s.setTcpNoDelay(true);
			s.setKeepAlive(true);
			Caller reader = new Caller(() -> s.getInputStream().readAllBytes());
			s.getOutputStream().write(data);
			s.shutdownOutput();
			if (!Arrays.equals((byte[]) reader.result.get(30, TimeUnit.SECONDS), data)) throw new Exception("echo: bytes changed");
		}
	}

	static void asyncClose(InetSocketAddress to, int own) throws Exception {
		ServerSocket listener = new ServerSocket(own);
		Caller accept = new Caller(listener::accept);
		listener.close();
		accept.ends("close under accept", SocketException.class);
		// Its port is free again.
		new ServerSocket(own).close();

		Socket s = new Socket(to.getAddress(), to.getPort());
		Caller read = new Caller(() -> s.getInputStream().read());
		s.close();
		read.ends("close under read", SocketException.class);

		Socket full = new Socket(to.getAddress(), to.getPort());
		Caller write = new Caller(() -> {
			byte[] b = new byte[1 << 20];
			for (;;) full.getOutputStream().write(b);
		});
		full.close();
		write.ends("close under write", SocketException.class);
	}

	static void channels(InetSocketAddress to, int own) throws Exception {
		SocketChannel s = SocketChannel.open(to);
		Caller read = new Caller(() -> s.read(ByteBuffer.allocate(1)));
		s.close();
		read.ends("close under read of a channel", AsynchronousCloseException.class);

		SocketChannel interrupted = SocketChannel.open(to);
		read = new Caller(() -> interrupted.read(ByteBuffer.allocate(1)));
		read.thread.interrupt();
		read.ends("interrupt of a read", ClosedByInterruptException.class);

		ServerSocketChannel listener = ServerSocketChannel.open().bind(new InetSocketAddress(own));
		Caller accept = new Caller(listener::accept);
		listener.close();
		accept.ends("close under accept of a channel", AsynchronousCloseException.class);

		SocketChannel half = SocketChannel.open(to);
		read = new Caller(() -> half.read(ByteBuffer.allocate(1)));
		half.shutdownInput();
		Object n = read.result.get(20, TimeUnit.SECONDS);
		if (!n.equals(-1)) throw new Exception("shutdownInput under read: " + n);
		half.close();
	}

	static void timeouts(InetSocketAddress to, int own) throws Exception {
		try (ServerSocket listener = new ServerSocket(own)) {
			listener.setSoTimeout(200);
			expect("accept with a timeout", SocketTimeoutException.class, listener::accept);
			// And it is still a listener.
			try (Socket self = new Socket(listener.getInetAddress(), own); Socket other = listener.accept()) {
				self.getOutputStream().write(7);
				if (other.getInputStream().read() != 7) throw new Exception("the listener's own connection");
			}
		}
		try (Socket s = new Socket()) {
			s.connect(to, 10000);
			s.setSoTimeout(200);
			InputStream in = s.getInputStream();
			expect("read with a timeout", SocketTimeoutException.class, in::read);
			s.getOutputStream().write(42);
			s.setSoTimeout(20000);
			if (in.read() != 42) throw new Exception("read after a timeout");
		}
	}

	static void reset(InetSocketAddress to) throws Exception {
		Socket s = new Socket(to.getAddress(), to.getPort());
		s.setSoLinger(true, 0);
		s.getOutputStream().write(1);
		if (s.getInputStream().read() != 1) throw new Exception("echo before a reset");
		s.close();
		// On a listener of our own: what the other end sees.
		try (ServerSocket listener = new ServerSocket(0); Socket a = new Socket("127.0.0.1", listener.getLocalPort()); Socket b = listener.accept()) {
			b.setSoLinger(true, 0);
			b.close();
			expect("read after a reset", SocketException.class, () -> a.getInputStream().read());
		}
	}

	static void refused(InetSocketAddress to) throws Exception {
		expect("connect to a port nobody listens on", ConnectException.class, () -> new Socket(to.getAddress(), 7999));
	}

	static void expect(String what, Class<?> with, Call call) throws Exception {
		Object got;
		try {
			got = call.run();
		} catch (Exception e) {
			got = e;
		}
		if (!with.isInstance(got)) throw new Exception(what + ": " + got + ", want " + with);
	}
}
