-- Whose numbers these are: random, and another after a backup was restored.
ALTER TABLE log_head ADD COLUMN history INTEGER NOT NULL DEFAULT 0;
UPDATE log_head SET history = random();

-- When generations were last raised: foreign tokens carry none, and are judged by when they were issued.
ALTER TABLE tenants ADD COLUMN cutoff INTEGER;
ALTER TABLE user_generations ADD COLUMN cutoff INTEGER;
CREATE INDEX user_generations_by_cutoff ON user_generations (cutoff) WHERE cutoff IS NOT NULL;

-- Refusals that other services wrote to Redis and that are facts now, so that each becomes one once.
CREATE TABLE adopted_tokens (
    jti TEXT PRIMARY KEY,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX adopted_tokens_by_expiry ON adopted_tokens (expires);
