"""Published means frozen: PostgreSQL refuses what no code path may do to a version.

- The state moves only draft -> published -> deprecated -> archived (`versioning/states.py`).
- From the moment it is no draft, a version keeps its workflow, number, definition, hash, author,
  changelog and times, and can't be deleted.

TRUNCATE fires no row trigger: emptying whole tables, as Django's test runner does, still works.
"""

from __future__ import annotations

from django.db import migrations

FORWARD = r"""
CREATE FUNCTION workflows_version_guard() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    label text := format(
        'Version %s of workflow %s', OLD.version,
        coalesce((SELECT slug FROM workflows_workflow WHERE id = OLD.workflow_id), '?')
    );
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.state <> 'draft' THEN
            RAISE EXCEPTION '% is % and can not be deleted: only a draft can.', label, OLD.state
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN OLD;
    END IF;
    IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
        ('draft', 'published'), ('published', 'deprecated'), ('deprecated', 'archived')
    ) THEN
        RAISE EXCEPTION '% can not go from % to %.', label, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.state <> 'draft' AND (
        NEW.id, NEW.workflow_id, NEW.version, NEW.major, NEW.minor, NEW.patch, NEW.definition,
        NEW.content_hash, NEW.changelog, NEW.author_id, NEW.created_at, NEW.published_at
    ) IS DISTINCT FROM (
        OLD.id, OLD.workflow_id, OLD.version, OLD.major, OLD.minor, OLD.patch, OLD.definition,
        OLD.content_hash, OLD.changelog, OLD.author_id, OLD.created_at, OLD.published_at
    ) THEN
        RAISE EXCEPTION '% is % and frozen: create a new version to change it.', label, OLD.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$body$;
CREATE TRIGGER version_guard BEFORE UPDATE OR DELETE ON workflows_workflowversion
    FOR EACH ROW EXECUTE FUNCTION workflows_version_guard();
"""

BACKWARD = """
DROP TRIGGER version_guard ON workflows_workflowversion;
DROP FUNCTION workflows_version_guard();
"""


class Migration(migrations.Migration):
    dependencies = [("workflows", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
