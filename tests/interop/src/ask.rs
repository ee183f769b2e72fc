//! Puts questions to a world through an asker process in the sender's place.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::asker::{Question, Questions};
use crate::outcome::Answer;
use crate::terms::Sender;
use crate::world::World;

/// The answers, in the order of the questions.
pub(crate) fn ask(
    world: &World,
    sender: Sender,
    questions: &[Question],
    patience: Duration,
) -> Result<Vec<BTreeSet<Answer>>> {
    let own = std::env::current_exe()?;
    let mut command = world.sender(sender).command(&own, &["ask"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start an asker")?;
    let mut input = child.stdin.take().context("a pipe was asked for")?;
    let patience_ms = u64::try_from(patience.as_millis())?;
    let questions = Questions { questions: questions.to_vec(), patience_ms };
    input.write_all(&serde_json::to_vec(&questions)?)?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "asking as {sender} ended with {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
