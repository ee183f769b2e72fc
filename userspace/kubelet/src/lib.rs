//! Pods to containers, through CRI.
