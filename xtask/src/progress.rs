//! Steps with elapsed time, one line each: a spinner on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Runs `work` as a step called `name` and prints how long it took.
///
/// # Errors
/// Those of `work`.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}")
        .expect("the template is a constant");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    let result = work();
    bar.finish_and_clear();
    let mark = if result.is_ok() { "ok  " } else { "FAIL" };
    println!("{mark} {:>6.1} s  {name}", start.elapsed().as_secs_f64());
    result
}
