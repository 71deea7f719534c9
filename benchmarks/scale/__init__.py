"""W7: what a million executions in the tables cost those who start, claim and look."""
