//! The programs behind the sockets of the tests: a server that says who it is and whom it sees, and
//! clients that ask once or keep talking. One process sits in one network namespace and one cgroup.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use skep_netns_tests::responder::{self, WHO};
use skep_netns_tests::talk::Talk;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const USAGE: &str = "usage:
  skep-probe serve PORT NAME        TCP and UDP; says \"ready\", then serves until killed
  skep-probe serve-ports FIRST COUNT
                                    the same on many ports; the name is the port's number
  skep-probe ask PROTOCOL ADDRESS:PORT
                                    prints the server's NAME and the client address that it saw
  skep-probe bulk PROTOCOL ADDRESS:PORT
                                    sends a megabyte, or a datagram that takes several packets, and waits
                                    for all of it to come back
  skep-probe steady PROTOCOL ADDRESS:PORT
                                    talks over one socket until standard input ends; prints how often
  skep-probe crowd PROTOCOL ADDRESS:PORT COUNT
                                    the same over many sockets in turn, at a bounded rate
  skep-probe visit PROTOCOL ADDRESS:PORT
                                    asks over a new socket each time until standard input ends, at a
                                    bounded rate; prints each NAME and when it began to ask
  skep-probe rush ADDRESS:PORT COUNT
                                    opens TCP connections all at the same time, and keeps them until killed
PROTOCOL is tcp, udp or udp-unconnected";

/// Between two questions of a crowd.
const CROWD_PAUSE: Duration = Duration::from_millis(1);
/// Between two visits: a minute of them needs fewer ports than a client has.
const VISIT_PAUSE: Duration = Duration::from_millis(4);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{:?}: {error}", error.kind());
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> io::Result<()> {
    match words {
        ["serve", port, name] => responder::serve(number(port)?, name),
        ["serve-ports", first, count] => responder::serve_ports(number(first)?, number(count)?),
        ["ask", protocol, address] => ask(protocol, to(address)?),
        ["bulk", protocol, address] => bulk(protocol, to(address)?),
        ["steady", protocol, address] => steady(protocol, to(address)?),
        ["crowd", protocol, address, count] => crowd(protocol, to(address)?, number(count)?),
        ["visit", protocol, address] => visit(protocol, to(address)?),
        ["rush", address, count] => rush(to(address)?, number(count)?),
        _ => Err(io::Error::other(USAGE)),
    }
}

fn number(text: &str) -> io::Result<u16> {
    text.parse().map_err(io::Error::other)
}

fn to(text: &str) -> io::Result<SocketAddr> {
    text.parse().map_err(io::Error::other)
}

fn ask(protocol: &str, address: SocketAddr) -> io::Result<()> {
    println!("{}", Talk::open(protocol, address)?.say(WHO)?);
    Ok(())
}

fn bulk(protocol: &str, address: SocketAddr) -> io::Result<()> {
    let mut talk = Talk::open(protocol, address)?;
    let words = if protocol == "tcp" { 1 << 18 } else { 1000 };
    talk.echo(&"skep".repeat(words))?;
    println!("{}", talk.say(WHO)?);
    Ok(())
}

/// Set when standard input ends.
fn until_input_ends() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = ended.clone();
    std::thread::spawn(move || {
        // Whatever comes, the end is what counts.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Relaxed);
    });
    ended
}

fn say_ready() -> io::Result<()> {
    println!("ready");
    io::stdout().flush()
}

fn steady(protocol: &str, address: SocketAddr) -> io::Result<()> {
    let mut talk = Talk::open(protocol, address)?;
    talk.say(WHO)?;
    say_ready()?;
    let ended = until_input_ends();
    let mut count: u64 = 0;
    while !ended.load(Ordering::Relaxed) {
        talk.echo(&count.to_string())?;
        count += 1;
    }
    println!("{count}");
    Ok(())
}

fn crowd(protocol: &str, address: SocketAddr, size: u16) -> io::Result<()> {
    let mut talks = Vec::new();
    for number in 0..size {
        let named = |error: io::Error| told(&error, &format!("opening socket {number}"));
        let mut talk = Talk::open(protocol, address).map_err(named)?;
        talk.say(WHO).map_err(named)?;
        talks.push(talk);
    }
    say_ready()?;
    let ended = until_input_ends();
    let mut count: u64 = 0;
    while !ended.load(Ordering::Relaxed) {
        let turn = (count % u64::from(size)) as usize;
        let named = |error: io::Error| told(&error, &format!("socket {turn}, question {count}"));
        talks[turn].echo(&count.to_string()).map_err(named)?;
        count += 1;
        std::thread::sleep(CROWD_PAUSE);
    }
    println!("{count}");
    Ok(())
}

fn visit(protocol: &str, address: SocketAddr) -> io::Result<()> {
    let ask = || {
        let began_ns = skep_bpf::monotonic_ns();
        Ok::<_, io::Error>((Talk::open(protocol, address)?.say(WHO)?, began_ns))
    };
    let mut heard = vec![ask()?];
    say_ready()?;
    let ended = until_input_ends();
    while !ended.load(Ordering::Relaxed) {
        let named = |error: io::Error| told(&error, &format!("visit {}", heard.len()));
        heard.push(ask().map_err(named)?);
        std::thread::sleep(VISIT_PAUSE);
    }
    for (answer, began_ns) in heard {
        println!("{} {began_ns}", answer.split(' ').next().unwrap_or_default());
    }
    Ok(())
}

fn rush(address: SocketAddr, size: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for _ in 0..size {
            tokio::spawn(async move {
                let socket = match address {
                    SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
                    SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
                }?;
                // The end is one reset, nothing that is repeated after it.
                socket.set_zero_linger()?;
                let mut stream = socket.connect(address).await?;
                stream.write_all(format!("{WHO}\n").as_bytes()).await?;
                // The server says something once, then neither does.
                stream.read_to_end(&mut Vec::new()).await
            });
        }
        std::future::pending().await
    })
}

/// The same error, with where it happened.
fn told(error: &io::Error, place: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{place}: {error}"))
}
