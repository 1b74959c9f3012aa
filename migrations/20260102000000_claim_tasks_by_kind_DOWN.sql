DROP TABLE ai_server_controls;
DROP TABLE ai_server_workers;
ALTER TABLE ai_server_tasks
  DROP KEY due,
  ADD KEY due (state, queue, priority, due_at, id),
  MODIFY max_attempts INT UNSIGNED NOT NULL DEFAULT 10,
  MODIFY timeout_ms INT UNSIGNED NOT NULL DEFAULT 60000 COMMENT 'of one run';
