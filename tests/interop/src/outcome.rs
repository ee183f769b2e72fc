//! What came of a packet, as its sender and the server saw it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One try, in addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// A server answered, and said which source address it saw.
    From { server: String, seen_as: IpAddr },
    /// The connection was refused.
    Refused,
    /// Nothing came.
    Silence,
    /// Another error of the sender's system call.
    Error(String),
}

/// The source that a server saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The sender's own address.
    Sender,
    /// Some address of node1.
    Node,
    /// An address that is neither.
    Other(IpAddr),
}

/// One try, in terms that mean the same in every world.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Who answered, and whom it saw.
    Served {
        by: String,
        from: Source,
    },
    Refused,
    Silent,
    Error(String),
}

impl Outcome {
    pub(crate) fn is_served(&self) -> bool {
        matches!(self, Self::Served { .. })
    }
}

/// What came of several tries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcomes(pub(crate) BTreeSet<Outcome>);

impl Outcomes {
    /// Adds those of a later round: who answered stays known, a failure counts only in the last round.
    pub(crate) fn renew(&mut self, later: Self) {
        self.0.retain(Outcome::is_served);
        self.0.extend(later.0);
    }

    /// Whether both are the same to a client that stays with its server, whichever that is. What two servers
    /// see may differ with where they are.
    pub(crate) fn stays_as(&self, other: &Self) -> bool {
        let server = |outcomes: &Self| match outcomes.0.first() {
            Some(Outcome::Served { by, .. }) if outcomes.0.len() == 1 => Some(by.clone()),
            _ => None,
        };
        match (server(self), server(other)) {
            (Some(own), Some(theirs)) if own != theirs => true,
            _ => self == other,
        }
    }

    /// Whether it is exactly this.
    pub(crate) fn is(&self, outcome: &Outcome) -> bool {
        self.0.len() == 1 && self.0.contains(outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served { by, from: Source::Sender } => write!(f, "{by} sees the sender"),
            Self::Served { by, from: Source::Node } => write!(f, "{by} sees the node"),
            Self::Served { by, from: Source::Other(address) } => write!(f, "{by} sees {address}"),
            Self::Refused => f.write_str("refused"),
            Self::Silent => f.write_str("silent"),
            Self::Error(error) => f.write_str(error),
        }
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}
