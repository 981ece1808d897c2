-- Cells' outlines, and annotations as result objects: one for each image, so several of a report.

ALTER TABLE leukonode.cells ADD COLUMN outline_px DOUBLE PRECISION[] DEFAULT '{}' NOT NULL;

ALTER TABLE leukonode.report_objects DROP CONSTRAINT report_objects_report_id_kind_key;
CREATE UNIQUE INDEX report_objects_report_id_kind_key ON leukonode.report_objects (report_id, kind)
    WHERE kind <> 'annotations';
