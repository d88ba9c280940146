-- How far in its tenant's chain a webhook is told that was disabled, and from where on again one that was enabled since.
ALTER TABLE webhooks ADD COLUMN told_until BIGINT;
ALTER TABLE webhooks ADD COLUMN silent_until BIGINT;
