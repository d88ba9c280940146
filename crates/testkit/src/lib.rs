//! Test issuer, token mint, fixed clock, raw canary upstream.
