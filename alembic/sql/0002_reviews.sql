-- What persons do to a case, and the numbers that follow from it (db/reviewing.py, docs/database.md).

CREATE TABLE leukonode.reviews (
    id UUID NOT NULL,
    case_id UUID NOT NULL,
    ordinal INTEGER NOT NULL,
    kind TEXT NOT NULL,
    analysis_id UUID NOT NULL,
    report_id UUID NOT NULL,
    person TEXT NOT NULL,
    organization TEXT NOT NULL,
    comment TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    cell INTEGER,
    before_wbc_class TEXT,
    before_malignancy TEXT,
    before_subtype TEXT,
    before_final_class TEXT,
    after_wbc_class TEXT,
    after_malignancy TEXT,
    after_subtype TEXT,
    after_final_class TEXT,
    CONSTRAINT reviews_pkey PRIMARY KEY (id),
    CONSTRAINT reviews_case_id_ordinal_key UNIQUE (case_id, ordinal),
    CONSTRAINT reviews_kind_check CHECK (kind IN ('reclassification', 'amendment', 'signature')),
    CONSTRAINT reviews_change_check CHECK ((kind = 'reclassification') = (cell IS NOT NULL) AND (cell IS NULL) = (before_final_class IS NULL) AND (cell IS NULL) = (after_final_class IS NULL)),
    CONSTRAINT reviews_case_id_fkey FOREIGN KEY(case_id) REFERENCES leukonode.cases (id),
    CONSTRAINT reviews_analysis_id_fkey FOREIGN KEY(analysis_id) REFERENCES leukonode.analyses (id),
    CONSTRAINT reviews_report_id_fkey FOREIGN KEY(report_id) REFERENCES leukonode.reports (id),
    CONSTRAINT reviews_analysis_id_cell_fkey FOREIGN KEY(analysis_id, cell) REFERENCES leukonode.cells (analysis_id, number)
);

-- the last review that a report holds; 0: none
ALTER TABLE leukonode.reports ADD COLUMN reviewed INTEGER DEFAULT '0' NOT NULL;

-- numbers after a reclassification stand beside those before it; 0: as the networks called the cells
ALTER TABLE leukonode.results ADD COLUMN reviewed INTEGER DEFAULT '0' NOT NULL;
ALTER TABLE leukonode.results DROP CONSTRAINT results_pkey;
ALTER TABLE leukonode.results ADD CONSTRAINT results_pkey PRIMARY KEY (analysis_id, reviewed);
ALTER TABLE leukonode.result_counts ADD COLUMN reviewed INTEGER DEFAULT '0' NOT NULL;
ALTER TABLE leukonode.result_counts DROP CONSTRAINT result_counts_pkey;
ALTER TABLE leukonode.result_counts
    ADD CONSTRAINT result_counts_pkey PRIMARY KEY (analysis_id, kind, position, reviewed);

CREATE VIEW auditor.reviews AS
SELECT v.case_id,
       v.ordinal,
       v.at,
       v.kind,
       v.person,
       v.organization,
       v.comment,
       a.id AS analysis_id,
       a.ordinal AS analysis_ordinal,
       r.id AS report_id,
       r.revision,
       v.cell,
       v.before_wbc_class,
       v.before_malignancy,
       v.before_subtype,
       v.before_final_class,
       v.after_wbc_class,
       v.after_malignancy,
       v.after_subtype,
       v.after_final_class,
       (SELECT min(i.revision) FROM leukonode.reports AS i
         WHERE i.case_id = v.case_id AND i.reviewed >= v.ordinal) AS issued_revision
  FROM leukonode.reviews AS v
  JOIN leukonode.analyses AS a ON a.id = v.analysis_id
  JOIN leukonode.reports AS r ON r.id = v.report_id;

CREATE OR REPLACE VIEW auditor.results AS
WITH finished AS (
    SELECT a.*,
           a.ordinal = max(a.ordinal) OVER (PARTITION BY a.case_id) AS latest
      FROM leukonode.analyses AS a
     WHERE a.finished_at IS NOT NULL
), counted AS (
    SELECT r.*,
           r.reviewed = max(r.reviewed) OVER (PARTITION BY r.analysis_id) AS last
      FROM leukonode.results AS r
), numbers AS (
    SELECT r.analysis_id, r.reviewed, 'summary' AS kind, s.position, s.name, s.count, s.total
      FROM leukonode.results AS r
     CROSS JOIN LATERAL (
           VALUES (0, 'leukocytes', r.leukocytes, NULL::integer),
                  (1, 'blasts', r.blasts, r.leukocytes),
                  (2, 'morphological_blasts', r.morphological_blasts, r.morphological_total),
                  (3, 'overruled', r.overruled, NULL),
                  (4, 'disagreements', r.disagreements, NULL)
           ) AS s (position, name, count, total)
    UNION ALL
    SELECT k.analysis_id, k.reviewed, k.kind, k.position, k.name, k.count, k.total
      FROM leukonode.result_counts AS k
)
SELECT f.case_id,
       f.id AS analysis_id,
       f.ordinal,
       f.latest AND r.last AS latest,
       f.finished_at,
       b.untrained,
       r.adequacy,
       n.kind,
       n.position,
       n.name,
       n.count,
       n.total,
       100.0::double precision * n.count / nullif(n.total, 0) AS percent,
       r.reviewed
  FROM finished AS f
  JOIN leukonode.bundles AS b ON b.id = f.bundle
  JOIN counted AS r ON r.analysis_id = f.id
  JOIN numbers AS n ON n.analysis_id = f.id AND n.reviewed = r.reviewed;
