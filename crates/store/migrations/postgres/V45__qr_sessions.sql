-- A session that another one approved, by a QR code, is one of its own method and says beside it how the approving one was opened.
ALTER TABLE sessions ADD COLUMN approved_by TEXT;

-- A sign-in that waits for its second factor says what was shown; missing for what `method` says alone.
ALTER TABLE login_challenges ADD COLUMN approved_by TEXT;
ALTER TABLE login_challenges ADD COLUMN amr TEXT;

-- Of before, those that a passkey's session approved can be told: no passkey of theirs was shown, nor a password since.
UPDATE sessions
SET method = 'qr', approved_by = 'passkey', amr = CASE WHEN amr LIKE '%otp%' THEN 'otp mfa' ELSE '' END
WHERE method = 'passkey' AND amr NOT LIKE '%hwk%' AND amr NOT LIKE '%swk%' AND amr NOT LIKE '%pwd%';
DELETE FROM login_challenges WHERE method = 'passkey';
