//! Every key, value and event that kernel and user space share.
