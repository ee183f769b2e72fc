//! Prints what a packet costs at each program, beside a program that does nothing. Needs root.

fn main() -> anyhow::Result<()> {
    for cost in skep_packets_tests::bench::run()? {
        println!("{cost}");
    }
    Ok(())
}
