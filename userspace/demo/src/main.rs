//! The only program in the images that skep makes for itself: it holds a sandbox's namespaces, serves a
//! page that names its replica, and fetches such pages. Static and small; never grows into a shell.

mod archive;
mod fetch;
mod pause;
mod serve;

use std::process::ExitCode;

const USAGE: &str = "usage:
  skep-demo pause                       hold the sandbox until SIGTERM
  skep-demo serve [PORT]                answer HTTP and UDP on PORT (8080) with this host's name
  skep-demo fetch URL [TIMES [MS]]      fetch URL TIMES (1) with a limit of MS (2000) each, print who answered
  skep-demo udp HOST:PORT [TIMES [MS]]  the same with one datagram each
  skep-demo cat [FILE]...               copy files, or standard input, to standard output
  tar cf - PATH | tar xf - -C DIR       what `kubectl cp` needs (by the name tar)";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().collect();
    if arguments.first().is_some_and(|name| name.ends_with("tar")) {
        return report(archive::run(&arguments[1..]));
    }
    arguments.remove(0);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["pause"] => pause::until_terminated(),
        ["serve"] => report(serve::run(8080)),
        ["serve", port] => match port.parse() {
            Ok(port) => report(serve::run(port)),
            Err(_) => usage(&format!("{port} is not a port")),
        },
        ["fetch", url, rest @ ..] => {
            with_limits(rest, |times, limit| fetch::http(url, times, limit))
        }
        ["udp", peer, rest @ ..] => {
            with_limits(rest, |times, limit| fetch::udp(peer, times, limit))
        }
        ["cat", files @ ..] => report(archive::cat(files)),
        _ => usage("no such command"),
    }
}

fn with_limits(
    words: &[&str],
    job: impl FnOnce(u32, std::time::Duration) -> Result<(), String>,
) -> ExitCode {
    let number = |index: usize, otherwise: u32| {
        words.get(index).map_or(Ok(otherwise), |word| {
            word.parse().map_err(|_| format!("{word} is not a number"))
        })
    };
    match (number(0, 1), number(1, 2000)) {
        (Ok(times), Ok(limit_ms)) => {
            report(job(times, std::time::Duration::from_millis(limit_ms.into())))
        }
        (Err(problem), _) | (_, Err(problem)) => usage(&problem),
    }
}

fn report(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("skep-demo: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("skep-demo: {problem}\n{USAGE}");
    ExitCode::from(2)
}
