"""What is recorded is deleted by `executions.purging` and by nothing else."""

from django.db import migrations

GUARD = """
CREATE FUNCTION executions_refuse_deleting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('executions.purging', true), '') <> 'on' THEN
        RAISE EXCEPTION 'rows of % are history and are only deleted by purge_executions',
            TG_TABLE_NAME USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER executions_step_is_kept BEFORE DELETE ON executions_stepexecution
    FOR EACH STATEMENT EXECUTE FUNCTION executions_refuse_deleting();
CREATE TRIGGER executions_transition_is_kept BEFORE DELETE ON executions_statetransition
    FOR EACH STATEMENT EXECUTE FUNCTION executions_refuse_deleting();
CREATE TRIGGER executions_log_line_is_kept BEFORE DELETE ON executions_logline
    FOR EACH STATEMENT EXECUTE FUNCTION executions_refuse_deleting();
"""

UNGUARD = """
DROP TRIGGER executions_log_line_is_kept ON executions_logline;
DROP TRIGGER executions_transition_is_kept ON executions_statetransition;
DROP TRIGGER executions_step_is_kept ON executions_stepexecution;
DROP FUNCTION executions_refuse_deleting();
"""


class Migration(migrations.Migration):
    dependencies = [("executions", "0017_indexes_at_scale")]

    operations = [migrations.RunSQL(GUARD, UNGUARD)]
