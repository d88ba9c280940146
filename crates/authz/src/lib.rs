//! Permissions, route table, org-unit rules; pure and synchronous.
