//! Prints what a packet costs at each program, or at the one that is named, beside a program that does
//! nothing. Needs root.

fn main() -> anyhow::Result<()> {
    let only = std::env::args().nth(1);
    skep_packets_tests::bench::run(only.as_deref(), |cost| println!("{cost}"))
}
