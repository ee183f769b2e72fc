//! The controllers of a cluster, each a pure reconcile function.
