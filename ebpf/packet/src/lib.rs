//! Headers, checksums, address rewrite, encapsulation and ICMP errors.
