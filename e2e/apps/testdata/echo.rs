// SPDX-License-Identifier: Apache-2.0

// An echo server and its clients, of the standard library: TCP with a thread for
// each connection, and UDP.
use std::env;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const LIMIT: Duration = Duration::from_secs(20);

fn serve(at: SocketAddr) -> Outcome {
    let udp = UdpSocket::bind(at)?;
    thread::spawn(move || {
        let mut b = vec![0; 65536];
        while let Ok((n, from)) = udp.recv_from(&mut b) {
            let _ = udp.send_to(&b[..n], from);
        }
    });
    for conn in TcpListener::bind(at)?.incoming() {
        let mut conn = conn?;
        thread::spawn(move || -> Outcome {
            let mut b = vec![0; 16384];
            loop {
                let n = conn.read(&mut b)?;
                if n == 0 {
                    return Ok(());
                }
                conn.write_all(&b[..n])?;
            }
        });
    }
    Ok(())
}

fn pattern(seed: usize, size: usize) -> Vec<u8> {
    (0..size).map(|i| ((i * 31 + seed * 17) ^ (i >> 8)) as u8).collect()
}

fn stream(to: SocketAddr, seed: usize, size: usize) -> Outcome {
    let mut conn = TcpStream::connect_timeout(&to, LIMIT)?;
    conn.set_nodelay(true)?;
    let peer = conn.peer_addr()?;
    conn.set_read_timeout(Some(LIMIT))?;
    let sent = pattern(seed, size);
    let (mut writer, out) = (conn.try_clone()?, sent.clone());
    let writing = thread::spawn(move || -> Outcome {
        writer.write_all(&out)?;
        writer.shutdown(Shutdown::Write)?;
        Ok(())
    });
    let mut got = Vec::new();
    conn.read_to_end(&mut got)?;
    writing.join().map_err(|_| "the writer panicked")??;
    if got != sent || peer != to {
        return Err(format!("connection {seed}: {} bytes of {size}, or others", got.len()).into());
    }
    Ok(())
}

fn datagrams(to: SocketAddr, connected: bool) -> Outcome {
    let any: IpAddr = if to.is_ipv4() { "0.0.0.0".parse()? } else { "::".parse()? };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(LIMIT))?;
    if connected {
        socket.connect(to)?;
    }
    let mut b = vec![0; 65536];
    for size in [0, 1, 100, 1400, 9000, 60000] {
        let sent = pattern(size, size);
        let (n, from) = if connected {
            socket.send(&sent)?;
            (socket.recv(&mut b)?, to)
        } else {
            socket.send_to(&sent, to)?;
            socket.recv_from(&mut b)?
        };
        if b[..n] != sent[..] || from != to {
            return Err(format!("datagram of {size}: {n} bytes from {from}, or others").into());
        }
    }
    Ok(())
}

fn client(to: SocketAddr, connections: usize, size: usize) -> Outcome {
    let all: Vec<_> = (0..connections).map(|seed| thread::spawn(move || stream(to, seed, size))).collect();
    for one in all {
        one.join().map_err(|_| "a client panicked")??;
    }
    datagrams(to, false)?;
    datagrams(to, true)?;
    println!("ok");
    Ok(())
}

fn main() -> Outcome {
    let args: Vec<String> = env::args().collect();
    let at = SocketAddr::new(args[2].parse()?, args[3].parse()?);
    match args[1].as_str() {
        "serve" => serve(at),
        _ => client(at, args[4].parse()?, args[5].parse()?),
    }
}
