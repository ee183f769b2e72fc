//! The same cases through upstream's proxy and through skep's, held against each other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::case::{self, Case};
use crate::exception::Exception;
use crate::observe::observe;
use crate::outcome::Outcomes;
use crate::programs::Programs;
use crate::shape::Shape;
use crate::stack::Stack;
use crate::world::World;

/// After how long no answer is silence; where the worlds differ, they are asked again with more patience.
const PATIENCE: Duration = Duration::from_millis(400);
const MORE_PATIENCE: Duration = Duration::from_millis(1500);
/// How often differences are asked for again, and how many tries each has then.
const ROUNDS: usize = 3;
const MORE_TRIES: usize = 24;

/// A case whose outcomes differ.
#[derive(Debug)]
pub(crate) struct Difference<'a> {
    pub(crate) case: Case<'a>,
    pub(crate) upstream: Outcomes,
    pub(crate) ours: Outcomes,
}

/// What one stack's comparison came to.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    pub(crate) cases: usize,
    pub(crate) differences: Vec<Difference<'a>>,
}

/// Compares `stack` with upstream's proxy.
pub(crate) fn compare<'a>(
    programs: &Programs,
    stack: Stack,
    shapes: &'a [Shape],
    exceptions: &[Exception],
) -> Result<Comparison<'a>> {
    let start = Instant::now();
    let (upstream, ours) = std::thread::scope(|scope| {
        let upstream = scope.spawn(|| Stack::KubeProxy.world(programs, shapes));
        let ours = stack.world(programs, shapes);
        (upstream.join(), ours)
    });
    let upstream = upstream.expect("building a world fails with an error or succeeds")?;
    let worlds = [upstream, ours?];
    let ready = start.elapsed();
    let cases = case::all(shapes);
    let mut outcomes = Vec::new();
    for world in &worlds {
        outcomes.push(observe(world, &cases, |case| case.shape.tries(), PATIENCE)?);
    }
    let asked = start.elapsed();
    let [upstream, ours] = <[_; 2]>::try_from(outcomes).expect("there are two worlds");
    let mut differences: Vec<Difference<'_>> = cases
        .iter()
        .zip(upstream.into_iter().zip(ours))
        .map(|(&case, (upstream, ours))| Difference { case, upstream, ours })
        .filter(differs)
        .collect();
    let first = differences.len();
    let meant = |difference: &Difference<'_>| {
        exceptions.iter().position(|exception| (exception.applies)(difference))
    };
    for _ in 0..ROUNDS {
        let (settled, mut open): (Vec<_>, Vec<_>) =
            differences.into_iter().partition(|d| meant(d).is_some());
        ask_again(&worlds, &mut open)?;
        differences = settled;
        differences.append(&mut open);
    }
    println!(
        "  {} Services, {} cases; worlds up after {:.1} s, asked after {:.1} s, {first} differed at first, \
         {} of them still did after {:.1} s",
        shapes.len(),
        cases.len(),
        ready.as_secs_f64(),
        asked.as_secs_f64(),
        differences.len(),
        start.elapsed().as_secs_f64(),
    );
    Ok(Comparison { cases: cases.len(), differences })
}

/// Chance and a busy machine make differences too: those go away.
fn ask_again(worlds: &[World; 2], differences: &mut Vec<Difference<'_>>) -> Result<()> {
    let cases: Vec<Case<'_>> = differences.iter().map(|difference| difference.case).collect();
    if cases.is_empty() {
        return Ok(());
    }
    let tries = |case: &Case<'_>| if case.shape.tries() == 1 { 2 } else { MORE_TRIES };
    let upstream = observe(&worlds[0], &cases, tries, MORE_PATIENCE)?;
    let ours = observe(&worlds[1], &cases, tries, MORE_PATIENCE)?;
    for (difference, (upstream, ours)) in differences.iter_mut().zip(upstream.into_iter().zip(ours))
    {
        if difference.case.shape.affinity {
            (difference.upstream, difference.ours) = (upstream, ours);
        } else {
            difference.upstream.renew(upstream);
            difference.ours.renew(ours);
        }
    }
    differences.retain(differs);
    Ok(())
}

fn differs(difference: &Difference<'_>) -> bool {
    let Difference { case, upstream, ours } = difference;
    if case.shape.affinity { !upstream.stays_as(ours) } else { upstream != ours }
}

impl Comparison<'_> {
    /// Prints what differs: for a reason, and without one. Counts the uses of each exception, and returns
    /// the number of differences without a reason.
    pub(crate) fn report(&self, exceptions: &[Exception], uses: &mut [usize]) -> usize {
        let mut unexplained: BTreeMap<String, Vec<&Difference<'_>>> = BTreeMap::new();
        for difference in &self.differences {
            let found = exceptions.iter().position(|exception| (exception.applies)(difference));
            match found {
                Some(index) => uses[index] += 1,
                None => unexplained.entry(difference.kind()).or_default().push(difference),
            }
        }
        let mut groups: Vec<_> = unexplained.into_iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.len()));
        for (kind, group) in &groups {
            println!("  {:>4} x {kind}", group.len());
            for difference in group.iter().take(2) {
                println!("         {}", difference.case.shape.name);
            }
        }
        groups.iter().map(|(_, group)| group.len()).sum()
    }
}

impl Difference<'_> {
    /// What differences of one cause most likely have in common.
    fn kind(&self) -> String {
        let Case { sender, address, protocol, family, .. } = self.case;
        let Self { upstream, ours, .. } = self;
        format!(
            "{sender} to {address} over {protocol} {family}: upstream: {upstream}; ours: {ours}"
        )
    }
}
