//! What came of the cases in a world.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::ask::ask;
use crate::asker::Question;
use crate::case::Case;
use crate::outcome::{Answer, Outcome, Outcomes, Source};
use crate::plan;
use crate::terms::Sender;
use crate::world::World;

/// Asks for all `cases` at once; the outcomes in their order.
pub(crate) fn observe(
    world: &World,
    cases: &[Case<'_>],
    tries: impl Fn(&Case<'_>) -> usize,
    patience: Duration,
) -> Result<Vec<Outcomes>> {
    let mut by_sender: BTreeMap<Sender, Vec<usize>> = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        by_sender.entry(case.sender).or_default().push(index);
    }
    let mut outcomes = vec![Outcomes::default(); cases.len()];
    let questions = |indices: &[usize]| -> Vec<Question> {
        indices.iter().map(|&index| cases[index].question(tries(&cases[index]))).collect()
    };
    let answered = std::thread::scope(|scope| {
        let asked: Vec<_> = by_sender
            .iter()
            .map(|(&sender, indices)| {
                let questions = questions(indices);
                let thread = scope.spawn(move || ask(world, sender, &questions, patience));
                (sender, indices, thread)
            })
            .collect();
        let mut answered = Vec::new();
        for (sender, indices, thread) in asked {
            let answers = thread.join().expect("asking does not panic");
            answered.push((sender, indices, answers.with_context(|| sender.to_string())?));
        }
        anyhow::Ok(answered)
    })?;
    let node = world.addresses("node1");
    for (sender, indices, answers) in answered {
        let own = world.addresses(plan::namespace(sender));
        for (&index, answers) in indices.iter().zip(answers) {
            outcomes[index] = interpret(answers, &own, &node);
        }
    }
    Ok(outcomes)
}

fn interpret(answers: BTreeSet<Answer>, sender: &[IpAddr], node: &[IpAddr]) -> Outcomes {
    let outcome = |answer| match answer {
        Answer::From { server, seen_as } => {
            let from = if node.contains(&seen_as) {
                Source::Node
            } else if sender.contains(&seen_as) {
                Source::Sender
            } else {
                Source::Other(seen_as)
            };
            Outcome::Served { by: server, from }
        }
        Answer::Refused => Outcome::Refused,
        Answer::Silence => Outcome::Silent,
        Answer::Error(error) => Outcome::Error(error),
    };
    Outcomes(answers.into_iter().map(outcome).collect())
}
