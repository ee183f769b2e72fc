//! Writes container images as OCI archives, without a registry.
