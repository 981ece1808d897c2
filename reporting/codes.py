"""Every coded term that a result object carries, in one table.

DCM and SCT terms are those of PS3.16 (tested against the tables of pydicom and highdicom); LOINC
terms are of the "no method" kind, because the differential is read from pictures, neither by a
person nor by a haematology analyser; what no public scheme names stands under our own scheme
99LEUKONODE, declared in each object (PS3.3 C.12.1.1.11), and never borrows a public one's name.
Code Value is SH: at most 16 characters.
"""

from domain.cells import UNCLASSIFIED, CellClass, Stage, Subtype, WbcClass
from domain.finding import Flag
from domain.study import Code

LOCAL_SCHEME = "99LEUKONODE"
LOCAL_SCHEME_NAME = "LeukoNode codes"


def _dcm(value: str, meaning: str) -> Code:
    return Code(value=value, scheme="DCM", meaning=meaning)


def _sct(value: str, meaning: str) -> Code:
    return Code(value=value, scheme="SCT", meaning=meaning)


def _loinc(value: str, meaning: str) -> Code:
    return Code(value=value, scheme="LN", meaning=meaning)


def _ucum(value: str, meaning: str) -> Code:
    return Code(value=value, scheme="UCUM", meaning=meaning)


def _local(value: str, meaning: str) -> Code:
    return Code(value=value, scheme=LOCAL_SCHEME, meaning=meaning)


# units
PERCENT = _ucum("%", "Percent")
CELLS = _ucum("{cells}", "cells")
FIELDS = _ucum("{fields}", "fields")
PER_100_WBC = _ucum("/100{WBCs}", "per 100 white blood cells")
NO_UNITS = _ucum("1", "no units")

# the document
REPORT_TITLE = _dcm("126000", "Imaging Measurement Report")
PDF_TITLE = _loinc("11502-2", "Laboratory report")
LANGUAGE = Code(value="en-US", scheme="RFC5646", meaning="English (United States)")
# the general term of CID 100, which has none of microscopy; what was done is in the header
IMAGING_PROCEDURE = _sct("363679005", "Imaging procedure")
LIGHT_MICROSCOPY = _sct("104157003", "Light microscopy")
DEVICE = _dcm("121007", "Device")
PERSON = _dcm("121006", "Person")
SPECIMEN = _dcm("121027", "Specimen")
PROCEDURE_REPORTED = _dcm("121058", "Procedure reported")
IMAGE_LIBRARY = _dcm("111028", "Image Library")
IMAGE_LIBRARY_GROUP = _dcm("126200", "Image Library Group")
SOURCE_IMAGE_OF_LIBRARY = _sct("260753009", "Source")
MODALITY = _dcm("121139", "Modality")
IMAGING_MEASUREMENTS = _dcm("126010", "Imaging Measurements")
QUALITATIVE_EVALUATIONS = Code(value="C0034375", scheme="UMLS", meaning="Qualitative Evaluations")
MEASUREMENT_GROUP = _dcm("125007", "Measurement Group")
FINDING = _dcm("121071", "Finding")
COMMENT = _dcm("121106", "Comment")
MEASUREMENT_METHOD = _sct("370129005", "Measurement Method")
AUTOMATED = _sct("8359006", "Automated")
ARTIFICIAL_INTELLIGENCE = _dcm("123110", "Artificial Intelligence")
UNCERTAINTY_BELOW = _sct("371885007", "-, range of lower measurement uncertainty")
UNCERTAINTY_ABOVE = _sct("371886008", "+, range of upper measurement uncertainty")
MEASUREMENT_FAILURE = _dcm("114006", "Measurement failure")
NOT_ATTEMPTED = _dcm("114007", "Measurement not attempted")
DIVIDE_BY_ZERO = _dcm("114003", "Divide by zero")

# whether something is there (CID 240)
PRESENT = _sct("52101004", "Present")
ABSENT = _sct("272519000", "Absent")
UNDETERMINED = _sct("373068000", "Undetermined")

# how the cascade went (CID 6047)
SUMMARY = _dcm("111017", "CAD Processing and Findings Summary")
ALL_WITHOUT_FINDINGS = _dcm("111241", "All algorithms succeeded; without findings")
ALL_WITH_FINDINGS = _dcm("111242", "All algorithms succeeded; with findings")
SOME_WITHOUT_FINDINGS = _dcm("111243", "Not all algorithms succeeded; without findings")
SOME_WITH_FINDINGS = _dcm("111244", "Not all algorithms succeeded; with findings")
NONE_SUCCEEDED = _dcm("111245", "No algorithms succeeded; without findings")

# image quality
QUALITY = _dcm("111050", "Quality Assessment")
UNUSABLE = _dcm("111235", "Unusable - Quality renders image unusable")
MEETS_STANDARD = _dcm("111237", "Usable - Meets the quality control standard")

# purposes of reference
SOURCE_IMAGE = _dcm("121324", "Source image")
SOURCE_REPORT = _dcm("128225", "Source report")
IMAGE_REGION = _dcm("111030", "Image Region")
SOURCE_OF_MEASUREMENT = _dcm("121112", "Source of Measurement")
RENDERING = _dcm("121332", "Complete Rendering for Presentation")
REPLACED_REPORT = _dcm("121360", "Replaced report")
ACQUISITION_EQUIPMENT = _dcm("109101", "Acquisition Equipment")
PROCESSING_EQUIPMENT = _dcm("109102", "Processing Equipment")

# what a message names beside the numbers
STUDY_INSTANCE_UID = _dcm("110180", "Study Instance UID")
CONTAINER_IDENTIFIER = _dcm("111700", "Specimen Container Identifier")
PDF_UID = _local("PDFUID", "SOP Instance UID of the PDF report")
SR_UID = _local("SRUID", "SOP Instance UID of the structured report")

# modality of an evidence's SOP class (CID 29, which has no *other*: a capture is of a microscope's image)
_SM = _dcm("SM", "Slide Microscopy")
CAPTURED_MODALITY = _dcm("GM", "General Microscopy")
MODALITIES = {
    "1.2.840.10008.5.1.4.1.1.77.1.6": _SM,
    "1.2.840.10008.5.1.4.1.1.77.1.3": _SM,
    "1.2.840.10008.5.1.4.1.1.77.1.2": CAPTURED_MODALITY,
    "1.2.840.10008.5.1.4.1.1.77.1.4": _dcm("XC", "External-camera Photography"),
}

# percentages of the leukocytes counted
DIFFERENTIAL = {
    WbcClass.IMMATURE_NEUTROPHIL: _local("IMMNEUTPCT", "Immature neutrophils/100 leukocytes"),
    # a class of form, as the differential counts it; LOINC's blasts are those of BLAST_FRACTION
    WbcClass.BLAST_CELLS: _local("BLASTCELLPCT", "Blast cells by white-cell class/100 leukocytes"),
    WbcClass.LYMPHOCYTES: _loinc("26478-8", "Lymphocytes/100 leukocytes in Blood"),
    WbcClass.MONOCYTES: _loinc("26485-3", "Monocytes/100 leukocytes in Blood"),
    WbcClass.MYELOCYTE: _loinc("26498-6", "Myelocytes/100 leukocytes in Blood"),
    WbcClass.NEUTROPHIL: _loinc("26511-6", "Neutrophils/100 leukocytes in Blood"),
    WbcClass.PROMYELOCYTE: _loinc("26524-9", "Promyelocytes/100 leukocytes in Blood"),
    WbcClass.EOSINOPHIL: _loinc("26450-7", "Eosinophils/100 leukocytes in Blood"),
    WbcClass.BASOPHIL: _loinc("30180-4", "Basophils/100 leukocytes in Blood"),
}
CELLS_COUNTED = _loinc("11282-1", "Cells Counted Total [#] in Blood")
CELL_COUNT_OF = {
    WbcClass.IMMATURE_NEUTROPHIL.value: _local("IMMNEUTCNT", "Immature neutrophils counted"),
    WbcClass.BLAST_CELLS.value: _local("BLASTCELLCNT", "Blast cells by white-cell class counted"),
    WbcClass.LYMPHOCYTES.value: _local("LYMPHCNT", "Lymphocytes counted"),
    WbcClass.MONOCYTES.value: _local("MONOCNT", "Monocytes counted"),
    WbcClass.MYELOCYTE.value: _local("MYELOCNT", "Myelocytes counted"),
    WbcClass.NEUTROPHIL.value: _local("NEUTCNT", "Neutrophils counted"),
    WbcClass.PROMYELOCYTE.value: _local("PROMYELOCNT", "Promyelocytes counted"),
    WbcClass.EOSINOPHIL.value: _local("EOSCNT", "Eosinophils counted"),
    WbcClass.BASOPHIL.value: _local("BASOCNT", "Basophils counted"),
    WbcClass.NUCLEATED_RED_BLOOD_CELLS.value: _local("NRBCCNT", "Nucleated red cells counted"),
    CellClass.RED_BLOOD_CELL.value: _local("RBCCNT", "Red cells counted"),
    CellClass.PLATELET.value: _local("PLTCNT", "Platelets counted"),
}
DETECTED = _local("DETECTEDCNT", "Cells detected")
NUCLEATED_RED_PER_100 = _loinc("19048-8", "Nucleated erythrocytes/100 leukocytes [Ratio] in Blood")
PLATELETS_PER_RED_CELL = _local("PLTPERRBC", "Platelets per red cell")
PLATELETS_PER_FIELD = _local("PLTPERFIELD", "Platelets per field read")
OVERRULED = _local("OVERRULEDCNT", "Cells where white-cell class overrules cell class")
DISAGREEMENTS = _local("DISAGREECNT", "Cells where morphology and malignancy disagree")
UNCLASSIFIED_AT = {
    Stage.WBC_CLASS: _local("UNCLWBCCNT", "White cells unclassified at white-cell class"),
    Stage.MALIGNANCY: _local("UNCLMALCNT", "Lymphoid cells unclassified at malignancy"),
    Stage.SUBTYPE: _local("UNCLSUBCNT", "Blasts unclassified at subtype"),
}

# blasts
BLAST_FRACTION = _loinc("26446-5", "Blasts/100 leukocytes in Blood")
BLAST_COUNT = _local("BLASTCNT", "Blasts counted")
MORPHOLOGICAL_FRACTION = _local(
    "MORPHBLASTPCT", "Morphological blasts/100 leukocytes and unclassified lymphoid"
)
MORPHOLOGICAL_COUNT = _local(
    "MORPHBLASTCNT", "Morphological blasts, unclassified lymphoid cells included"
)
BLAST_BOUND_LOW = _local("BLASTPCTMIN", "Blasts/100 leukocytes, no unclassified cell a blast")
BLAST_BOUND_HIGH = _local("BLASTPCTMAX", "Blasts/100 leukocytes, all unclassified cells blasts")
BLAST_FRACTION_CORRECTED = _local("BLASTPCTCORR", "Blasts/100 leukocytes, corrected")
SUBTYPE_FRACTION = {
    Subtype.EARLY_PRE_B: _local("EARLYPREBPCT", "Early Pre-B pattern/100 classified blasts"),
    Subtype.PRE_B: _local("PREBPCT", "Pre-B pattern/100 classified blasts"),
    Subtype.PRO_B: _local("PROBPCT", "Pro-B pattern/100 classified blasts"),
}
SUBTYPE_COUNT = {
    Subtype.EARLY_PRE_B: _local("EARLYPREBCNT", "Early Pre-B pattern counted"),
    Subtype.PRE_B: _local("PREBCNT", "Pre-B pattern counted"),
    Subtype.PRO_B: _local("PROBCNT", "Pro-B pattern counted"),
}

# adequacy, and words about intervals
ADEQUACY = _local("ADEQUACY", "Adequacy of the leukocyte count")
ADEQUACY_IS = {
    "adequate": _local("ADEQUATE", "Adequate"),
    "limited": _local("LIMITED", "Limited"),
    "insufficient": _local("INSUFFICIENT", "Insufficient"),
    "none": _local("NOLEUKOCYTES", "None"),
}
LEUKOCYTES_WANTED = _local("LEUKWANTED", "Leukocytes wanted for an adequate count")
FIELDS_READ = _local("FIELDSREAD", "Fields read")
FIELDS_REFUSED = _local("FIELDSREFUSED", "Fields refused as not viable")
FIELDS_LEFT = _local("FIELDSLEFT", "Fields left, enough leukocytes being counted")
BLASTS_SEEN = _local("BLASTSSEEN", "Blasts among the leukocytes counted")
INTERVAL = _local("INTERVAL", "Interval, level and method")
INTERVAL_EXACT = _local("CI95EXACT", "95 % interval, exact binomial (Clopper-Pearson)")
INTERVAL_CORRECTED = _local("CI95CORR", "95 % interval, Rogan-Gladen estimate")
UNTRAINED_MODELS = _local("UNTRAINED", "Untrained models")
FLAG = _local("FLAG", "Flag")
FAILED_STAGE = _local("FAILEDSTAGE", "Stage that failed")
VIABILITY_PROBABILITY = _local("VIABLEPROB", "Probability that the image is viable")

FLAGS = {
    Flag.UNTRAINED_MODELS: _local("F-UNTRAINED", "Models are untrained"),
    Flag.NOT_COMMISSIONED: _local(
        "F-NOTCOMMISSION", "Bundle not commissioned with the laboratory's own images"
    ),
    Flag.NOT_EVALUABLE: _local("F-NOTEVALUABLE", "No image is evaluable"),
    Flag.STAGE_FAILED: _local("F-STAGEFAILED", "A stage failed"),
    Flag.IMAGE_UNREADABLE: _local("F-UNREADABLE", "An image could not be read to its end"),
    Flag.ANY_BLAST: _local("F-ANYBLAST", "At least one blast"),
    Flag.BLASTS_AT_THRESHOLD: _local("F-THRESHOLD", "Blasts at or above the review threshold"),
    Flag.MORPHOLOGY_DISAGREES: _local("F-DISAGREE", "Morphology and malignancy disagree"),
    Flag.REJECT_RATE_HIGH: _local("F-REJECTRATE", "More cells unclassified than the bundle's rate"),
    Flag.SCALE_UNKNOWN: _local("F-SCALE", "Scale unknown"),
    Flag.SCALE_OUT_OF_RANGE: _local("F-SCALERANGE", "Scale outside the bundle's range"),
    Flag.STAIN_OUT_OF_RANGE: _local("F-STAINRANGE", "Stain outside the bundle's range"),
    Flag.DOMAIN_NOT_COVERED: _local("F-DOMAIN", "Image domain not covered by the bundle"),
    Flag.IMAGE_NOT_VIABLE: _local("F-NOTVIABLE", "At least one image is not viable"),
    Flag.FIELD_LIMIT_REACHED: _local("F-FIELDLIMIT", "Reading stopped at the leukocytes wanted"),
    Flag.SPECIMEN_NOT_IDENTIFIED: _local("F-SPECIMEN", "Specimen not identified"),
}

# the cells that annotations and regions show: category and type of each class counted
ANATOMICAL_STRUCTURE = _sct("91723000", "Anatomical Structure")
BLAST_CELL = _sct("312256009", "Blast cell")
CELL_TYPE = {
    WbcClass.IMMATURE_NEUTROPHIL.value: _local("C-IMMNEUT", "Immature neutrophil"),
    WbcClass.BLAST_CELLS.value: BLAST_CELL,
    WbcClass.LYMPHOCYTES.value: _sct("56972008", "Lymphocyte"),
    WbcClass.MONOCYTES.value: _sct("55918008", "Monocyte"),
    WbcClass.MYELOCYTE.value: _sct("4717004", "Neutrophilic myelocyte"),
    WbcClass.NEUTROPHIL.value: _sct("80153006", "Segmented neutrophil"),
    WbcClass.PROMYELOCYTE.value: _sct("43446009", "Promyelocyte"),
    WbcClass.EOSINOPHIL.value: _sct("14793004", "Segmented eosinophil"),
    WbcClass.BASOPHIL.value: _sct("30061004", "Segmented basophil"),
    WbcClass.NUCLEATED_RED_BLOOD_CELLS.value: _local("C-NRBC", "Nucleated red blood cell"),
    CellClass.RED_BLOOD_CELL.value: _sct("41898006", "Erythrocyte"),
    CellClass.PLATELET.value: _sct("16378004", "Platelet"),
    UNCLASSIFIED: _local("C-UNCLASSIFIED", "White cell, unclassified"),
    CellClass.WHITE_BLOOD_CELL.value: _local("C-WHITE", "White cell, class not measured"),
}
FORM = _local("FORM", "Class of form of a blast")
BY_FORM_LYMPHOCYTE = _local("FORM-LYMPHOCYTE", "Lymphocyte by white-cell class")
BY_FORM_BLAST = _local("FORM-BLAST", "Blast cell by white-cell class")
PROBABILITY = _dcm("122157", "Probability")
MALIGNANCY_PROBABILITY = _local("MALIGNANTPROB", "Probability that the cell is malignant")
CELL_NUMBER = _local("CELLNO", "Cell number, as in the report")

# one measurement group a stage; the name is the group's tracking identifier
STAGE_GROUPS = {
    Stage.VIABILITY: "Image quality",
    Stage.DETECTION: "Cells detected",
    Stage.CELL_CLASS: "Cell classes",
    Stage.WBC_CLASS: "Differential",
    Stage.MALIGNANCY: "Blasts",
    Stage.SUBTYPE: "Morphological pattern of the blasts, confirm by flow cytometry",
}
