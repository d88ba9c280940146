-- Emergency administrators: one for each customer. The password is not the user's: it is good for this sign-in only.
CREATE TABLE break_glass (
    customer_id TEXT PRIMARY KEY REFERENCES customers (id),
    user_id TEXT NOT NULL UNIQUE,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    totp_enc BLOB NOT NULL,
    last_step INTEGER NOT NULL,
    disabled_at INTEGER,
    set_up_at INTEGER NOT NULL,
    last_login_at INTEGER,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id)
) STRICT;
CREATE INDEX break_glass_by_tenant ON break_glass (tenant_id);
