-- Which gateways may ask the control plane. A join token is kept as its SHA-256, and belongs to the first key (SHA-256
-- of its public half) that used it.
CREATE TABLE enrolments (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    fleet TEXT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    token_expires_at INTEGER NOT NULL,
    key_hash BLOB,
    joined_at INTEGER,
    certificate_expires_at INTEGER,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX enrolments_by_name ON enrolments (fleet, name) WHERE revoked_at IS NULL;

-- The fleet whose gateways serve a hostname.
ALTER TABLE hostnames ADD COLUMN fleet TEXT NOT NULL DEFAULT 'default';
CREATE INDEX hostnames_by_fleet ON hostnames (fleet);

-- Which fleets are told of what: hostnames, their certificates, the services they offer, the upstreams these go to.
-- Entities of other kinds are told to every fleet.
CREATE TABLE audiences (
    kind TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    fleet TEXT NOT NULL,
    PRIMARY KEY (kind, entity_id, fleet)
) STRICT;
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
