-- Menus: one tree for each tenant, and one for the platform's staff, whose entries are of no tenant.
CREATE TABLE menus (
    id UUID PRIMARY KEY,
    project_id UUID,
    tenant_id UUID,
    key TEXT NOT NULL,
    parent_id UUID REFERENCES menus (id),
    title TEXT NOT NULL,
    path TEXT,
    permission TEXT,
    place BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    UNIQUE (id, tenant_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (parent_id, tenant_id) REFERENCES menus (id, tenant_id)
);
CREATE UNIQUE INDEX menus_by_key ON menus (tenant_id, key) WHERE tenant_id IS NOT NULL;
CREATE UNIQUE INDEX menus_system_by_key ON menus (key) WHERE tenant_id IS NULL;
CREATE INDEX menus_by_parent ON menus (parent_id);

-- What a member keeps at hand; gone with the entry and with the membership.
CREATE TABLE menu_favorites (
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    user_id UUID NOT NULL,
    menu_id UUID NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, user_id, menu_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES memberships (tenant_id, user_id) ON DELETE CASCADE,
    FOREIGN KEY (menu_id, tenant_id) REFERENCES menus (id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX menu_favorites_by_menu ON menu_favorites (menu_id);

ALTER TABLE menus ENABLE ROW LEVEL SECURITY;
ALTER TABLE menus FORCE ROW LEVEL SECURITY;
CREATE POLICY menus_scope ON menus USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE menu_favorites ENABLE ROW LEVEL SECURITY;
ALTER TABLE menu_favorites FORCE ROW LEVEL SECURITY;
CREATE POLICY menu_favorites_scope ON menu_favorites USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON menus, menu_favorites TO portcullis_runtime;
    END IF;
END $$;
