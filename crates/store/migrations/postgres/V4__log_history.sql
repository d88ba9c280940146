-- Whose numbers these are: random, and another after a backup was restored.
ALTER TABLE log_head ADD COLUMN history BIGINT NOT NULL DEFAULT 0;
UPDATE log_head SET history = ('x' || substr(md5(gen_random_uuid()::text), 1, 16))::bit(64)::bigint;

-- When generations were last raised: foreign tokens carry none, and are judged by when they were issued.
ALTER TABLE tenants ADD COLUMN cutoff BIGINT;
ALTER TABLE user_generations ADD COLUMN cutoff BIGINT;
CREATE INDEX user_generations_by_cutoff ON user_generations (cutoff) WHERE cutoff IS NOT NULL;

-- Refusals that other services wrote to Redis and that are facts now, so that each becomes one once.
CREATE TABLE adopted_tokens (
    jti UUID PRIMARY KEY,
    expires BIGINT NOT NULL
);
CREATE INDEX adopted_tokens_by_expiry ON adopted_tokens (expires);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON adopted_tokens TO portcullis_runtime;
    END IF;
END $$;
