# SPDX-License-Identifier: Apache-2.0
#
# Servers and clients of ruby's libraries:
#
#	ruby ruby.rb threads PORT	TCPServer, a thread for each connection
#	ruby ruby.rb fork PORT		TCPServer, a process for each connection
#	ruby ruby.rb webrick PORT
#	ruby ruby.rb client ADDRESS PORT CONNECTIONS BYTES
#	ruby ruby.rb get URL REQUESTS	Net::HTTP, 4 threads with a kept connection each
#
# Servers print "ready" and send back what they get. Clients compare every byte
# and print "ok".
require 'socket'

$stdout.sync = true
Thread.abort_on_exception = true

def echo(socket)
  while (data = socket.readpartial(65_536))
    socket.write(data)
  end
rescue EOFError
  socket.close
end

def serve_threads(port)
  Socket.tcp_server_sockets(port) do |listeners|
    puts 'ready'
    Socket.accept_loop(listeners) { |socket, _| Thread.new { echo(socket) } }
  end
end

def serve_fork(port)
  server = TCPServer.new('::', port)
  puts 'ready'
  loop do
    socket = server.accept
    Process.detach(fork { server.close; echo(socket) })
    socket.close
  end
end

def serve_webrick(port)
  require 'webrick'
  log = WEBrick::Log.new($stderr, WEBrick::Log::WARN)
  server = WEBrick::HTTPServer.new(BindAddress: nil, Port: port, Logger: log, AccessLog: [], StartCallback: -> { puts 'ready' })
  server.mount_proc('/') { |request, response| response.body = request.body.to_s }
  trap('TERM') { server.shutdown }
  server.start
end

def client(address, port, connections, bytes)
  threads = (1..connections).map do |i|
    Thread.new do
      want = Random.new(i).bytes(bytes)
      socket = Socket.tcp(address, port, connect_timeout: 20)
      writer = Thread.new { socket.write(want); socket.close_write }
      got = socket.read
      writer.join
      abort "connection #{i}: bytes changed" unless got == want
      socket.close
    end
  end
  threads.each(&:join)
  puts 'ok'
end

def get(url, requests)
  require 'net/http'
  uri = URI(url)
  threads = (0..3).map do |thread|
    Thread.new do
      Net::HTTP.start(uri.hostname, uri.port, open_timeout: 20, read_timeout: 30) do |http|
        (1..requests).each do |i|
          body = Random.new(thread * requests + i).bytes(1 + i * 7919 % 65_536)
          response = http.post('/', body)
          abort "request #{i}: #{response.code}, or bytes changed" unless response.code == '200' && response.body == body
        end
      end
    end
  end
  threads.each(&:join)
  puts 'ok'
end

mode, *args = ARGV
case mode
when 'threads' then serve_threads(args[0].to_i)
when 'fork' then serve_fork(args[0].to_i)
when 'webrick' then serve_webrick(args[0].to_i)
when 'client' then client(args[0], *args[1..].map(&:to_i))
when 'get' then get(args[0], args[1].to_i)
else abort "mode #{mode}"
end
