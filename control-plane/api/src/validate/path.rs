//! Where in an object a check is.

use std::fmt;

/// `spec.containers[0].name`, grown and cut back as a walk goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Path(String);

impl Path {
    /// Goes into a field for as long as `visit` runs.
    pub(super) fn within<T>(&mut self, field: &str, visit: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        self.0 = self.child(field);
        let result = visit(self);
        self.0.truncate(length);
        result
    }

    /// Goes to an element of a list.
    pub(super) fn at<T>(&mut self, index: usize, visit: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        self.0 += &format!("[{index}]");
        let result = visit(self);
        self.0.truncate(length);
        result
    }

    /// The path of a field below this one.
    pub(super) fn child(&self, field: &str) -> String {
        if self.0.is_empty() { field.to_owned() } else { format!("{}.{field}", self.0) }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
