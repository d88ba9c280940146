-- What gateways have to be told anew, in the form of this release. Emptied at the next start.
CREATE TABLE republish (
    kind TEXT NOT NULL CHECK (kind IN ('tenant', 'service', 'hostname')),
    entity_id UUID NOT NULL,
    PRIMARY KEY (kind, entity_id)
);

-- Since V20 a gateway serves routes of units only where it knows that the unit is there.
INSERT INTO republish (kind, entity_id)
    SELECT DISTINCT 'tenant', tenant_id FROM org_units WHERE deleted_at IS NULL;
INSERT INTO republish (kind, entity_id)
    SELECT DISTINCT 'service', service_id FROM routes
    WHERE service_id IS NOT NULL AND rule->>'ou_parameter' IS NOT NULL;
INSERT INTO republish (kind, entity_id)
    SELECT DISTINCT 'hostname', hostname_id FROM routes
    WHERE hostname_id IS NOT NULL AND rule->>'ou_parameter' IS NOT NULL;

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON republish TO portcullis_runtime;
    END IF;
END $$;
