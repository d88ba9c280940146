//! Credentials, key sets, token verification and the revocation mirror.
