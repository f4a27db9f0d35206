-- The host's own schema for read models: the relation `readable`, and functions that mean in PostgreSQL what SQLite means by
-- them. It is a function of the program and made anew when something of it is missing; only the login's row is kept.

CREATE SCHEMA IF NOT EXISTS cairn;

-- The login of queries, and the secret with which the host seals the caller of a transaction.
CREATE TABLE IF NOT EXISTS cairn.query_login (
    one      bool PRIMARY KEY DEFAULT true CHECK (one),
    role     text NOT NULL,
    password text,
    secret   bytea NOT NULL
);
REVOKE ALL ON TABLE cairn.query_login FROM PUBLIC;

-- Half away from zero.
CREATE OR REPLACE FUNCTION cairn.round(value float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN abs(value) > 4503599627370496 THEN value
        ELSE trunc(value + CASE WHEN value < 0 THEN -0.5::float8 ELSE 0.5::float8 END) + 0.0::float8
    END
$$;

-- Towards zero, as far as 64 bits go.
CREATE OR REPLACE FUNCTION cairn.real_to_integer(value float8) RETURNS int8
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN value >= 9223372036854775807 THEN 9223372036854775807
        WHEN value <= -9223372036854775808 THEN '-9223372036854775808'::int8
        ELSE trunc(value)::int8
    END
$$;

-- The digits that a text begins with.
CREATE OR REPLACE FUNCTION cairn.text_to_integer(value text) RETURNS int8
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value IS NOT NULL THEN
        least(greatest(
            coalesce(substring(value FROM '^[ \t\n\v\f\r]*([+-]?[0-9]+)')::numeric, 0),
            -9223372036854775808), 9223372036854775807)::int8
    END
$$;

-- Letters from 1; a negative place counts from the end, a negative count goes to the left.
CREATE OR REPLACE FUNCTION cairn.substr(value text, place int8, letters int8) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
    at    numeric := place;
    count numeric := letters;
BEGIN
    IF at < 0 THEN
        at := at + length(value);
        IF at < 0 THEN
            count := CASE WHEN count < 0 THEN 0 ELSE count + at END;
            at := 0;
        END IF;
    ELSIF at > 0 THEN
        at := at - 1;
    ELSIF count > 0 THEN
        count := count - 1;
    END IF;
    IF count < 0 THEN
        count := least(-count, at);
        at := at - count;
    END IF;
    IF count <= 0 OR at >= length(value) THEN
        RETURN '';
    END IF;
    RETURN pg_catalog.substr(value, (at + 1)::int4, least(count, 2000000000 - at)::int4);
END
$$;

CREATE OR REPLACE FUNCTION cairn.substr(value text, place int8) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT cairn.substr(value, place, 4000000000)
$$;

-- Whom a transaction is for. The host says it and seals it with the secret: no statement can say it in its place.
CREATE OR REPLACE FUNCTION cairn.caller(
    OUT principal uuid, OUT tenant text, OUT groups text[], OUT unbounded bool
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said text := current_setting('cairn.caller', true);
    seal text := current_setting('cairn.seal', true);
    key  bytea := (SELECT l.secret FROM cairn.query_login AS l);
BEGIN
    IF said IS NULL OR seal IS NULL OR key IS NULL
        OR seal <> encode(sha256(key || sha256(key || convert_to(said, 'UTF8'))), 'hex')
    THEN
        RAISE EXCEPTION 'the caller is not sealed by the host' USING ERRCODE = 'ZC001';
    END IF;
    principal := (said::json ->> 'principal')::uuid;
    tenant := said::json ->> 'tenant';
    groups := ARRAY(SELECT json_array_elements_text(said::json -> 'groups'));
    unbounded := (said::json ->> 'unbounded')::bool;
END
$$;

-- What the caller may read, from the access rows that committed with the append. PostgreSQL folds the view into the
-- statement that joins it: a row of `access` is looked up for each row of a list, and only then the way up is walked.
CREATE OR REPLACE VIEW cairn.readable AS
SELECT a.aggregate COLLATE "C" AS aggregate, a.id
FROM public.access AS a
WHERE a.tenant = (SELECT c.tenant FROM cairn.caller() AS c)
AND ((SELECT c.unbounded FROM cairn.caller() AS c) OR EXISTS (
    WITH RECURSIVE up (owner, entries, inherits, parent_aggregate, parent_id, depth) AS (
        SELECT a.owner, a.entries, a.inherits, a.parent_aggregate, a.parent_id, 0
        UNION ALL
        SELECT p.owner, p.entries, p.inherits, p.parent_aggregate, p.parent_id, up.depth + 1
        FROM up JOIN public.access AS p
        ON p.id = up.parent_id AND p.aggregate = up.parent_aggregate
        AND p.tenant = (SELECT c.tenant FROM cairn.caller() AS c)
        WHERE up.inherits AND up.depth < 1000
    )
    SELECT 1 FROM up
    WHERE up.owner = (SELECT c.principal FROM cairn.caller() AS c)
    OR CASE
        -- JSON with such an escape cannot be a text here; nobody can be meant by it.
        WHEN up.entries = '[]' OR position('\u0000' IN up.entries) > 0 THEN false
        ELSE EXISTS (
            SELECT 1 FROM json_array_elements(up.entries::json) AS e
            WHERE json_array_length(e -> 'permissions') > 0
            AND (e ->> 'subject' = 'everyone'
                OR e -> 'subject' ->> 'user' = (SELECT c.principal::text FROM cairn.caller() AS c)
                OR e -> 'subject' ->> 'group' = ANY ((SELECT c.groups FROM cairn.caller() AS c)::text[])))
    END
));

-- The log's last event, if access is whole. Who sees it in the transaction in which he reads rows of that position knows that
-- the rows and the access are of one moment of the log.
CREATE OR REPLACE VIEW cairn.log_end AS
SELECT e.position, e.hash FROM public.event_store AS e
WHERE EXISTS (
    SELECT 1 FROM public.access AS a
    WHERE a.id = '00000000-0000-0000-0000-000000000000' AND a.aggregate = '' AND a.tenant = ''
)
ORDER BY e.position DESC LIMIT 1;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA cairn FROM PUBLIC;
REVOKE ALL ON TABLE cairn.log_end FROM PUBLIC;
REVOKE ALL ON TABLE cairn.readable FROM PUBLIC;
