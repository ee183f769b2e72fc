//! A case: a Service, who asks it, by which address, over which protocol.

use std::fmt;

use crate::asker::Question;
use crate::plan;
use crate::shape::Shape;
use crate::terms::{Address, Family, Protocol, Sender};

/// One packet's story, to be told by each proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case<'a> {
    /// The Service's number in its world.
    pub(crate) number: u16,
    pub(crate) shape: &'a Shape,
    pub(crate) sender: Sender,
    pub(crate) address: Address,
    pub(crate) protocol: Protocol,
    pub(crate) family: Family,
}

impl Case<'_> {
    /// What the sender does, this often.
    pub(crate) fn question(&self, tries: usize) -> Question {
        let to = plan::target(self.number, self.address, self.family);
        Question { protocol: self.protocol, to, tries }
    }
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sender, address, protocol, family, .. } = self;
        write!(f, "{sender} to {address} over {protocol} {family}: {}", self.shape.name)
    }
}

/// Every sender to every address of every Service, over every protocol in every
/// family.
pub(crate) fn all(shapes: &[Shape]) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for (number, shape) in (0_u16..).zip(shapes) {
        for sender in Sender::ALL {
            for address in Address::ALL.into_iter().filter(|address| address.is_open_to(sender)) {
                for protocol in Protocol::ALL {
                    for family in Family::ALL {
                        cases.push(Case { number, shape, sender, address, protocol, family });
                    }
                }
            }
        }
    }
    cases
}
