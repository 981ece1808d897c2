"""Who may do what: two group roles, and their rights, applied at each upgrade.

`leukonode_app`      the service: reads and adds everywhere, changes the few rows that live (cases,
                     analyses, deliveries), and never the audit trail
`leukonode_auditor`  the views of schema `auditor`, to read, and nothing else

The service connects as any login that is a member of `leukonode_app` and takes that role at once,
so that it works with fewer rights than the owner of the tables even where one login does both.
On a server where we may make no roles the triggers still stand; `missing_protections` says so.
"""

import psycopg
from psycopg import sql

from db.tables import AUDIT, CASES, MUTABLE, metadata

__all__ = ["APP", "AUDITOR", "apply_grants", "ensure_roles", "missing_protections"]

APP, AUDITOR = "leukonode_app", "leukonode_auditor"


def ensure_roles(conn: psycopg.Connection) -> None:
    """Make the roles where we may, and ourselves a member of the service's. Each in its own try."""
    for role in (APP, AUDITOR):
        _try(conn, sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    _try(conn, sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(APP)))


def apply_grants(conn: psycopg.Connection) -> None:
    """Rights of the roles that exist. Needs the owner of the tables; else nothing changes."""
    existing = {
        name
        for (name,) in conn.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [[APP, AUDITOR]]
        )
    }
    app, auditor = sql.Identifier(APP), sql.Identifier(AUDITOR)
    here = sql.Identifier(conn.info.dbname)
    statements: list[sql.Composed] = [
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(here, sql.Identifier(role))
        for role in sorted(existing)
    ]
    if APP in existing:
        statements += [
            sql.SQL(part).format(app)
            for part in (
                "GRANT USAGE ON SCHEMA leukonode, audit, auditor, queue TO {}",
                "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA leukonode TO {}",
                "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA leukonode TO {}",
                "GRANT SELECT, INSERT ON audit.events TO {}",
                "REVOKE UPDATE, DELETE, TRUNCATE ON audit.events FROM {}",
                "GRANT SELECT ON ALL TABLES IN SCHEMA auditor TO {}",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA queue TO {}",
                "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA queue TO {}",
                "REVOKE INSERT ON leukonode.alembic_version FROM {}",
            )
        ]
        statements += [
            sql.SQL("GRANT UPDATE ON {} TO {}").format(sql.Identifier(CASES, table.name), app)
            for table in MUTABLE
        ]
    if AUDITOR in existing:
        statements += [
            sql.SQL("GRANT USAGE ON SCHEMA auditor TO {}").format(auditor),
            sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA auditor TO {}").format(auditor),
        ]
    for statement in statements:
        _try(conn, statement)


def missing_protections(conn: psycopg.Connection) -> list[str]:
    """What does not stand as it should, one line each with its mend; empty when all does."""
    said = []
    for role, purpose in ((APP, "the service"), (AUDITOR, "the auditor")):
        if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
            said.append(
                f"there is no role {role} for {purpose}; let an administrator run "
                f"CREATE ROLE {role} NOLOGIN; then leukonode db upgrade"
            )
        elif role == AUDITOR and not _has(conn, role, "auditor.events", "SELECT"):
            said.append(f"role {role} can't read the views; run leukonode db upgrade as the owner")
        elif role == APP:
            said += _faults_of_app(conn)
    return said


def _faults_of_app(conn: psycopg.Connection) -> list[str]:
    said = []
    for table in metadata.sorted_tables:
        name = f"{table.schema}.{table.name}"
        if not (_has(conn, APP, name, "SELECT") and _has(conn, APP, name, "INSERT")):
            said.append(f"role {APP} can't use {name}; run leukonode db upgrade as the owner")
        forbidden = "DELETE, TRUNCATE" if table in MUTABLE else "UPDATE, DELETE, TRUNCATE"
        if table.schema in (AUDIT, CASES) and _has(conn, APP, name, forbidden):
            said.append(
                f"role {APP} may change {name}; revoke {forbidden} on it from {APP} and PUBLIC"
            )
    member = conn.execute("SELECT pg_has_role(current_user, %s, 'MEMBER')", [APP]).fetchone()
    if member is None or not member[0]:
        said.append(
            f"this login is no member of {APP}, so the service works with the login's own rights; "
            f"let an administrator run GRANT {APP} TO <login>"
        )
    return said


def _has(conn: psycopg.Connection, role: str, table: str, rights: str) -> bool:
    row = conn.execute("SELECT has_table_privilege(%s, %s, %s)", [role, table, rights]).fetchone()
    return row is not None and bool(row[0])


def _try(conn: psycopg.Connection, statement: sql.Composed) -> None:
    """Run it, or leave everything as it is where this login may not or it is done already."""
    try:
        with conn.transaction():
            conn.execute(statement)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.DuplicateObject):
        return
    except psycopg.errors.UniqueViolation:
        return  # two upgrades on one server made the role at the same moment
    except psycopg.errors.InternalError_:
        return  # "tuple concurrently updated": another upgrade on this server grants the same
