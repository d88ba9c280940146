-- Organisational units that can be restored, groups, invitations, preferences.

-- Who made a unit, when it was last changed, and when it is removed for good once it is deleted.
ALTER TABLE org_units ADD COLUMN created_by TEXT;
ALTER TABLE org_units ADD COLUMN purge_after INTEGER;
ALTER TABLE org_units ADD COLUMN updated_at INTEGER;
CREATE INDEX org_units_by_purge ON org_units (purge_after) WHERE purge_after IS NOT NULL;
CREATE INDEX role_bindings_by_subject ON role_bindings (tenant_id, subject_kind, subject_id);
CREATE INDEX role_bindings_by_unit ON role_bindings (ou_id) WHERE ou_id IS NOT NULL;

-- A group grants nothing of itself: roles are bound to it, and its members hold them.
CREATE TABLE user_groups (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (id, tenant_id),
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
) STRICT;

CREATE TABLE group_members (
    group_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, user_id),
    FOREIGN KEY (group_id, tenant_id) REFERENCES user_groups (id, tenant_id) ON DELETE CASCADE,
    -- Who leaves the tenant leaves its groups.
    FOREIGN KEY (tenant_id, user_id) REFERENCES memberships (tenant_id, user_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX group_members_by_user ON group_members (tenant_id, user_id);

CREATE TABLE invitations (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    email TEXT NOT NULL,
    email_fold TEXT NOT NULL,
    roles TEXT NOT NULL,
    invited_by TEXT NOT NULL,
    by_staff INTEGER NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status IN ('pending', 'accepted', 'revoked', 'expired')),
    accepted_by TEXT,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    version INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
) STRICT;
-- One waits for each address.
CREATE UNIQUE INDEX invitations_one_pending ON invitations (tenant_id, email_fold) WHERE status = 'pending';
CREATE INDEX invitations_by_tenant ON invitations (tenant_id, id);
CREATE INDEX invitations_by_end ON invitations (expires_at);

CREATE TABLE preferences (
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    body TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES memberships (tenant_id, user_id) ON DELETE CASCADE
) STRICT;
