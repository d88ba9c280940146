-- Menus: one tree for each tenant, and one for the platform's staff, whose entries are of no tenant.
CREATE TABLE menus (
    id TEXT PRIMARY KEY,
    project_id TEXT,
    tenant_id TEXT,
    key TEXT NOT NULL,
    parent_id TEXT REFERENCES menus (id),
    title TEXT NOT NULL,
    path TEXT,
    permission TEXT,
    place INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (id, tenant_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (parent_id, tenant_id) REFERENCES menus (id, tenant_id)
) STRICT;
CREATE UNIQUE INDEX menus_by_key ON menus (tenant_id, key) WHERE tenant_id IS NOT NULL;
CREATE UNIQUE INDEX menus_system_by_key ON menus (key) WHERE tenant_id IS NULL;
CREATE INDEX menus_by_parent ON menus (parent_id);

-- What a member keeps at hand; gone with the entry and with the membership.
CREATE TABLE menu_favorites (
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    menu_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id, menu_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES memberships (tenant_id, user_id) ON DELETE CASCADE,
    FOREIGN KEY (menu_id, tenant_id) REFERENCES menus (id, tenant_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX menu_favorites_by_menu ON menu_favorites (menu_id);
