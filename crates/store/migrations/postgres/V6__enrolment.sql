-- Which gateways may ask the control plane. A join token is kept as its SHA-256, and belongs to the first key (SHA-256
-- of its public half) that used it.
CREATE TABLE enrolments (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    fleet TEXT NOT NULL,
    token_hash BYTEA NOT NULL UNIQUE,
    token_expires_at BIGINT NOT NULL,
    key_hash BYTEA,
    joined_at BIGINT,
    certificate_expires_at BIGINT,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX enrolments_by_name ON enrolments (fleet, name) WHERE revoked_at IS NULL;

ALTER TABLE enrolments ENABLE ROW LEVEL SECURITY;
ALTER TABLE enrolments FORCE ROW LEVEL SECURITY;
CREATE POLICY enrolments_scope ON enrolments USING (current_setting('app.scope', true) = 'platform');

-- The fleet whose gateways serve a hostname.
ALTER TABLE hostnames ADD COLUMN fleet TEXT NOT NULL DEFAULT 'default';
CREATE INDEX hostnames_by_fleet ON hostnames (fleet);

-- Which fleets are told of what: hostnames, their certificates, the services they offer, the upstreams these go to.
-- Entities of other kinds are told to every fleet.
CREATE TABLE audiences (
    kind TEXT NOT NULL,
    entity_id UUID NOT NULL,
    fleet TEXT NOT NULL,
    PRIMARY KEY (kind, entity_id, fleet)
);
-- Policies bind the owner too.
SELECT set_config('app.scope', 'platform', TRUE);
INSERT INTO audiences (kind, entity_id, fleet)
    SELECT 'hostname', id, fleet FROM hostnames WHERE verify_state = 'verified'
    UNION SELECT 'certificate', certificate_id, fleet FROM hostnames
        WHERE verify_state = 'verified' AND certificate_id IS NOT NULL
    UNION SELECT 'service', offer.service_id, host.fleet FROM hostname_services AS offer
        JOIN hostnames AS host ON host.id = offer.hostname_id WHERE host.verify_state = 'verified'
    UNION SELECT 'upstream', service.upstream_id, host.fleet FROM hostname_services AS offer
        JOIN hostnames AS host ON host.id = offer.hostname_id
        JOIN services AS service ON service.id = offer.service_id WHERE host.verify_state = 'verified'
    UNION SELECT 'upstream', route.upstream_id, host.fleet FROM hostname_services AS offer
        JOIN hostnames AS host ON host.id = offer.hostname_id
        JOIN routes AS route ON route.service_id = offer.service_id
        WHERE host.verify_state = 'verified' AND route.enabled AND route.upstream_id IS NOT NULL
    UNION SELECT 'upstream', route.upstream_id, host.fleet FROM hostnames AS host
        JOIN routes AS route ON route.hostname_id = host.id
        WHERE host.verify_state = 'verified' AND route.enabled AND route.upstream_id IS NOT NULL;

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON enrolments, audiences TO portcullis_runtime;
    END IF;
END $$;
