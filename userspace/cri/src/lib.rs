//! The client of a container runtime, generated from its protocol.
