// SPDX-License-Identifier: Apache-2.0
//
// The JDK's own HTTP server and client:
//
//	java --add-modules jdk.httpserver Http.java server PORT
//	java Http.java client URL REQUESTS
//
// The server sends back what it gets. The client, of 16 threads, prints "ok".
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import com.sun.net.httpserver.HttpServer;

class Http {
	public static void main(String[] args) throws Exception {
		if (args[0].equals("server")) {
			HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(args[1])), 200);
			server.setExecutor(Executors.newFixedThreadPool(8));
			server.createContext("/", exchange -> {
				byte[] body = exchange.getRequestBody().readAllBytes();
				exchange.sendResponseHeaders(200, body.length);
				exchange.getResponseBody().write(body);
				exchange.close();
			});
			server.start();
			System.out.println("ready");
			return;
		}
		int requests = Integer.parseInt(args[2]);
		HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
		ExecutorService threads = Executors.newFixedThreadPool(16);
		List<Future<?>> all = new ArrayList<>();
		for (int i = 0; i < requests; i++) {
			int seed = i;
			all.add(threads.submit(() -> {
				byte[] body = new byte[1 + seed * 7919 % 65536];
				new Random(seed).nextBytes(body);
				HttpRequest request = HttpRequest.newBuilder(URI.create(args[1])).POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
				HttpResponse<byte[]> response = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
				if (response.statusCode() != 200 || !Arrays.equals(response.body(), body)) throw new Exception("request " + seed + " came back changed");
				return null;
			}));
		}
		for (Future<?> f : all) f.get();
		System.out.println("ok");
		System.exit(0);
	}
}
