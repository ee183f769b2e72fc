//! The program inside the sandbox and demo images.

fn main() {}
