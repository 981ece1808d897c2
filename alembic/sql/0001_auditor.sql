-- The auditor's contract (docs/database.md). A name here changes only with a release note.

CREATE SCHEMA auditor;

CREATE VIEW auditor.cases AS
SELECT c.id AS case_id,
       c.study_uid,
       c.patient_id,
       c.patient_id_issuer,
       c.patient_name,
       c.patient_birth_date,
       c.patient_sex,
       c.accession_number,
       c.state,
       c.due_at,
       c.received_at,
       c.changed_at,
       (SELECT count(*) FROM leukonode.instances AS i WHERE i.case_id = c.id) AS instances,
       (SELECT count(*) FROM leukonode.analyses AS a
         WHERE a.case_id = c.id AND a.finished_at IS NOT NULL) AS analyses,
       (SELECT count(*) FROM leukonode.reports AS r WHERE r.case_id = c.id) AS reports,
       (SELECT a.completed_by FROM leukonode.analyses AS a
         WHERE a.case_id = c.id ORDER BY a.ordinal DESC LIMIT 1) AS completed_by
  FROM leukonode.cases AS c;

CREATE VIEW auditor.events AS
SELECT e.id AS event_id,
       e.at,
       e.actor,
       e.event,
       e.outcome,
       e.case_id,
       e.objects,
       e.details,
       encode(e.sha256, 'hex') AS sha256
  FROM audit.events AS e;

CREATE VIEW auditor.results AS
WITH finished AS (
    SELECT a.*,
           a.ordinal = max(a.ordinal) OVER (PARTITION BY a.case_id) AS latest
      FROM leukonode.analyses AS a
     WHERE a.finished_at IS NOT NULL
), numbers AS (
    SELECT r.analysis_id, 'summary' AS kind, s.position, s.name, s.count, s.total
      FROM leukonode.results AS r
     CROSS JOIN LATERAL (
           VALUES (0, 'leukocytes', r.leukocytes, NULL::integer),
                  (1, 'blasts', r.blasts, r.leukocytes),
                  (2, 'morphological_blasts', r.morphological_blasts, r.morphological_total),
                  (3, 'overruled', r.overruled, NULL),
                  (4, 'disagreements', r.disagreements, NULL)
           ) AS s (position, name, count, total)
    UNION ALL
    SELECT k.analysis_id, k.kind, k.position, k.name, k.count, k.total
      FROM leukonode.result_counts AS k
)
SELECT f.case_id,
       f.id AS analysis_id,
       f.ordinal,
       f.latest,
       f.finished_at,
       b.untrained,
       r.adequacy,
       n.kind,
       n.position,
       n.name,
       n.count,
       n.total,
       100.0::double precision * n.count / nullif(n.total, 0) AS percent
  FROM finished AS f
  JOIN leukonode.bundles AS b ON b.id = f.bundle
  JOIN leukonode.results AS r ON r.analysis_id = f.id
  JOIN numbers AS n ON n.analysis_id = f.id;

CREATE VIEW auditor.cells AS
SELECT a.case_id,
       a.id AS analysis_id,
       a.ordinal,
       NOT EXISTS (SELECT 1 FROM leukonode.analyses AS later
                    WHERE later.case_id = a.case_id AND later.ordinal > a.ordinal
                      AND later.finished_at IS NOT NULL) AS latest,
       c.number,
       i.source AS instance_uid,
       i.sha256 AS instance_sha256,
       c.frame,
       c.x0_px,
       c.y0_px,
       c.x1_px,
       c.y1_px,
       c.detection_p,
       c.cell_class,
       c.cell_class_p,
       c.wbc_class,
       c.wbc_class_p,
       c.malignancy,
       c.malignancy_p,
       c.subtype,
       c.subtype_p,
       c.final_class,
       c.is_leukocyte,
       c.is_blast,
       c.marks
  FROM leukonode.cells AS c
  JOIN leukonode.analyses AS a ON a.id = c.analysis_id
  JOIN leukonode.images AS i ON i.analysis_id = c.analysis_id AND i.position = c.image;

CREATE VIEW auditor.models AS
SELECT a.case_id,
       a.id AS analysis_id,
       a.ordinal,
       b.bundle_id,
       b.version AS bundle_version,
       b.manifest_sha256,
       b.untrained,
       m.stage,
       m.architecture,
       m.sha256 AS model_sha256,
       m.classes,
       s.engine,
       s.threshold_names,
       s.threshold_values,
       s.seconds,
       s.items,
       a.engine AS analysis_engine,
       a.processor,
       a.software
  FROM leukonode.analyses AS a
  JOIN leukonode.bundles AS b ON b.id = a.bundle
  JOIN leukonode.models AS m ON m.bundle = b.id
  LEFT JOIN leukonode.stage_records AS s ON s.analysis_id = a.id AND s.stage = m.stage;

CREATE VIEW auditor.deliveries AS
SELECT d.id AS delivery_id,
       r.case_id,
       r.id AS report_id,
       r.revision,
       r.status AS report_status,
       r.issued_at,
       d.destination,
       d.state,
       d.attempts_ever AS attempts,
       d.next_attempt_at,
       d.last_error,
       d.created_at,
       d.changed_at,
       o.kind AS object_kind,
       o.instance_uid,
       o.sha256 AS object_sha256,
       said.attempt AS last_attempt,
       lpad(upper(to_hex(said.status)), 4, '0') AS peer_status,
       said.comment AS peer_comment,
       said.at AS peer_said_at
  FROM leukonode.deliveries AS d
  JOIN leukonode.reports AS r ON r.id = d.report_id
  JOIN leukonode.report_objects AS o ON o.report_id = r.id
  LEFT JOIN LATERAL (
       SELECT i.attempt, i.status, i.comment, i.at
         FROM leukonode.delivery_instances AS i
        WHERE i.delivery_id = d.id AND i.instance_uid = o.instance_uid
        ORDER BY i.id DESC
        LIMIT 1
       ) AS said ON true;
