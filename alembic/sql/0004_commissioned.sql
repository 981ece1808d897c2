ALTER TABLE leukonode.bundles
    ADD COLUMN commissioned_site TEXT,
    ADD COLUMN commissioned_date TEXT,
    ADD COLUMN commissioned_parent TEXT,
    ADD CONSTRAINT bundles_commissioned_check
        CHECK (num_nulls(commissioned_site, commissioned_date, commissioned_parent) IN (0, 3));
