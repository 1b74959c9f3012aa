ALTER TABLE ai_server_tasks DROP COLUMN trials;
