//! `skep net explain`: why a packet goes where it goes.
//!
//! The node's programs are run over a made packet, hook after hook, and tell each look-up and its outcome.
//! What the kernel cannot run on request is answered by the same engine on the host, over the live
//! tables; that is said. Nothing is written: not a table, not a counter.

use std::cell::RefCell;
use std::net::SocketAddr;

use serde::Serialize;
use skep_abi::{V4, V6};
use skep_bpf::{Attachment, Clock, FamilyTables, Links, Tables, Tracer};
use skep_engine::Net;

use crate::names::Resolver;
use crate::output::{self, Format};
use crate::services::protocol;

mod ask;
mod journey;
mod live;
mod packet;
mod words;

pub(crate) use ask::Query;
use ask::{Question, Sender};
use live::LiveTables;
use words::{Stage, Words};

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    sender: Sender,
    source: SocketAddr,
    destination: SocketAddr,
    protocol: String,
    stages: Vec<Stage>,
    /// Source and destination where this node's part ends.
    final_source: SocketAddr,
    final_destination: SocketAddr,
    answer: String,
}

/// Answers a question.
pub(crate) fn print(tables: &Tables, query: &Query, names: &Resolver) -> anyhow::Result<String> {
    let question = ask::question(query, tables, names)?;
    let attachments = Links::open(&query.flags.bpf_dir).list()?;
    let tracer = match query.on_host {
        true => None,
        false => Some(RefCell::new(Tracer::open(&query.flags.bpf_dir)?)),
    };
    let through = Through { tables, attachments: &attachments, tracer: tracer.as_ref() };
    let answer = if question.to.is_ipv4() {
        answer::<V4>(&through, &tables.v4, &question, names)?
    } else {
        answer::<V6>(&through, &tables.v6, &question, names)?
    };
    match query.flags.output {
        Format::Json => Ok(serde_json::to_string_pretty(&answer)? + "\n"),
        Format::Yaml => Ok(serde_saphyr::to_string(&answer)?),
        Format::Table | Format::Wide => Ok(render(&answer, names)),
    }
}

/// What questions go through.
struct Through<'a> {
    tables: &'a Tables,
    attachments: &'a [Attachment],
    tracer: Option<&'a RefCell<Tracer>>,
}

fn answer<F: Net>(
    through: &Through<'_>,
    family: &FamilyTables<F>,
    question: &Question,
    names: &Resolver,
) -> anyhow::Result<Answer> {
    let Through { tables, attachments, tracer } = *through;
    let live = LiveTables {
        config: tables.config()?,
        family,
        slots: &tables.slots,
        peers: &tables.peers,
        now_ticks: Clock::new()?.now_ticks()?,
        failed: None.into(),
    };
    let journey = journey::Node { live: &live, attachments, tracer }.travel(question)?;
    let words = Words { live: &live, names };
    Ok(Answer {
        sender: question.sender,
        source: question.from,
        destination: question.to,
        protocol: protocol(question.protocol),
        stages: journey.legs.iter().map(|leg| words.stage(leg)).collect(),
        final_source: journey.last.0,
        final_destination: journey.last.1,
        answer: words.sentence(&journey, question.protocol),
    })
}

fn render(answer: &Answer, names: &Resolver) -> String {
    let sender = match answer.sender {
        Sender::Pod(_) => "a pod of this node",
        Sender::Node => "this node",
        Sender::Peer(_) => "another node",
        Sender::Outside => "outside",
    };
    let mut text = format!(
        "From {} ({sender}) to {}, {}\n",
        names.socket(answer.source),
        names.socket(answer.destination),
        answer.protocol
    );
    for stage in &answer.stages {
        let device = stage.device.as_ref().map_or_else(String::new, |name| format!(" on {name}"));
        let because = stage.because.map_or_else(String::new, |why| format!(" ({why})"));
        text += &format!(
            "\n{}{device}: {} -> {}\n  answered by {}{because}\n",
            stage.hook, stage.source, stage.destination, stage.by
        );
        let lines: Vec<Vec<String>> = stage
            .steps
            .iter()
            .map(|step| {
                let (table, key) = (format!("  {}", step.table), step.key.clone());
                vec![table, key, step.outcome.into(), step.meaning.clone()]
            })
            .collect();
        text += &output::align(&lines);
        text += &format!("  => {}\n", stage.verdict);
    }
    text += &format!("\n{}\n", answer.answer);
    text
}
