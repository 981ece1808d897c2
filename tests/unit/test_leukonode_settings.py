from pathlib import Path

import pytest

from leukonode.beside import beside_settings
from leukonode.errors import SettingsError
from leukonode.settings import load_settings
from reporting.beside import ReferenceRange
from reporting.pdf import Paper


def test_settings_example(tmp_path: Path):
    (tmp_path / "leukonode.toml").write_text('port = 104\nae_title = "READER"\n')
    effective = load_settings({"LEUKONODE_PORT": "11113"}, folder=tmp_path)
    assert effective.settings.port == 11113
    assert effective.settings.ae_title == "READER"
    assert effective.origins["port"] == "LEUKONODE_PORT"
    assert effective.origins["ae_title"].endswith("leukonode.toml")
    assert effective.origins["bind"] == "default"


def test_settings_named_file_and_relative_paths(tmp_path: Path):
    (tmp_path / "mine.toml").write_text('data_dir = "here"\n')
    effective = load_settings({"LEUKONODE_CONFIG": "mine.toml"}, folder=tmp_path)
    assert effective.settings.data_dir == (tmp_path / "here").resolve()
    assert effective.settings.store_dir == (tmp_path / "here" / "store").resolve()


def test_settings_lists_of_tables(tmp_path: Path):
    destination = '[{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}]'
    effective = load_settings({"LEUKONODE_DESTINATIONS": destination}, folder=tmp_path)
    assert effective.settings.destinations[0].ae_title == "PACS"
    (tmp_path / "leukonode.toml").write_text(
        '[[peers]]\nae_title = "SCANNER"\naddress = "10.0.0.7"\n'
    )
    assert load_settings({}, folder=tmp_path).settings.peers[0].services == ("echo", "store")


def test_settings_destinations_of_three_kinds(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("x")
    (tmp_path / "leukonode.toml").write_text(
        '[[destinations]]\nname = "pacs"\nae_title = "PACS"\nhost = "h"\nport = 104\n'
        '[[destinations]]\nname = "lis"\nkind = "hl7"\nhost = "h"\nport = 2575\n'
        'tls = true\nca_file = "ca.pem"\n'
        '[[destinations]]\nname = "ehr"\nkind = "fhir"\nurl = "https://h/fhir"\n'
    )
    made = load_settings({}, folder=tmp_path).settings.destinations
    assert [d.kind for d in made] == ["dicom", "hl7", "fhir"]
    assert made[1].ca_file == (tmp_path / "ca.pem").resolve()


HL7 = '"name": "lis", "kind": "hl7", "host": "h", "port": 2575'
FHIR = '"name": "ehr", "kind": "fhir"'


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ('"name": "x", "kind": "fax"', "destinations[0] (from LEUKONODE_DESTINATIONS): kind must"),
        (f'{HL7}, "ae_title": "LIS"', "setting destinations[0].ae_title"),
        (f'{HL7}, "tls": true, "key": "k.pem"', "certificate and key go together"),
        (f'{HL7}, "ca_file": "ca.pem"', "ca_file would be of no use; set tls = true"),
        (f'{HL7}, "tls": true, "ca_file": "ca.pem"', "ca_file of 'lis' names"),
        (f'{FHIR}, "url": "ftp://h"', "setting destinations[0].url"),
        (f'{FHIR}, "url": "https://user:secret@h/fhir"', "setting destinations[0].url"),
        (f'{FHIR}, "url": "http://h", "token_file": "t"', "token_file would be of no use"),
        (f'{FHIR}, "url": "http://h", "patient_system": "mrn"', "destinations[0].patient_system"),
    ],
)
def test_settings_wrong_destination_is_one_line(tmp_path: Path, destination, said):
    environment = {"LEUKONODE_DESTINATIONS": f"[{{{destination}}}]"}
    with pytest.raises(SettingsError) as caught:
        load_settings(environment, folder=tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "toml", "said"),
    [
        ({"LEUKONODE_PORT": "many"}, "", "setting port (from LEUKONODE_PORT)"),
        ({"LEUKONODE_PROT": "1"}, "", "LEUKONODE_PROT: there is no setting 'prot'"),
        ({}, "port = 70000", "setting port (from"),
        ({}, "port = ", "cannot be read as TOML"),
        ({}, 'ae_title = "A TITLE OF MORE THAN 16"', "setting ae_title"),
        ({}, 'ae_title = "   "', "setting ae_title"),
        ({}, 'ae_title = "A\\\\B"', "setting ae_title"),
        ({"LEUKONODE_DESTINATIONS": "[{"}, "", "LEUKONODE_DESTINATIONS is not a JSON list"),
        (
            {"LEUKONODE_DESTINATIONS": '[{"name": "p", "ae_title": "P", "host": "h"}]'},
            "",
            "setting destinations[0].port",
        ),
        (
            {"LEUKONODE_PEERS": '[{"ae_title": "PACS", "address": "pacs.hospital.example"}]'},
            "",
            "setting peers[0].address",
        ),
        ({}, 'store_url = "s3://bucket/x"', "'s3:' is not available"),
        ({}, 'database_url = "mysql://x"', "setting database_url"),
        ({}, "leukocytes_wanted = 50", "setting adequacy_limited"),
        ({"LEUKONODE_CONFIG": "absent.toml"}, "", "no such file"),
    ],
)
def test_settings_wrong_value_is_one_line(tmp_path: Path, environment, toml, said):
    if toml:
        (tmp_path / "leukonode.toml").write_text(toml)
    with pytest.raises(SettingsError) as caught:
        load_settings(environment, folder=tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_of_the_report_reach_it(tmp_path):
    given = {
        "LEUKONODE_THRESHOLDS_PERCENT": "[5, 30]",
        "LEUKONODE_REFERENCE_RANGES": '[{"name": "neutrophil", "low": 40, "high": 75}]',
        "LEUKONODE_REPORT_PAPER": "letter",
    }
    settings = load_settings(given, folder=tmp_path).settings
    beside = beside_settings(settings)
    assert settings.report_paper == Paper.LETTER
    assert beside.thresholds_percent == (5, 30)
    assert beside.reference_of("neutrophil") == ReferenceRange(name="neutrophil", low=40, high=75)
    assert beside.reference_of("monocytes") is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("REPORT_PAPER", "a5", "report_paper"),
        ("THRESHOLDS_PERCENT", "[0]", r"thresholds_percent\[0\]"),
        ("REFERENCE_RANGES", '[{"name": "neutrophil", "low": 75, "high": 40}]', "low"),
        ("REFERENCE_RANGES", '[{"name": "stab cells", "low": 1, "high": 2}]', "reference_ranges"),
        (
            "REFERENCE_RANGES",
            '[{"name": "neutrophil", "low": 1, "high": 2}, {"name": "neutrophil", "low": 1, "high": 3}]',
            "same class",
        ),
    ],
)
def test_settings_of_the_report_that_make_no_sense_stop_the_start(tmp_path, name, value, said):
    with pytest.raises(SettingsError, match=said):
        load_settings({f"LEUKONODE_{name}": value}, folder=tmp_path)
