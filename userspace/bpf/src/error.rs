//! What can go wrong with tables and programs, and what to do about it.

use std::{io, path::PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a pinned object failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Pin {
        /// What was tried.
        action: &'static str,
        /// The pin.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel does not tell which network namespace this is.
    #[error("cannot read the network namespace's cookie (Linux 5.14 and later have it): {0}")]
    Namespace(io::Error),
    /// A system call on a table failed.
    #[error("cannot {action} table {table}: {source}")]
    Table {
        /// What was tried.
        action: &'static str,
        /// The table's name.
        table: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else reads the events.
    #[error(
        "another process listens to this node's events: each goes to one reader only, end the other first"
    )]
    Listened,
    /// A table has no room left.
    #[error("table {table} is full ({entries} entries): start with a larger size for it")]
    Full {
        /// The table's name.
        table: &'static str,
        /// How many entries it has room for.
        entries: u32,
    },
    /// The kernel has no memory for a table to grow.
    #[error("the kernel has no memory for more than {entries} entries of table {table}")]
    NoMemory {
        /// The table's name.
        table: &'static str,
        /// How many entries it has.
        entries: u32,
    },
    /// An index or run lies outside of an array.
    #[error("table {table} has {entries} entries: no room for {wanted}")]
    OutOfRange {
        /// The table's name.
        table: &'static str,
        /// How many entries it has.
        entries: u32,
        /// The first entry outside.
        wanted: u64,
    },
    /// A pinned table has another layout than this version's.
    #[error(
        "pinned table {table} has {field} {found}, this version needs {expected}: \
         stop the agent that made it and remove {}", path.display()
    )]
    Layout {
        /// The table's name.
        table: String,
        /// What differs.
        field: &'static str,
        /// As pinned.
        found: u32,
        /// As needed.
        expected: u32,
        /// The pin.
        path: PathBuf,
    },
    /// The object and skep-abi describe different types.
    #[error("the eBPF object does not match this binary: {0}; build both from the same source")]
    Abi(String),
    /// The kernel lacks something.
    #[error("the kernel lacks {feature}: {hint}")]
    Kernel {
        /// What is missing.
        feature: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// The pin directory is not on a BPF file system.
    #[error(
        "{} is not on a BPF file system: mount one there (mount -t bpf bpf DIR)", .0.display()
    )]
    NotBpffs(PathBuf),
    /// The loader refused the object.
    #[error("cannot load the eBPF object: {0}")]
    Load(#[from] aya::EbpfError),
    /// The kernel refused a program.
    #[error("cannot load program {program}: {source}")]
    Program {
        /// The program's name.
        program: &'static str,
        /// Why not.
        source: Box<aya::programs::ProgramError>,
    },
    /// A program could not be attached.
    #[error("cannot attach {program} to {target}: {source}")]
    Attach {
        /// The program's name.
        program: &'static str,
        /// Device or folder.
        target: String,
        /// Why not.
        source: io::Error,
    },
    /// A test run failed.
    #[error("cannot run program {program} over a test packet: {source}")]
    TestRun {
        /// The program's name.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
