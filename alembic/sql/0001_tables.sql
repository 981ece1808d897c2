-- Tables of the first schema. What they hold and promise: db/tables.py, docs/database.md.


CREATE SCHEMA audit;

CREATE TABLE audit.events (
    id BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    outcome TEXT NOT NULL,
    case_id UUID,
    objects TEXT[] NOT NULL,
    details JSONB NOT NULL,
    sha256 BYTEA NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (id)
);

CREATE INDEX events_at_idx ON audit.events (at);

CREATE INDEX events_case_id_idx ON audit.events (case_id);

CREATE TABLE leukonode.bundles (
    id UUID NOT NULL,
    bundle_id TEXT NOT NULL,
    version TEXT NOT NULL,
    manifest_sha256 TEXT NOT NULL,
    untrained BOOLEAN NOT NULL,
    domains TEXT[] NOT NULL,
    um_per_px DOUBLE PRECISION NOT NULL,
    reject_rate DOUBLE PRECISION,
    confusion BIGINT[],
    CONSTRAINT bundles_pkey PRIMARY KEY (id),
    CONSTRAINT bundles_confusion_check CHECK (cardinality(confusion) = 4)
);

CREATE TABLE leukonode.cases (
    id UUID NOT NULL,
    study_uid TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    patient_id_issuer TEXT NOT NULL,
    patient_name TEXT NOT NULL,
    patient_birth_date TEXT NOT NULL,
    patient_sex TEXT NOT NULL,
    accession_number TEXT NOT NULL,
    state TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    lease_owner TEXT,
    lease_token UUID,
    lease_until TIMESTAMP WITH TIME ZONE,
    attempts INTEGER DEFAULT '0' NOT NULL,
    analysis_ordinal INTEGER DEFAULT '0' NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT cases_pkey PRIMARY KEY (id),
    CONSTRAINT cases_state_check CHECK (state IN ('receiving', 'ready', 'analysing', 'analysed', 'reporting', 'delivering', 'delivered', 'reported', 'undelivered', 'failed')),
    CONSTRAINT cases_lease_check CHECK ((state IN ('analysing', 'reporting')) = (lease_token IS NOT NULL) AND (lease_token IS NULL) = (lease_owner IS NULL) AND (lease_token IS NULL) = (lease_until IS NULL)),
    CONSTRAINT cases_due_check CHECK (state NOT IN ('receiving', 'ready', 'analysed') OR due_at IS NOT NULL),
    CONSTRAINT cases_study_uid_key UNIQUE (study_uid)
);

CREATE INDEX cases_received_at_idx ON leukonode.cases (received_at);

CREATE INDEX cases_state_due_at_idx ON leukonode.cases (state, due_at);

CREATE TABLE leukonode.quarantine (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    instance_uid TEXT,
    sop_class_uid TEXT,
    study_uid TEXT,
    sha256 TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    store_key TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    CONSTRAINT quarantine_pkey PRIMARY KEY (id),
    CONSTRAINT quarantine_reason_check CHECK (reason IN ('conflict', 'other patient', 'refused'))
);

CREATE TABLE leukonode.analyses (
    id UUID NOT NULL,
    case_id UUID NOT NULL,
    ordinal INTEGER NOT NULL,
    completed_by TEXT NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    superseded_at TIMESTAMP WITH TIME ZONE,
    bundle UUID,
    engine TEXT,
    processor TEXT,
    software TEXT,
    leukocytes_wanted INTEGER,
    warnings TEXT[],
    CONSTRAINT analyses_pkey PRIMARY KEY (id),
    CONSTRAINT analyses_case_id_ordinal_key UNIQUE (case_id, ordinal),
    CONSTRAINT analyses_completed_by_check CHECK (completed_by IN ('timer', 'declared')),
    CONSTRAINT analyses_finished_check CHECK ((finished_at IS NULL) = (bundle IS NULL) AND (finished_at IS NULL) = (engine IS NULL) AND (finished_at IS NULL OR superseded_at IS NULL)),
    CONSTRAINT analyses_case_id_fkey FOREIGN KEY(case_id) REFERENCES leukonode.cases (id),
    CONSTRAINT analyses_bundle_fkey FOREIGN KEY(bundle) REFERENCES leukonode.bundles (id)
);

CREATE TABLE leukonode.instances (
    instance_uid TEXT NOT NULL,
    case_id UUID NOT NULL,
    sequence BIGINT GENERATED ALWAYS AS IDENTITY,
    sop_class_uid TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    domain TEXT NOT NULL,
    role TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    store_key TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT instances_pkey PRIMARY KEY (instance_uid),
    CONSTRAINT instances_role_check CHECK (role IN ('image', 'label', 'overview', 'other')),
    CONSTRAINT instances_sha256_check CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT instances_case_id_fkey FOREIGN KEY(case_id) REFERENCES leukonode.cases (id)
);

CREATE INDEX instances_case_id_idx ON leukonode.instances (case_id);

CREATE TABLE leukonode.models (
    bundle UUID NOT NULL,
    position INTEGER NOT NULL,
    stage TEXT NOT NULL,
    architecture TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    classes TEXT[] NOT NULL,
    threshold_names TEXT[] NOT NULL,
    threshold_values DOUBLE PRECISION[] NOT NULL,
    CONSTRAINT models_pkey PRIMARY KEY (bundle, position),
    CONSTRAINT models_bundle_fkey FOREIGN KEY(bundle) REFERENCES leukonode.bundles (id)
);

CREATE TABLE leukonode.analysis_failures (
    analysis_id UUID NOT NULL,
    position INTEGER NOT NULL,
    stage TEXT,
    reason TEXT NOT NULL,
    CONSTRAINT analysis_failures_pkey PRIMARY KEY (analysis_id, position),
    CONSTRAINT analysis_failures_analysis_id_fkey FOREIGN KEY(analysis_id) REFERENCES leukonode.analyses (id)
);

CREATE TABLE leukonode.analysis_instances (
    analysis_id UUID NOT NULL,
    instance_uid TEXT NOT NULL,
    CONSTRAINT analysis_instances_pkey PRIMARY KEY (analysis_id, instance_uid),
    CONSTRAINT analysis_instances_analysis_id_fkey FOREIGN KEY(analysis_id) REFERENCES leukonode.analyses (id),
    CONSTRAINT analysis_instances_instance_uid_fkey FOREIGN KEY(instance_uid) REFERENCES leukonode.instances (instance_uid)
);

CREATE TABLE leukonode.images (
    analysis_id UUID NOT NULL,
    position INTEGER NOT NULL,
    source TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    domain TEXT NOT NULL,
    given_um_per_px DOUBLE PRECISION[],
    pixel_aspect DOUBLE PRECISION,
    monochrome BOOLEAN NOT NULL,
    refusal TEXT NOT NULL,
    header_warnings TEXT[] NOT NULL,
    viable_p DOUBLE PRECISION,
    viable_verdict TEXT NOT NULL,
    um_per_px DOUBLE PRECISION[],
    scale_from TEXT NOT NULL,
    fields_read INTEGER NOT NULL,
    fields_refused INTEGER NOT NULL,
    fields_left INTEGER NOT NULL,
    not_evaluable TEXT NOT NULL,
    warnings TEXT[] NOT NULL,
    CONSTRAINT images_pkey PRIMARY KEY (analysis_id, position),
    CONSTRAINT images_analysis_id_fkey FOREIGN KEY(analysis_id) REFERENCES leukonode.analyses (id)
);

CREATE TABLE leukonode.reports (
    id UUID NOT NULL,
    case_id UUID NOT NULL,
    analysis_id UUID NOT NULL,
    revision INTEGER NOT NULL,
    status TEXT NOT NULL,
    predecessor UUID,
    issued_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT reports_pkey PRIMARY KEY (id),
    CONSTRAINT reports_case_id_revision_key UNIQUE (case_id, revision),
    CONSTRAINT reports_predecessor_check CHECK ((revision = 1) = (predecessor IS NULL)),
    CONSTRAINT reports_case_id_fkey FOREIGN KEY(case_id) REFERENCES leukonode.cases (id),
    CONSTRAINT reports_analysis_id_fkey FOREIGN KEY(analysis_id) REFERENCES leukonode.analyses (id),
    CONSTRAINT reports_predecessor_fkey FOREIGN KEY(predecessor) REFERENCES leukonode.reports (id)
);

CREATE TABLE leukonode.result_counts (
    analysis_id UUID NOT NULL,
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    count INTEGER NOT NULL,
    total INTEGER,
    CONSTRAINT result_counts_pkey PRIMARY KEY (analysis_id, kind, position),
    CONSTRAINT result_counts_kind_check CHECK (kind IN ('class', 'differential', 'subtype', 'unclassified')),
    CONSTRAINT result_counts_analysis_id_fkey FOREIGN KEY(analysis_id) REFERENCES leukonode.analyses (id)
);

CREATE TABLE leukonode.results (
    analysis_id UUID NOT NULL,
    leukocytes INTEGER NOT NULL,
    blasts INTEGER,
    morphological_blasts INTEGER NOT NULL,
    morphological_total INTEGER NOT NULL,
    overruled INTEGER NOT NULL,
    disagreements INTEGER NOT NULL,
    adequacy TEXT NOT NULL,
    CONSTRAINT results_pkey PRIMARY KEY (analysis_id),
    CONSTRAINT results_analysis_id_fkey FOREIGN KEY(analysis_id) REFERENCES leukonode.analyses (id)
);

CREATE TABLE leukonode.stage_records (
    analysis_id UUID NOT NULL,
    position INTEGER NOT NULL,
    stage TEXT NOT NULL,
    model TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    engine TEXT NOT NULL,
    threshold_names TEXT[] NOT NULL,
    threshold_values DOUBLE PRECISION[] NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    items INTEGER NOT NULL,
    CONSTRAINT stage_records_pkey PRIMARY KEY (analysis_id, position),
    CONSTRAINT stage_records_analysis_id_fkey FOREIGN KEY(analysis_id) REFERENCES leukonode.analyses (id)
);

CREATE TABLE leukonode.cells (
    analysis_id UUID NOT NULL,
    number INTEGER NOT NULL,
    image INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    x0_px DOUBLE PRECISION NOT NULL,
    y0_px DOUBLE PRECISION NOT NULL,
    x1_px DOUBLE PRECISION NOT NULL,
    y1_px DOUBLE PRECISION NOT NULL,
    detection_p DOUBLE PRECISION NOT NULL,
    cell_class TEXT NOT NULL,
    cell_class_p DOUBLE PRECISION[] NOT NULL,
    wbc_class TEXT,
    wbc_class_p DOUBLE PRECISION[] NOT NULL,
    malignancy TEXT,
    malignancy_p DOUBLE PRECISION[] NOT NULL,
    subtype TEXT,
    subtype_p DOUBLE PRECISION[] NOT NULL,
    final_class TEXT NOT NULL,
    is_leukocyte BOOLEAN NOT NULL,
    is_blast BOOLEAN NOT NULL,
    marks TEXT[] NOT NULL,
    CONSTRAINT cells_pkey PRIMARY KEY (analysis_id, number),
    CONSTRAINT cells_analysis_id_image_fkey FOREIGN KEY(analysis_id, image) REFERENCES leukonode.images (analysis_id, position),
    CONSTRAINT cells_analysis_id_fkey FOREIGN KEY(analysis_id) REFERENCES leukonode.analyses (id)
);

CREATE TABLE leukonode.deliveries (
    id UUID NOT NULL,
    report_id UUID NOT NULL,
    destination TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    attempts_ever INTEGER DEFAULT '0' NOT NULL,
    next_attempt_at TIMESTAMP WITH TIME ZONE,
    lease_owner TEXT,
    lease_token UUID,
    lease_until TIMESTAMP WITH TIME ZONE,
    last_error TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT deliveries_report_id_destination_key UNIQUE (report_id, destination),
    CONSTRAINT deliveries_state_check CHECK (state IN ('pending', 'sending', 'delivered', 'dead')),
    CONSTRAINT deliveries_lease_check CHECK ((state IN ('sending')) = (lease_token IS NOT NULL) AND (lease_token IS NULL) = (lease_owner IS NULL) AND (lease_token IS NULL) = (lease_until IS NULL)),
    CONSTRAINT deliveries_due_check CHECK ((state = 'pending') = (next_attempt_at IS NOT NULL)),
    CONSTRAINT deliveries_report_id_fkey FOREIGN KEY(report_id) REFERENCES leukonode.reports (id)
);

CREATE INDEX deliveries_state_next_attempt_at_idx ON leukonode.deliveries (state, next_attempt_at);

CREATE TABLE leukonode.report_objects (
    instance_uid TEXT NOT NULL,
    report_id UUID NOT NULL,
    kind TEXT NOT NULL,
    sop_class_uid TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    store_key TEXT NOT NULL,
    CONSTRAINT report_objects_pkey PRIMARY KEY (instance_uid),
    CONSTRAINT report_objects_report_id_kind_key UNIQUE (report_id, kind),
    CONSTRAINT report_objects_report_id_fkey FOREIGN KEY(report_id) REFERENCES leukonode.reports (id)
);

CREATE TABLE leukonode.delivery_instances (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    delivery_id UUID NOT NULL,
    attempt INTEGER NOT NULL,
    instance_uid TEXT NOT NULL,
    status INTEGER,
    comment TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT delivery_instances_pkey PRIMARY KEY (id),
    CONSTRAINT delivery_instances_delivery_id_fkey FOREIGN KEY(delivery_id) REFERENCES leukonode.deliveries (id),
    CONSTRAINT delivery_instances_instance_uid_fkey FOREIGN KEY(instance_uid) REFERENCES leukonode.report_objects (instance_uid)
);

CREATE INDEX delivery_instances_delivery_id_idx ON leukonode.delivery_instances (delivery_id);
