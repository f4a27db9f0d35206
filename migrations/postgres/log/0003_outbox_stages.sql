-- The stages before a command are looked for with each one that could be sent.
CREATE INDEX policy_outbox_stage ON policy_outbox (policy, position, stage);
