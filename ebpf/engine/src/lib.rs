//! The datapath's decisions, over a Tables trait.
