//! A complete Kubernetes cluster whose network is eBPF.

fn main() {}
