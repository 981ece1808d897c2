"""Settings: one frozen value, read once at the start and handed down.

Order: default, then `leukonode.toml` (in the working folder, or where LEUKONODE_CONFIG says), then
environment variables LEUKONODE_<NAME>. Lists and tables in a variable are written as JSON. A wrong
value stops the start with one line that names it, where it came from, and what is expected.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from leukonode.errors import SettingsError

__all__ = [
    "Destination",
    "DicomDestination",
    "Effective",
    "FhirDestination",
    "Hl7Destination",
    "PeerSetting",
    "Settings",
    "load_settings",
]

PREFIX = "LEUKONODE_"
# Read by us, but not settings of the service.
_OTHER_VARIABLES = frozenset({"LEUKONODE_CONFIG", "LEUKONODE_PICTURES"})

_LISTS = (
    "destinations",
    "peers",
    "delivery_retry_seconds",
    "thresholds_percent",
    "reference_ranges",
)

# PS3.5 6.2: AE is 16 bytes of the default repertoire without backslash and control characters
AeTitle = Annotated[
    str,
    StringConstraints(pattern=r"^ *[\x21-\x5b\x5d-\x7e][\x20-\x5b\x5d-\x7e]*$", max_length=16),
]
Port = Annotated[int, Field(ge=0, le=65535)]
PeerPort = Annotated[int, Field(ge=1, le=65535)]
Percent = Annotated[float, Field(gt=0, le=100)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _AnyDestination(_Frozen):
    """Where results go. `when` is the event that sends them."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    when: Literal["report"] = "report"


class DicomDestination(_AnyDestination):
    """A PACS: gets the DICOM objects."""

    kind: Literal["dicom"] = "dicom"
    ae_title: AeTitle
    host: str
    port: PeerPort
    tls: Literal[False] = False
    commitment: Literal["none"] = "none"


class _Certified(_AnyDestination):
    """Files in PEM: whom to believe (else the system's authorities), and who this node is."""

    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The files it names, by setting."""
        named = ("ca_file", "certificate", "key", "token_file")
        return {n: file for n in named if (file := getattr(self, n, None)) is not None}

    def _check_encrypted(self, mend: str, *, encrypted: bool) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if not encrypted and self.files:
            raise ValueError(f"{', '.join(self.files)} would be of no use; {mend}")


class Hl7Destination(_Certified):
    """A receiver of HL7 v2 messages over MLLP."""

    kind: Literal["hl7"]
    host: str
    port: PeerPort
    tls: bool = False
    receiving_application: Annotated[str, Field(max_length=180)] = ""
    receiving_facility: Annotated[str, Field(max_length=180)] = ""

    @model_validator(mode="after")
    def _is_whole(self) -> "Hl7Destination":
        self._check_encrypted("set tls = true", encrypted=self.tls)
        return self


class FhirDestination(_Certified):
    """A FHIR R4 server, by its base address. A token file would be sent to whoever listens, so it
    wants https too."""

    kind: Literal["fhir"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$")]
    token_file: Path | None = None
    patient_system: Annotated[
        str, StringConstraints(pattern=r"^([A-Za-z][A-Za-z0-9+.-]*:\S+)?$")
    ] = ""

    @model_validator(mode="after")
    def _is_whole(self) -> "FhirDestination":
        self._check_encrypted("give an https url", encrypted=self.url.startswith("https:"))
        return self


def _kind_of(value: Any) -> Any:
    """A destination that states no kind is a PACS."""
    return value.get("kind", "dicom") if isinstance(value, dict) else getattr(value, "kind", None)


Destination = Annotated[
    Annotated[DicomDestination, Tag("dicom")]
    | Annotated[Hl7Destination, Tag("hl7")]
    | Annotated[FhirDestination, Tag("fhir")],
    Discriminator(
        _kind_of,
        custom_error_type="destination_kind",
        custom_error_message="kind must be 'dicom', 'hl7' or 'fhir'",
    ),
]


class PeerSetting(_Frozen):
    """Who may call: an AE title and the address it calls from."""

    ae_title: AeTitle
    address: str
    services: tuple[Literal["echo", "store", "photographic"], ...] = ("echo", "store")

    @field_validator("address")
    @classmethod
    def _is_a_network(cls, address: str) -> str:
        ip_network(address, strict=False)
        return address


class ReferenceRangeSetting(_Frozen):
    """Where the percentage of a leukocyte class lies in health, by the laboratory's own word."""

    name: Literal[
        "immature_neutrophil",
        "blast_cells",
        "lymphocytes",
        "monocytes",
        "myelocyte",
        "neutrophil",
        "promyelocyte",
        "eosinophil",
        "basophil",
    ]
    low: Annotated[float, Field(ge=0, le=100)]
    high: Annotated[float, Field(ge=0, le=100)]


class Settings(_Frozen):
    """Every setting with its default; `docs/settings.md` explains each."""

    database_url: str = ""
    data_dir: Path = Path("leukonode-data")
    store_url: str = ""
    ae_title: AeTitle = "LEUKONODE"
    bind: str = "127.0.0.1"
    port: Port = 11112
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 50
    destinations: tuple[Destination, ...] = ()
    peers: tuple[PeerSetting, ...] | None = None
    bundle: Path | None = None
    study_quiet_seconds: Annotated[float, Field(gt=0, le=86400)] = 30
    leukocytes_wanted: Annotated[int, Field(ge=1)] = 200
    adequacy_limited: Annotated[int, Field(ge=1)] = 100
    review_threshold_percent: Percent = 20
    annotations: bool = True
    thresholds_percent: tuple[Percent, ...] = ()
    reference_ranges: tuple[ReferenceRangeSetting, ...] = ()
    report_paper: Literal["a4", "letter"] = "a4"
    min_free_mb: Annotated[int, Field(ge=0)] = 1024
    max_object_mb: Annotated[int, Field(ge=1)] = 4096
    analysis_timeout_seconds: Annotated[float, Field(gt=0)] = 3600
    lease_seconds: Annotated[float, Field(ge=2)] = 30
    delivery_retry_seconds: tuple[Annotated[float, Field(ge=0)], ...] = (5, 30, 120, 600, 3600)
    delivery_timeout_seconds: Annotated[float, Field(gt=0)] = 30
    threads: Annotated[int, Field(ge=0)] = 0

    @property
    def store_dir(self) -> Path:
        """The object store's folder."""
        if self.store_url:
            return Path(self.store_url.removeprefix("file://").removeprefix("file:"))
        return self.data_dir / "store"


@dataclass(frozen=True, kw_only=True)
class Effective:
    """The settings with the origin of each."""

    settings: Settings
    origins: Mapping[str, str]


def load_settings(environment: Mapping[str, str], *, folder: Path) -> Effective:
    """Read the settings. Relative paths are taken from `folder`, the working folder.

    Raises SettingsError with one line.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = dict.fromkeys(Settings.model_fields, "default")
    file = _settings_file(environment, folder)
    if file is not None:
        for name, value in _read_toml(file).items():
            values[name] = value
            origins[name] = str(file)
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in _OTHER_VARIABLES:
            continue
        name = variable.removeprefix(PREFIX).lower()
        values[name] = _from_variable(name, text)
        origins[name] = variable
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_one_line(error, origins)) from None
    return Effective(settings=_settled(settings, folder), origins=origins)


def _settings_file(environment: Mapping[str, str], folder: Path) -> Path | None:
    named = environment.get("LEUKONODE_CONFIG")
    if named:
        file = folder / named
        if not file.is_file():
            raise SettingsError(f"LEUKONODE_CONFIG names {file}, and no such file is there")
        return file
    file = folder / "leukonode.toml"
    return file if file.is_file() else None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file} cannot be read as TOML: {error}") from None


def _from_variable(name: str, text: str) -> Any:
    if name in _LISTS:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise SettingsError(f"{PREFIX}{name.upper()} is not a JSON list: {error}") from None
    return text


def _one_line(error: ValidationError, origins: Mapping[str, str]) -> str:
    first = error.errors()[0]
    name, *inside = [str(part) for part in first["loc"]]
    if name == "destinations":  # the kind that was tried is no part of the place
        del inside[1:2]
    place = name + "".join(f"[{p}]" if p.isdigit() else f".{p}" for p in inside)
    if first["type"] == "extra_forbidden" and not inside:
        return f"{origins[name]}: there is no setting '{name}'; `leukonode settings` lists them"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"setting {place} (from {origins[name]}): {first['msg']}{more}"


def _settled(settings: Settings, folder: Path) -> Settings:
    """Absolute paths, and the checks that concern more than one value."""
    url = settings.store_url
    if url and not url.startswith("file:"):
        raise SettingsError(
            f"setting store_url: '{url.split(':')[0]}:' is not available in this version; "
            "use file:/a/folder"
        )
    if settings.database_url and not settings.database_url.startswith(
        ("postgresql:", "postgresql+psycopg:", "postgres:")
    ):
        raise SettingsError("setting database_url: wants postgresql://user@host/name")
    names = [d.name for d in settings.destinations]
    if len(names) != len(set(names)):
        raise SettingsError("setting destinations: two of them have the same name")
    if any(r.low > r.high for r in settings.reference_ranges):
        raise SettingsError("setting reference_ranges: low must not be above high")
    ranged = [r.name for r in settings.reference_ranges]
    if len(ranged) != len(set(ranged)):
        raise SettingsError("setting reference_ranges: two of them are of the same class")
    if settings.adequacy_limited > settings.leukocytes_wanted:
        raise SettingsError("setting adequacy_limited: must not be above leukocytes_wanted")
    return settings.model_copy(
        update={
            "data_dir": (folder / settings.data_dir).resolve(),
            "bundle": (folder / settings.bundle).resolve() if settings.bundle else None,
            "destinations": tuple(_placed(d, folder) for d in settings.destinations),
            "store_url": (
                f"file:{(folder / settings.store_dir).resolve()}" if settings.store_url else ""
            ),
        }
    )


def _placed(destination: Destination, folder: Path) -> Destination:
    """With absolute paths. Raises SettingsError where a file is not there."""
    if isinstance(destination, DicomDestination):
        return destination
    files = {name: (folder / file).resolve() for name, file in destination.files.items()}
    for name, file in files.items():
        if not file.is_file():
            raise SettingsError(
                f"setting destinations: {name} of '{destination.name}' names {file}, and no such "
                "file is there"
            )
    return destination.model_copy(update=files)
