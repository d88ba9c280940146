-- What people call things, folded by us and compared byte by byte: so lists find and sort by it alike in both databases,
-- whatever the locale. Rows that are there are
-- folded at the next start.
ALTER TABLE api_keys ADD COLUMN name_fold TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE customers ADD COLUMN name_fold TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE org_units ADD COLUMN name_fold TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE products ADD COLUMN name_fold TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE roles ADD COLUMN name_fold TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN name_fold TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE user_groups ADD COLUMN name_fold TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN name_fold TEXT COLLATE "C" NOT NULL DEFAULT '';

CREATE INDEX api_keys_unfolded ON api_keys (id) WHERE name_fold = '';
CREATE INDEX customers_unfolded ON customers (id) WHERE name_fold = '';
CREATE INDEX org_units_unfolded ON org_units (id) WHERE name_fold = '';
CREATE INDEX products_unfolded ON products (id) WHERE name_fold = '';
CREATE INDEX roles_unfolded ON roles (id) WHERE name_fold = '';
CREATE INDEX tenants_unfolded ON tenants (id) WHERE name_fold = '';
CREATE INDEX user_groups_unfolded ON user_groups (id) WHERE name_fold = '';
CREATE INDEX users_unfolded ON users (id) WHERE name_fold = '';

-- What lists are sorted by.
CREATE INDEX api_keys_sorted_by_name ON api_keys (tenant_id, name_fold, id);
CREATE INDEX api_keys_sorted_by_creation ON api_keys (tenant_id, created_at, id);
CREATE INDEX customers_sorted_by_name ON customers (name_fold, id);
CREATE INDEX customers_sorted_by_creation ON customers (created_at, id);
CREATE INDEX hostnames_sorted_by_creation ON hostnames (created_at, id);
CREATE INDEX invitations_sorted_by_creation ON invitations (tenant_id, created_at, id);
CREATE INDEX org_units_sorted_by_name ON org_units (tenant_id, name_fold, id);
CREATE INDEX org_units_sorted_by_creation ON org_units (tenant_id, created_at, id);
CREATE INDEX products_sorted_by_name ON products (name_fold, id);
CREATE INDEX products_sorted_by_creation ON products (created_at, id);
CREATE INDEX projects_sorted_by_creation ON projects (created_at, id);
CREATE INDEX role_bindings_sorted_by_creation ON role_bindings (tenant_id, created_at, id);
CREATE INDEX roles_sorted_by_name ON roles (name_fold, id);
CREATE INDEX roles_sorted_by_creation ON roles (created_at, id);
CREATE INDEX routes_sorted_by_creation ON routes (created_at, id);
CREATE INDEX services_sorted_by_creation ON services (created_at, id);
CREATE INDEX tenants_sorted_by_name ON tenants (name_fold, id);
CREATE INDEX tenants_sorted_by_creation ON tenants (created_at, id);
CREATE INDEX tenants_of_customer_sorted_by_name ON tenants (customer_id, name_fold, id);
CREATE INDEX upstreams_sorted_by_creation ON upstreams (created_at, id);
CREATE INDEX user_groups_sorted_by_name ON user_groups (tenant_id, name_fold, id);
CREATE INDEX user_groups_sorted_by_creation ON user_groups (tenant_id, created_at, id);
CREATE INDEX users_sorted_by_name ON users (project_id, name_fold, id);
CREATE INDEX users_sorted_by_creation ON users (project_id, created_at, id);
CREATE INDEX webhooks_sorted_by_creation ON webhooks (tenant_id, created_at, id);
