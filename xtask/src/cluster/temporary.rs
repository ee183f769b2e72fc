//! A cluster for one task: taken down at its end, also when the task fails.

use anyhow::Result;

use super::down;
use super::layout::Layout;

/// A cluster that is taken down when it goes out of scope.
pub(crate) struct Temporary(pub(crate) Layout);

impl Temporary {
    /// A cluster of that name; what an earlier one of that name left is removed.
    ///
    /// # Errors
    /// When that cannot be removed.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let layout = Layout { name: name.to_owned() };
        down::take(&layout)?;
        Ok(Self(layout))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if std::env::var_os("SKEP_KEEP").is_some() {
            println!("SKEP_KEEP is set: {} stays", self.0.name);
        } else if let Err(error) = down::take(&self.0) {
            println!("{error:#}");
        }
    }
}
