"""The audit trail only grows: PostgreSQL refuses to change or remove what was written.

TRUNCATE is refused too, except in databases that Django's test runner makes (their names begin
with `test_`), because emptying every table is how it tidies up between tests with transactions
of their own. A database administrator who must remove rows by law does so as a superuser under
`SET session_replication_role = replica`, which leaves triggers out, and answers for it.
"""

from __future__ import annotations

from django.db import migrations

FORWARD = r"""
CREATE FUNCTION accounts_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_OP = 'TRUNCATE' AND current_database() LIKE 'test\_%' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'The audit trail is append-only: % of % is refused.', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'Write another entry instead.';
END
$body$;
CREATE TRIGGER audit_row_append_only BEFORE UPDATE OR DELETE ON accounts_auditentry
    FOR EACH ROW EXECUTE FUNCTION accounts_audit_append_only();
CREATE TRIGGER audit_table_append_only BEFORE TRUNCATE ON accounts_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_audit_append_only();
"""

BACKWARD = """
DROP TRIGGER audit_row_append_only ON accounts_auditentry;
DROP TRIGGER audit_table_append_only ON accounts_auditentry;
DROP FUNCTION accounts_audit_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
