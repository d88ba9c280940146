//! The heart: one request in, a permit or a reason out.
