//! The Store trait and the embedded store.
