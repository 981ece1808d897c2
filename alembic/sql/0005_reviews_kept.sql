-- What persons did can be added to and never changed, by anyone: the roles have no right to, and where a
-- server let us make no roles, or for the owner, this trigger stands.

CREATE FUNCTION leukonode.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $$
BEGIN
    RAISE EXCEPTION '% of leukonode.% is refused: what persons did is written once', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END;
$$;

CREATE TRIGGER reviews_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON leukonode.reviews
    FOR EACH STATEMENT EXECUTE FUNCTION leukonode.refuse_change();
ALTER TABLE leukonode.reviews ENABLE ALWAYS TRIGGER reviews_refuse;
