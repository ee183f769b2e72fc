//! Who may do what: certificates, tokens, authentication and authorization of the cluster.
//!
//! Everything here is a function over values: certificates and keys in, user out; user and rules
//! in, decision out. Only [`pki::cluster`] touches the disk, and nothing here talks to an API
//! server, reads a clock that was not passed in, or decides what a request means.
#![forbid(unsafe_code)]

pub mod authn;
pub mod authz;
pub mod kubeconfig;
pub mod pki;
pub mod policy;
pub mod serviceaccount;
pub mod token;
