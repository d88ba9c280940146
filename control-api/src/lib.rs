//! Control plane: customers, tenants, sign-in, routes, keys and audit.
