-- The host's own streams (which plugins are active) are read at every start, and found without a walk along the log. Appends
-- of everybody else's tenants do not touch the index.
CREATE INDEX event_store_host ON event_store (position) WHERE tenant = 'cairn';
