//! What a call to the runtime can fail with.

use tonic::{Code, Status};

/// A failed call, with the runtime's own words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime answered with an error.
    #[error("{call}: {}", .status.message())]
    Refused {
        /// The call, as the protocol names it.
        call: &'static str,
        /// The runtime's answer.
        status: Box<Status>,
    },
    /// The runtime cannot be reached.
    #[error("{call}: the container runtime does not answer: {}", .status.message())]
    Unreachable {
        /// The call, as the protocol names it.
        call: &'static str,
        /// What the transport said.
        status: Box<Status>,
    },
    /// No answer came in time.
    #[error("{call}: no answer from the container runtime within {seconds} s")]
    Late {
        /// The call, as the protocol names it.
        call: &'static str,
        /// How long the answer was waited for.
        seconds: u64,
    },
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(call: &'static str, status: Status) -> Self {
        let status = Box::new(status);
        match status.code() {
            Code::Unavailable => Self::Unreachable { call, status },
            _ => Self::Refused { call, status },
        }
    }

    /// Is the thing that was asked about not there (any more)?
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code() == Code::NotFound)
    }

    /// The runtime's own message, without the name of the call.
    pub fn message(&self) -> String {
        match self {
            Self::Refused { status, .. } | Self::Unreachable { status, .. } => {
                status.message().to_owned()
            }
            Self::Late { .. } => self.to_string(),
        }
    }
}
