ALTER TABLE ai_server_tasks DROP COLUMN isolated_runs;
