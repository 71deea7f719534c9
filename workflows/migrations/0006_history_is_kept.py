"""The moves between states grow by two ways back, and what has happened is kept.

- A deprecated version may be published again, an archived one deprecated again
  (`versioning/states.py`); its content stays frozen all the while.
- Transitions are written once; so are reviews, which only go with a draft that is deleted.
- Versions from before this migration get the row of their publication, by whom the audit trail
  names; drafts get their author among their writers.
"""

from __future__ import annotations

from importlib import import_module

from django.conf import settings
from django.db import migrations

_EARLIER = import_module("workflows.migrations.0002_published_is_frozen").FORWARD
_FUNCTION, _TRIGGER = _EARLIER.split("CREATE TRIGGER", 1)
_BEFORE = _FUNCTION.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
_MOVES = "('draft', 'published'), ('published', 'deprecated'), ('deprecated', 'archived')"
_NOW = _BEFORE.replace(
    _MOVES, f"{_MOVES},\n        ('deprecated', 'published'), ('archived', 'deprecated')"
)

_KEEP = r"""
CREATE FUNCTION workflows_keep_history() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'workflows_versionreview' THEN
        IF (SELECT state FROM workflows_workflowversion WHERE id = OLD.version_id) = 'draft' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'A row of % is history and can not be changed.', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$body$;
CREATE TRIGGER version_transition_is_history BEFORE UPDATE OR DELETE ON workflows_versiontransition
    FOR EACH ROW EXECUTE FUNCTION workflows_keep_history();
CREATE TRIGGER version_review_is_history BEFORE UPDATE OR DELETE ON workflows_versionreview
    FOR EACH ROW EXECUTE FUNCTION workflows_keep_history();
"""

_UNKEEP = """
DROP TRIGGER version_review_is_history ON workflows_versionreview;
DROP TRIGGER version_transition_is_history ON workflows_versiontransition;
DROP FUNCTION workflows_keep_history();
"""

_FILL = """
INSERT INTO workflows_versiontransition (version_id, seq, source, target, reason, actor, at)
SELECT version.id, 1, 'draft', 'published', '', coalesce((
           SELECT entry.actor_name FROM accounts_auditentry AS entry
            WHERE entry.target_type = 'workflows.workflowversion'
              AND entry.target_id = version.id::text AND entry.action = 'workflow.published'
            ORDER BY entry.id LIMIT 1), ''), version.published_at
  FROM workflows_workflowversion AS version WHERE version.state <> 'draft';
"""


def add_authors(apps, schema_editor):
    version = apps.get_model("workflows", "WorkflowVersion")
    for row in version.objects.filter(state="draft", author__isnull=False):
        row.writers.add(row.author_id)


FORWARD = _NOW + _KEEP
BACKWARD = _UNKEEP + _BEFORE


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0005_version_history"),
        ("accounts", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunSQL(_FILL, migrations.RunSQL.noop),
        migrations.RunPython(add_authors, migrations.RunPython.noop),
    ]
