-- The audit trail: rows are chained by hash and can be added, never changed, by anyone.

-- A field as `<bytes>:<text>`, or `-` for null: no two rows of different content look the same.
CREATE FUNCTION audit.field(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT coalesce(octet_length(value)::text || ':' || value, '-') $$;

-- What is hashed of an event. db/audit.py builds the same text by itself when it verifies.
CREATE FUNCTION audit.canonical(e audit.events) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT audit.field(e.id::text)
        || audit.field(to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'))
        || audit.field(e.actor)
        || audit.field(e.event)
        || audit.field(e.outcome)
        || audit.field(e.case_id::text)
        || audit.field(e.objects::text)
        || audit.field(e.details::text)
$$;

-- Numbers, times and chains a new event. The lock makes writers take turns until their commit, so
-- that ids have no gap and every hash follows the one before it.
CREATE FUNCTION audit.chain() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $$
DECLARE
    previous record;
BEGIN
    PERFORM pg_advisory_xact_lock(8161906172803401);
    SELECT e.id, e.sha256 INTO previous FROM audit.events AS e ORDER BY e.id DESC LIMIT 1;
    NEW.id := coalesce(previous.id, 0) + 1;
    NEW.at := clock_timestamp();
    NEW.sha256 := sha256(
        coalesce(previous.sha256, ''::bytea) || convert_to(audit.canonical(NEW), 'UTF8')
    );
    RETURN NEW;
END;
$$;

CREATE FUNCTION audit.refuse() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $$
BEGIN
    RAISE EXCEPTION '% of audit.events is refused: the audit trail is written once', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END;
$$;

CREATE TRIGGER events_chain BEFORE INSERT ON audit.events
    FOR EACH ROW EXECUTE FUNCTION audit.chain();
CREATE TRIGGER events_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.events
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();

-- also where session_replication_role says that triggers do not count
ALTER TABLE audit.events ENABLE ALWAYS TRIGGER events_chain;
ALTER TABLE audit.events ENABLE ALWAYS TRIGGER events_refuse;
