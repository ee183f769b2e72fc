//! The API as clients see it: a server of its own per test, in this process.

mod access;
mod lifecycle;
mod lists;
mod nodes;
mod server;
mod watches;
mod writes;
