"""What PostgreSQL itself refuses: illegal transitions, and rewritten history.

The pairs are those of `executions/engine/states.py` on the day of this migration; a test compares
the database with the table, so a new transition needs a new migration.
"""

from django.db import migrations

GUARDS = """
CREATE FUNCTION executions_check_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (
        ('initialized', 'running'), ('initialized', 'paused'), ('initialized', 'cancelled'),
        ('initialized', 'failed'),
        ('running', 'waiting'), ('running', 'paused'), ('running', 'completed'),
        ('running', 'failed'), ('running', 'cancelled'),
        ('waiting', 'running'), ('waiting', 'paused'), ('waiting', 'failed'),
        ('waiting', 'cancelled'), ('waiting', 'completed'),
        ('paused', 'resumed'), ('paused', 'cancelled'), ('paused', 'failed'),
        ('resumed', 'running'), ('resumed', 'paused'), ('resumed', 'cancelled'),
        ('resumed', 'failed'),
        ('failed', 'resumed'), ('failed', 'running'), ('failed', 'cancelled')
    ) THEN
        RAISE EXCEPTION 'execution % may not go from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER executions_legal_transition
    BEFORE UPDATE OF state ON executions_execution
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION executions_check_transition();

CREATE FUNCTION executions_refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are history and cannot be changed', TG_TABLE_NAME
        USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER executions_step_is_history BEFORE UPDATE ON executions_stepexecution
    FOR EACH ROW EXECUTE FUNCTION executions_refuse_rewriting();
CREATE TRIGGER executions_transition_is_history BEFORE UPDATE ON executions_statetransition
    FOR EACH ROW EXECUTE FUNCTION executions_refuse_rewriting();
CREATE TRIGGER executions_log_line_is_history BEFORE UPDATE ON executions_logline
    FOR EACH ROW EXECUTE FUNCTION executions_refuse_rewriting();

-- A checkpoint rewrites the row several times a second: room on the page keeps that off the indexes.
ALTER TABLE executions_execution SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE executions_worker SET (fillfactor = 50);
"""

UNGUARD = """
ALTER TABLE executions_worker RESET (fillfactor);
ALTER TABLE executions_execution RESET (fillfactor, autovacuum_vacuum_scale_factor);
DROP TRIGGER executions_log_line_is_history ON executions_logline;
DROP TRIGGER executions_transition_is_history ON executions_statetransition;
DROP TRIGGER executions_step_is_history ON executions_stepexecution;
DROP FUNCTION executions_refuse_rewriting();
DROP TRIGGER executions_legal_transition ON executions_execution;
DROP FUNCTION executions_check_transition();
"""


class Migration(migrations.Migration):
    dependencies = [("executions", "0001_initial")]

    operations = [migrations.RunSQL(GUARDS, UNGUARD)]
