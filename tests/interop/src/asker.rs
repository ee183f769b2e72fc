//! The senders' side: asks many questions at once from one namespace and one control group.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use skep_netns_tests::responder::WHO;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::outcome::Answer;
use crate::terms::Protocol;

/// How many questions are open at a time.
const AT_ONCE: usize = 128;
/// A question that stays unanswered is asked no more often than this.
const SILENCES: usize = 2;

/// What is to be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) protocol: Protocol,
    pub(crate) to: SocketAddr,
    /// How often, each time from a new socket.
    pub(crate) tries: usize,
}

/// What an asker process is given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Questions {
    pub(crate) questions: Vec<Question>,
    /// After how long no answer is silence.
    pub(crate) patience_ms: u64,
}

/// Reads questions from standard input and prints the answers in their order.
///
/// # Errors
/// When the input is not what [`Questions`] says.
pub(crate) fn run() -> Result<()> {
    let Questions { questions, patience_ms } = serde_json::from_reader(io::stdin().lock())?;
    let patience = Duration::from_millis(patience_ms);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers = runtime.block_on(async {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let asked = questions.into_iter().map(|question| {
            let room = room.clone();
            tokio::spawn(async move {
                let _place = room.acquire_owned().await.expect("nobody closes it");
                ask(&question, patience).await
            })
        });
        let asked: Vec<_> = asked.collect();
        let mut answers = Vec::with_capacity(asked.len());
        for task in asked {
            answers.push(task.await.expect("asking does not panic"));
        }
        answers
    });
    serde_json::to_writer(io::stdout().lock(), &answers)?;
    Ok(())
}

async fn ask(question: &Question, patience: Duration) -> BTreeSet<Answer> {
    let mut answers = BTreeSet::new();
    let mut silences = 0;
    for _ in 0..question.tries {
        let answer = match question.protocol {
            Protocol::Tcp => timeout(patience, over_tcp(question.to)).await,
            Protocol::Udp => timeout(patience, over_udp(question.to)).await,
        };
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => of_error(&error),
            Err(_) => Answer::Silence,
        };
        silences += usize::from(answer == Answer::Silence);
        answers.insert(answer);
        if silences == SILENCES {
            break;
        }
    }
    answers
}

async fn over_tcp(to: SocketAddr) -> io::Result<Answer> {
    let mut stream = BufReader::new(TcpStream::connect(to).await?);
    stream.write_all(format!("{WHO}\n").as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    parse(&line)
}

async fn over_udp(to: SocketAddr) -> io::Result<Answer> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    socket.send(WHO.as_bytes()).await?;
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).await?;
    parse(&String::from_utf8_lossy(&buffer[..length]))
}

fn parse(line: &str) -> io::Result<Answer> {
    let told = line.trim().split_once(' ').and_then(|(server, address)| {
        Some(Answer::From { server: server.to_owned(), seen_as: address.parse().ok()? })
    });
    told.ok_or_else(|| io::Error::other(format!("the server said {line:?}")))
}

fn of_error(error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Answer::Refused,
        kind => Answer::Error(kind.to_string()),
    }
}
