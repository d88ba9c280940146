-- While an upstream's assertion key is exchanged, two are valid: the one that signs, and the one that will or did.
ALTER TABLE upstreams ADD COLUMN other_key_enc BLOB;
ALTER TABLE upstreams ADD COLUMN other_kid TEXT;
ALTER TABLE upstreams ADD COLUMN other_state TEXT CHECK (other_state IN ('next', 'previous'));

-- The control API asks whether a token was refused, whoever refused it.
CREATE INDEX facts_by_token ON facts (body ->> 'jti') WHERE body ->> 'jti' IS NOT NULL;
