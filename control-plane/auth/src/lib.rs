//! Certificates, tokens, authentication and authorization.
