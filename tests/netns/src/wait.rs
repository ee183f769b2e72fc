//! Time in tests: waiting for a condition, and how long a disturbance lasts.

use std::time::{Duration, Instant};

/// How long a condition may take to come true; nothing is said about how fast it should.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Tries until it succeeds; panics with the last error after a long time.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if start.elapsed() > PATIENCE => panic!("waited for {what}: {error}"),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// How long a disturbance lasts: `seconds`, or what the environment's `variable` says for a longer run.
pub fn length(variable: &str, seconds: u64) -> Duration {
    let told = std::env::var(variable).ok().map(|text| text.parse());
    let told = told.map(|number| number.unwrap_or_else(|_| panic!("{variable} is not a number")));
    Duration::from_secs(told.unwrap_or(seconds))
}
