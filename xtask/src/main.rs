//! The one door: build, up, down, test, bench.

fn main() {}
