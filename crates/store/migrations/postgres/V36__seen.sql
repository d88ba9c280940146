-- What earlier migrations could not see where policies bind the owner: V17 hostnames, V3 issuers.
SELECT set_config('app.scope', 'platform', TRUE);

-- Custom hostnames without a proof are proven when somebody asks, and looked after from then on.
INSERT INTO hostname_proofs (id, project_id, tenant_id, challenge, epoch)
    SELECT id, project_id, tenant_id,
        'portcullis-verify=' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 0
    FROM hostnames
    WHERE kind = 'custom' AND NOT EXISTS (SELECT 1 FROM hostname_proofs WHERE hostname_proofs.id = hostnames.id);

-- The keys of issuers that nobody fetches.
INSERT INTO issuer_fetches (issuer_id, due_at, epoch, asked, idle, failures)
    SELECT id, 0, 0, FALSE, 0, 0 FROM issuers
    WHERE jwks_url IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM issuer_fetches WHERE issuer_fetches.issuer_id = issuers.id);
